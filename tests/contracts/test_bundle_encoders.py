"""The bundles train with any encoder of the zoo by one override."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from monai.networks.nets.unetr import UNETR

from data import phantom
from tests.bundle_workflow import run_bundle
from unetr_app.bundle import bundle_folders, find_bundle
from unetr_app.networks import DECODERS, ENCODERS, build_network
from unetr_app.networks.zoo import encoder_card

pytestmark = pytest.mark.filterwarnings("default")  # MONAI, ignite and torch warn of their own

BUNDLE = find_bundle("hippocampus_mr_unetr_segmentation")
CT_BUNDLE = find_bundle("abdomen_ct_unetr_segmentation")
ONE_STEP: dict[str, Any] = {
    "roi_size": [16, 16, 16],
    "batch_size": 1,
    "train_cases": 1,
    "val_cases": 1,
    "val_interval": 100,
    "max_epochs": 1,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def msd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write_msd_dataset(
        tmp_path_factory.mktemp("msd"), 6, kind="mr", shape=(20, 24, 18)
    )


@pytest.fixture(scope="module")
def msd_ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write_msd_dataset(
        tmp_path_factory.mktemp("msd_ct"), 6, kind="ct", shape=(48, 48, 24)
    )


def _config(bundle: Path = BUNDLE) -> dict[str, Any]:
    return yaml.safe_load((bundle / "configs" / "train.yaml").read_text())


@pytest.mark.parametrize("bundle", bundle_folders(), ids=lambda folder: folder.name)
def test_the_tables_of_options_have_a_row_for_every_encoder(bundle: Path) -> None:
    config = _config(bundle)
    assert set(config["encoder_options"]) == set(ENCODERS)
    assert set(config.get("pretrained_options", ENCODERS)) == set(ENCODERS)
    assert set(config["decoder_options"]) == set(DECODERS)


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
@pytest.mark.parametrize("bundle", bundle_folders(), ids=lambda folder: folder.name)
def test_every_row_fits_the_roi_of_its_bundle(bundle: Path, encoder: str) -> None:
    config = _config(bundle)
    card = encoder_card(encoder, roi_size=config["roi_size"], **config["encoder_options"][encoder])
    assert all(n % s == 0 for n, s in zip(config["roi_size"], card.strides[-1], strict=True))
    assert config["network_def"].get("deep_supervision", 0) < len(card.strides)


def test_the_model_card_says_what_the_table_builds() -> None:
    text = (BUNDLE / "docs" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\dx, ]+) \|$", text, re.MULTILINE)
    assert [name for name, _, _ in rows] == sorted(ENCODERS)
    config = _config()
    for name, millions, strides in rows:
        options = config["encoder_options"][name]
        card = encoder_card(name, roi_size=config["roi_size"], **options)
        assert millions == f"{card.parameters / 1e6:.2f}", name
        found = (stride[:1] if len(set(stride)) == 1 else stride for stride in card.strides)
        words = dict.fromkeys(" x ".join(map(str, stride)) for stride in found)
        assert strides == ", ".join(words), name


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_one_override_trains_any_encoder_and_inference_reads_it_back(
    encoder: str, msd: Path, tmp_path: Path
) -> None:
    run_bundle(
        BUNDLE, "train.yaml", "train", dataset_dir=str(msd), output_dir=str(tmp_path),
        encoder=encoder, **ONE_STEP,
    )  # fmt: skip
    run_bundle(
        BUNDLE, ["inference.yaml", "evaluate.yaml"], "infer", dataset_dir=str(msd), cases=1,
        weights=str(tmp_path / "model.pt"), output_dir=str(tmp_path / "eval"), encoder=encoder,
        roi_size=ONE_STEP["roi_size"],
    )  # fmt: skip
    rows = (tmp_path / "eval" / "mean_dice_raw.csv").read_text().splitlines()
    assert len(rows) == 2


def test_another_decoder_is_one_override_too(msd: Path, tmp_path: Path) -> None:
    trained = run_bundle(
        BUNDLE, "train.yaml", "train", dataset_dir=str(msd), output_dir=str(tmp_path),
        encoder="segformer", decoder="mlp", **ONE_STEP,
    )  # fmt: skip
    network = trained.parser.get_parsed_content("network")
    assert type(network.decoder) is DECODERS["mlp"]


def test_the_ct_bundle_does_so_too(msd_ct: Path, tmp_path: Path) -> None:
    chosen = {"encoder": "segformer", "decoder": "mlp", "roi_size": [32, 32, 32]}
    trained = run_bundle(
        CT_BUNDLE, "train.yaml", "train", dataset_dir=str(msd_ct), output_dir=str(tmp_path),
        samples_per_case=1, **(ONE_STEP | chosen),
    )  # fmt: skip
    network = trained.parser.get_parsed_content("network")
    assert type(network.encoder) is ENCODERS["segformer"]
    assert type(network.decoder) is DECODERS["mlp"]
    run_bundle(
        CT_BUNDLE, ["inference.yaml", "evaluate.yaml"], "infer", dataset_dir=str(msd_ct), cases=1,
        weights=str(tmp_path / "model.pt"), output_dir=str(tmp_path / "eval"), **chosen,
    )  # fmt: skip
    assert (tmp_path / "eval" / "mean_dice_raw.csv").is_file()


def test_the_ct_bundle_as_it_is_builds_monais_unetr() -> None:
    config = _config(CT_BUNDLE)
    small = {"embed_dim": 24, "mlp_dim": 48, "num_heads": 2}
    torch.manual_seed(0)
    theirs = UNETR(1, 14, (32, 32, 32), hidden_size=24, mlp_dim=48, num_heads=2).eval()
    ours = build_network(
        config["encoder"], config["decoder"], out_channels=14, roi_size=32,
        encoder_options=config["encoder_options"][config["encoder"]] | small,
        decoder_options=config["decoder_options"][config["decoder"]],
    ).eval()  # fmt: skip
    ours.load_state_dict(theirs.state_dict())
    image = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("encoder", ["vit", "timesformer"])
def test_a_published_checkpoint_is_one_override_more(
    encoder: str, msd: Path, shared: Path, tmp_path: Path
) -> None:
    weights = shared / "weights" / "dinov2_vit_small_patch14"
    if not weights.is_dir():
        pytest.skip("no weights of DINOv2 among the shared data")
    chosen = {"encoder": encoder, "pretrained": str(weights), "roi_size": ONE_STEP["roi_size"]}
    trained = run_bundle(
        BUNDLE, "train.yaml", "train", dataset_dir=str(msd), output_dir=str(tmp_path),
        freeze_encoder=True, **(ONE_STEP | chosen),
    )  # fmt: skip
    network = trained.parser.get_parsed_content("network")
    published = build_network(
        encoder, roi_size=ONE_STEP["roi_size"], pretrained=str(weights),
        **_config()["pretrained_options"][encoder],
    )  # fmt: skip
    kept = network.encoder.state_dict()
    assert all(torch.equal(kept[k], v) for k, v in published.encoder.state_dict().items())
    run_bundle(
        BUNDLE, ["inference.yaml", "evaluate.yaml"], "infer", dataset_dir=str(msd), cases=1,
        weights=str(tmp_path / "model.pt"), output_dir=str(tmp_path / "eval"), **chosen,
    )  # fmt: skip
