"""``unetr export`` writes what other programs read, whole and verified, or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.backend_fakes import WINDOW, small_network
from unetr_app.cli import main
from unetr_app.errors import InvalidRequest, UnusableBundle
from unetr_app.inference.backends import conversion
from unetr_app.inference.backends.export import ENDINGS, export_network

NAMES = {"onnx": "net.onnx", "openvino": "net.xml", "torchscript": "net.ts"}
NEEDS = {"onnx": "onnxruntime", "openvino": "openvino", "torchscript": "torch"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of one small network, with weights."""
    folder = tmp_path_factory.mktemp("bundles") / "small_segmentation"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    ports = {
        "inputs": {"image": {"modality": "MR", "channel_def": {"0": "T1"}}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "left", "2": "right"}}},
    }
    metadata = {"version": "1.0.0", "description": "Small.", "network_data_format": ports}
    network = {
        "_target_": "unetr_app.networks.build_network", "encoder": "vit", "decoder": "unetr",
        "out_channels": 3, "roi_size": WINDOW[2:], "encoder_options": {
            "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2},
        "decoder_options": {"feature_size": 4},
    }  # fmt: skip
    config = {
        "network_def": network,
        "preprocessing": {"_target_": "Compose", "transforms": []},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": WINDOW[2:], "overlap": 0.5},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "unetr_app.inference.RestoreLabelsd", "keys": "pred"}],
        },
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    torch.save(small_network().state_dict(), folder / "models" / "model.pt")
    return folder


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNETR_CONFIG", str(tmp_path / "settings"))


def _run(path: Path, to: str, image: torch.Tensor) -> Any:
    """By the library the file is for, and nothing of ours."""
    if to == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(["logits"], {"image": image.numpy()})[0]
    if to == "openvino":
        import openvino

        return openvino.compile_model(str(path), "CPU")({"image": image.numpy()})["logits"]
    return torch.jit.load(path)(image)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("to", ENDINGS)
def test_other_programs_get_the_networks_logits(
    to: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(NEEDS[to])
    path = tmp_path / "new folder" / NAMES[to]
    assert main(["export", str(bundle), "--to", to, "-o", str(path), "--trust"]) == 0
    said = capsys.readouterr().out
    assert "1 x 1 x 16 x 24 x 16" in said
    assert "1 x 3 x 16 x 24 x 16; channels: background, left, right" in said
    assert "largest difference" in said
    assert "Research use only" in said
    image = torch.randn(WINDOW)
    with torch.inference_mode():
        wanted = small_network()(image)
        found = torch.as_tensor(_run(path, to, image))
    assert (found - wanted).abs().max() < 1e-3 * wanted.abs().max()
    beside = {"net.xml": {"net.xml", "net.bin"}}.get(path.name, {path.name})
    assert {file.name for file in path.parent.iterdir()} == beside


def test_json_says_the_same(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.ts"
    words = ["export", str(bundle), "--to", "torchscript", "-o", str(path), "--json", "--trust"]
    assert main([*words, "--roi-size", "16,24,16"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == [str(path)]
    assert told["input"]["shape"] == list(WINDOW)
    assert told["output"]["shape"] == [1, 3, *WINDOW[2:]]
    assert told["any_size"] is True
    assert told["largest_difference"] < 1e-5


@pytest.mark.parametrize(
    ("to", "name", "said"),
    [
        ("tensorrt", "net.plan", "there is no form 'tensorrt'"),
        ("onnx", "net.xml", "ends in .onnx"),
        ("openvino", "net.xml", "not trusted"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_begun(
    to: str, name: str, said: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    trust = [] if said == "not trusted" else ["--trust"]
    assert main(["export", str(bundle), "--to", to, "-o", str(tmp_path / name), *trust]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("there", ["net.xml", "net.bin"])
def test_a_file_that_is_there_is_kept_unless_told_otherwise(there: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = tmp_path / "net.xml"
    (tmp_path / there).write_text("mine")
    with pytest.raises(InvalidRequest, match="there already"):
        export_network(small_network(), "openvino", path, window=WINDOW)
    assert (tmp_path / there).read_text() == "mine"
    done = export_network(small_network(), "openvino", path, window=WINDOW, overwrite=True)
    assert done.files == (path, tmp_path / "net.bin")
    assert done.parity.holds


class _Deciding(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, -x if float(x.mean()) > 1 else 2 * x], dim=1)


def test_a_network_that_does_not_survive_leaves_no_file(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(UnusableBundle, match="does not survive as onnx"):
        export_network(_Deciding(), "onnx", tmp_path / "net.onnx", window=(1, 1, 8, 8, 8))
    assert not list(tmp_path.iterdir())


def test_what_can_be_compiled_takes_any_size_and_what_is_traced_does_not(tmp_path: Path) -> None:
    class Traced(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return sum((x, x), start=torch.zeros_like(x))  # TorchScript knows no such sum

    window = (1, 1, 8, 8, 8)
    whole = export_network(nn.Conv3d(1, 2, 1), "torchscript", tmp_path / "a.ts", window=window)
    traced = export_network(Traced(), "torchscript", tmp_path / "b.pt", window=window)
    assert whole.any_size
    assert not traced.any_size


def test_many_weights_lie_beside_the_onnx_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is lowered, because two gigabytes take too long."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(conversion, "_MOST_IN_ONE_FILE", 1000)
    network = nn.Sequential(nn.Conv3d(1, 40, 3), nn.Conv3d(40, 2, 3)).eval()
    path = tmp_path / "net.onnx"
    done = export_network(network, "onnx", path, window=(1, 1, 8, 8, 8))
    assert done.files == (path, tmp_path / "net.onnx.data")
    assert path.stat().st_size < 10_000
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        wanted = network(image)
    torch.testing.assert_close(
        torch.as_tensor(_run(path, "onnx", image)), wanted, atol=1e-5, rtol=1e-4
    )
