"""The bundles under stock `monai.bundle`: training, resuming, inference, export."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data import phantom
from data.phantom_files import write_nifti
from tests.bundle_workflow import run_bundle
from unetr_app.bundle import find_bundle
from unetr_app.geometry import Geometry
from unetr_app.inference import Segmenter
from unetr_app.io import read_label_map, read_volume

pytestmark = pytest.mark.filterwarnings("default")  # MONAI, ignite and torch warn of their own

MR, CT = "hippocampus_mr_unetr_segmentation", "abdomen_ct_unetr_segmentation"
TINY: dict[str, Any] = {  # small enough to train in seconds, on one thread
    "network_def#embed_dim": 12,
    "network_def#num_heads": 2,
    "network_def#feature_size": 4,
    "batch_size": 1,
    "val_interval": 1,
    "train_cases": 2,
    "val_cases": 1,
}
TINY_CT = TINY | {"roi_size": [32, 32, 32], "network_def#mlp_dim": 24, "samples_per_case": 1}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def msd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write_msd_dataset(tmp_path_factory.mktemp("msd"), 6, kind="mr")


@pytest.fixture(scope="module")
def msd_ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write_msd_dataset(
        tmp_path_factory.mktemp("msd_ct"), 6, kind="ct", shape=(48, 48, 24)
    )


@pytest.mark.parametrize(("name", "settings"), [(MR, TINY), (CT, TINY_CT)], ids=["mr", "ct"])
def test_one_epoch_of_training_evaluation_and_inference(
    name: str, settings: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    data = request.getfixturevalue("msd" if name == MR else "msd_ct")
    bundle = find_bundle(name)
    trained = run_bundle(
        bundle, "train.yaml", "train", dataset_dir=str(data), output_dir=str(tmp_path / "train"),
        max_epochs=1, **settings,
    )  # fmt: skip
    assert trained.check_properties() == []
    weights = tmp_path / "train" / "model.pt"
    shape = {k: v for k, v in settings.items() if k.startswith(("network_def", "roi_size"))}
    run_bundle(
        bundle, ["inference.yaml", "evaluate.yaml"], "infer", dataset_dir=str(data), cases=1,
        weights=str(weights), output_dir=str(tmp_path / "eval"), **shape,
    )  # fmt: skip
    raw = (tmp_path / "eval" / "mean_dice_raw.csv").read_text()
    assert str(data) not in raw
    run_bundle(
        bundle, "inference.yaml", "infer", dataset_dir=str(data / "imagesTr"),
        weights=str(weights), output_dir=str(tmp_path / "out"), **shape,
    )  # fmt: skip
    assert len(list((tmp_path / "out").glob("*/labels.nii.gz"))) == 6


def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(msd: Path, tmp_path: Path) -> None:
    bundle = find_bundle(MR)

    def train(folder: str, epochs: int, resume: bool = False) -> dict[str, torch.Tensor]:
        run_bundle(
            bundle, "train.yaml", "train", dataset_dir=str(msd), output_dir=str(tmp_path / folder),
            max_epochs=epochs, resume=resume, **(TINY | {"lr_scheduler#t_total": 6}),
        )  # fmt: skip
        return torch.load(tmp_path / folder / "last.pt", weights_only=True)

    whole = train("whole", 3)
    train("parts", 1)
    parts = train("parts", 3, resume=True)
    for kind in ("network", "average"):
        for name, tensor in whole[kind].items():
            assert torch.equal(tensor, parts[kind][name]), name


@pytest.fixture(scope="module")
def odd_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images smaller and larger than the roi, in other axis orders, oblique and anisotropic."""
    folder = tmp_path_factory.mktemp("images")
    grids = {
        "plain": Geometry((35, 51, 35), np.eye(4)),
        "small": Geometry((26, 33, 20), np.eye(4)),
        "large": Geometry((50, 64, 52), np.eye(4)),
        "turned": Geometry((35, 51, 35), np.eye(4)).reoriented("PSL"),
        "oblique": phantom.oblique_geometry((40, 44, 18), (0.9, 1.1, 2.1)),
    }
    for name, grid in grids.items():
        volume, _ = phantom.phantom(grid, "mr")
        write_nifti(volume.data[0], grid, folder / f"{name}.nii.gz")
    return folder


@pytest.mark.weights
def test_stock_inference_gives_the_label_maps_of_the_segmenter(
    odd_images: Path, tmp_path: Path
) -> None:
    bundle = find_bundle(MR)
    run_bundle(
        bundle, "inference.yaml", "infer", dataset_dir=str(odd_images), output_dir=str(tmp_path)
    )
    segmenter = Segmenter.open(bundle, device="cpu")
    found = 0
    for image in sorted(odd_images.iterdir()):
        ours = segmenter.segment(read_volume(image))
        stock = read_label_map(tmp_path / image.name.split(".")[0] / "labels.nii.gz")
        np.testing.assert_array_equal(ours.label_map, stock.label_map, err_msg=image.name)
        np.testing.assert_array_equal(ours.geometry.affine, stock.geometry.affine)
        assert ours.label_map.dtype == np.uint8
        found += int(ours.label_map.any())
    assert found >= 3  # phantoms of hippocampi are found in most of them


@pytest.mark.weights
def test_the_hippocampus_bundle_exports_to_torchscript_and_onnx(tmp_path: Path) -> None:
    from monai.bundle import ckpt_export, onnx_export, verify_net_in_out

    bundle = shutil.copytree(find_bundle(MR), tmp_path / MR)
    common = {
        "net_id": "network_def",
        "meta_file": str(bundle / "configs" / "metadata.json"),
        "config_file": str(bundle / "configs" / "inference.json"),
        "bundle_root": str(bundle),
    }
    weights = str(bundle / "models" / "model.pt")
    verify_net_in_out(device="cpu", **common)
    ckpt_export(filepath=str(tmp_path / "model.ts"), ckpt_file=weights, **common)
    onnx_export(filepath=str(tmp_path / "model.onnx"), ckpt_file=weights, use_trace=True, **common)
    segmenter = Segmenter.open(bundle, device="cpu")
    window = torch.randn(1, 1, 40, 56, 40)
    script = torch.jit.load(str(tmp_path / "model.ts"))
    with torch.inference_mode():
        wanted = segmenter.bundle.network(window)
        torch.testing.assert_close(script(window), wanted, atol=1e-4, rtol=1e-4)

    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (logits,) = session.run(None, {session.get_inputs()[0].name: window.numpy()})
    np.testing.assert_allclose(logits, wanted.numpy(), atol=1e-3)
