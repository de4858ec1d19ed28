"""The hippocampus bundle trains with any encoder of the zoo by one override."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from data import phantom
from tests.bundle_workflow import run_bundle
from unetr_app.bundle import find_bundle
from unetr_app.networks import DECODERS, ENCODERS, build_network

pytestmark = pytest.mark.filterwarnings("default")  # MONAI, ignite and torch warn of their own

BUNDLE = find_bundle("hippocampus_mr_unetr_segmentation")
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


def _config() -> dict[str, Any]:
    return yaml.safe_load((BUNDLE / "configs" / "train.yaml").read_text())


@pytest.mark.parametrize("table", ["encoder_options", "pretrained_options"])
def test_the_tables_of_options_have_a_row_for_every_encoder(table: str) -> None:
    assert set(_config()[table]) == set(ENCODERS)
    assert set(_config()["decoder_options"]) == set(DECODERS)


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


@pytest.mark.parametrize("decoder", sorted(DECODERS))
@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_every_row_fits_the_roi_that_the_bundle_has(encoder: str, decoder: str) -> None:
    config = _config()
    network = build_network(
        encoder, decoder, out_channels=3, roi_size=config["roi_size"], deep_supervision=2,
        encoder_options=config["encoder_options"][encoder],
        decoder_options=config["decoder_options"][decoder],
    )  # fmt: skip
    strides: Any = network.encoder.strides
    assert all(n % s == 0 for n, s in zip(config["roi_size"], strides[-1], strict=True))


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
