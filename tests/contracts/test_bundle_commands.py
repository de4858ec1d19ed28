"""The bundles under the command line of stock MONAI: own processes, no network, few seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from data import phantom
from data.phantom_files import write_nifti
from unetr_app.bundle import bundle_folders, find_bundle
from unetr_app.geometry import Geometry
from unetr_app.inference import Segmenter
from unetr_app.io import read_label_map, read_volume

MR, CT = "hippocampus_mr_unetr_segmentation", "abdomen_ct_unetr_segmentation"
FOLDERS = bundle_folders()
TINY: dict[str, dict[str, Any]] = {
    MR: {"embed_dim": 12, "num_heads": 2, "feature_size": 4},
    CT: {"embed_dim": 24, "mlp_dim": 32, "num_heads": 2, "feature_size": 4},
}
OFFLINE = """
import socket
_connect = socket.socket.connect
def connect(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise RuntimeError(f"reached for the network: {address}")
    return _connect(self, address)
socket.socket.connect = connect
"""

stock = pytest.mark.filterwarnings("default")  # MONAI, ignite and torch warn of their own


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which a process that reaches for the network fails."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "sitecustomize.py").write_text(OFFLINE)
    return os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def msd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write_msd_dataset(tmp_path_factory.mktemp("msd"), 5, kind="mr")


def _monai(environment: dict[str, str], bundle: Path, *words: str, processes: int = 1) -> str:
    """Output of `python -m monai.bundle` in the bundle's folder."""
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    done = subprocess.run(
        [*start, "monai.bundle", *words, "--bundle_root", str(bundle)],
        cwd=bundle, env=environment, capture_output=True, text=True, timeout=540,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def _tiny_copy(name: str, folder: Path, roi_size: list[int] | None = None) -> Path:
    """A copy of a bundle whose network is small, its weights left out."""
    bundle = shutil.copytree(
        find_bundle(name), folder / name, ignore=shutil.ignore_patterns("models", "runs", "docs")
    )
    (bundle / "models").mkdir()
    for path in (bundle / "configs").glob("*.*"):
        if path.stem not in ("train", "inference"):
            continue
        config = yaml.safe_load(path.read_text())
        config["network_def"] |= TINY[name]
        config["roi_size"] = roi_size or config["roi_size"]
        text = json.dumps(config) if path.suffix == ".json" else yaml.safe_dump(config)
        path.write_text(text)
    return bundle


def test_inference_without_the_network(offline: dict[str, str], msd: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("hippocampus_001.nii.gz", "hippocampus_002.nii.gz"):
        shutil.copy(msd / "imagesTr" / name, images)
    _monai(
        offline, find_bundle(MR), "run", "--config_file", "configs/inference.yaml",
        "--dataset_dir", str(images), "--output_dir", str(tmp_path / "out"),
    )  # fmt: skip
    for image in images.iterdir():
        labels = read_label_map(tmp_path / "out" / image.name.split(".")[0] / "labels.nii.gz")
        assert labels.geometry == read_volume(image).geometry
        assert labels.label_map.dtype == np.uint8


def test_training_in_two_processes_is_one_run(
    offline: dict[str, str], msd: Path, tmp_path: Path
) -> None:
    bundle = _tiny_copy(MR, tmp_path)
    text = _monai(
        offline, bundle, "run",
        "--config_file", "['configs/train.yaml','configs/multi_gpu_train.yaml']",
        "--dataset_dir", str(msd), "--output_dir", str(tmp_path / "run"),
        "--max_epochs", "1", "--val_interval", "1", "--train_cases", "2", "--batch_size", "1",
        "--val_cases", "1", processes=2,
    )  # fmt: skip
    assert text.count("Engine run finished") >= 1
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["trainer"]["iteration"] == 1  # two cases, one for each process
    assert not any(name.startswith("module.") for name in state["network"])
    for name in ("model.pt", "best.pt"):
        assert (tmp_path / "run" / name).is_file()


@stock
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_properties_of_inference_are_complete_without_any_data(folder: Path, ending: str) -> None:
    from monai.bundle import ConfigWorkflow

    workflow = ConfigWorkflow(
        config_file=str(folder / "configs" / f"inference.{ending}"),
        meta_file=str(folder / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(folder),
        dataset_dir=str(folder / "no_such_folder"),
    )
    workflow.initialize()
    assert workflow.check_properties() == []


@stock
def test_inference_on_nothing_is_refused_in_words(tmp_path: Path) -> None:
    from monai.bundle import ConfigWorkflow

    workflow = ConfigWorkflow(
        config_file=str(find_bundle(MR) / "configs" / "inference.yaml"),
        logging_file=False, workflow_type="infer", bundle_root=str(find_bundle(MR)),
        dataset_dir=str(tmp_path),
    )  # fmt: skip
    workflow.initialize()
    with pytest.raises(RuntimeError) as caught:
        workflow.run()
    assert "holds no .nii or .nii.gz image" in str(caught.value.__cause__)


def _put_published_weights(folder: Path, roi_size: list[int]) -> None:
    """A checkpoint of MONAI's UNETR as release 0.8 wrote it, for the tiny CT bundle."""
    from monai.networks.nets.unetr import UNETR

    torch.manual_seed(0)
    tiny = TINY[CT]
    network = UNETR(
        1, 14, roi_size, feature_size=tiny["feature_size"], hidden_size=tiny["embed_dim"],
        mlp_dim=tiny["mlp_dim"], num_heads=tiny["num_heads"], proj_type="perceptron",
    )  # fmt: skip
    state = {k: v for k, v in network.state_dict().items() if "cross_attn" not in k}
    state["vit.patch_embedding.cls_token"] = torch.zeros(1, 1, tiny["embed_dim"])
    state["encoder3.blocks.0.1.conv3.conv.weight"] = torch.zeros(16, 16, 1, 1, 1)
    torch.save(state, folder / "models" / "model.pt")


@stock
def test_published_weights_in_the_ct_bundle_give_stock_and_app_the_same_labels(
    tmp_path: Path,
) -> None:
    from monai.bundle import run

    bundle = _tiny_copy(CT, tmp_path, [32, 32, 32])
    _put_published_weights(bundle, [32, 32, 32])
    grids = {
        "small": Geometry((20, 24, 12), np.diag([3.0, 3.0, 4.0, 1.0])),
        "turned": Geometry((40, 36, 22), np.diag([3.0, 3.0, 4.0, 1.0])).reoriented("PSL"),
        "oblique": phantom.oblique_geometry((30, 34, 16), (2.5, 2.2, 5.0)),
    }
    images = tmp_path / "images"
    for name, grid in grids.items():
        volume, _ = phantom.phantom(grid, "ct")
        write_nifti(volume.data[0], grid, images / f"{name}.nii.gz")
    run(
        config_file=str(bundle / "configs" / "inference.yaml"), bundle_root=str(bundle),
        dataset_dir=str(images), output_dir=str(tmp_path / "out"),
    )  # fmt: skip
    segmenter = Segmenter.open(bundle, device="cpu")
    for name, grid in grids.items():
        ours = segmenter.segment(read_volume(images / f"{name}.nii.gz"))
        theirs = read_label_map(tmp_path / "out" / name / "labels.nii.gz")
        np.testing.assert_array_equal(ours.label_map, theirs.label_map)
        assert theirs.geometry == ours.geometry
        assert len(np.unique(ours.label_map)) > 1
        assert ours.geometry.shape == grid.shape


@stock
def test_the_ct_bundle_is_checked_and_exported(tmp_path: Path) -> None:
    from monai.bundle import ckpt_export, verify_net_in_out

    bundle = _tiny_copy(CT, tmp_path)
    _put_published_weights(bundle, [96, 96, 96])
    common = {
        "net_id": "network_def",
        "meta_file": str(bundle / "configs" / "metadata.json"),
        "config_file": str(bundle / "configs" / "inference.yaml"),
        "bundle_root": str(bundle),
    }
    verify_net_in_out(device="cpu", **common)
    weights = str(bundle / "models" / "model.pt")
    ckpt_export(filepath=str(tmp_path / "model.ts"), ckpt_file=weights, **common)
    window = torch.randn(1, 1, 96, 96, 96)
    with torch.inference_mode():
        logits = torch.jit.load(str(tmp_path / "model.ts"))(window)
        expected = Segmenter.open(bundle, device="cpu").bundle.network(window)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@stock
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_metadata_verify(folder: Path, shared: Path) -> None:
    from monai.bundle import verify_metadata

    verify_metadata(
        meta_file=str(folder / "configs" / "metadata.json"),
        filepath=str(shared / "schema" / "meta_schema_20240725.json"),
    )
