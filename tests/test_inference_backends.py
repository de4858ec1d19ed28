"""Whatever runs the network, its logits are those of torch, and the fastest is taken."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.swin_unetr import SwinUNETR
from monai.networks.nets.unet import UNet
from torch import Tensor, nn

from tests.backend_fakes import WINDOW, Fake, Slow, fake_library, small_network
from unetr_app.errors import DeviceMemory, InvalidRequest, UnusableBundle
from unetr_app.inference import backends
from unetr_app.inference.backends import LIBRARIES, open_backend
from unetr_app.inference.backends.backend import Library

NETWORKS = {
    "unetr": (small_network, WINDOW),
    "UNet": (lambda: UNet(3, 2, 3, (4, 8), (2,), num_res_units=1), (1, 2, 16, 24, 16)),
    "SegResNet": (lambda: SegResNet(3, 8, in_channels=1, out_channels=2), WINDOW),
    "SwinUNETR": (
        lambda: SwinUNETR(1, 2, feature_size=12, depths=(1, 1, 1, 1)),
        (1, 1, 32, 64, 32),
    ),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNETR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _use(monkeypatch: pytest.MonkeyPatch, *libraries: Library) -> None:
    monkeypatch.setattr(backends, "LIBRARIES", {each.name: each for each in libraries})


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_library_gives_the_logits_that_torch_gives(library: str, network: str) -> None:
    pytest.importorskip(library)
    if network == "SwinUNETR" and library == "onnxruntime":
        pytest.skip("one library is enough for a network that is slow to convert")
    make, window = NETWORKS[network]
    built = make().eval()
    images = torch.randn(2, *window[1:])
    with torch.inference_mode():
        wanted = built(images)
        backend = open_backend(library, built, window=window, weights_hash="a")
        for _ in range(2):
            found = backend(images)
            assert (found - wanted).abs().max() < 1e-3 * wanted.abs().max()
            found.mul_(2)  # what a caller does to logits does not reach the library
    assert backend.name == library
    assert found.dtype == torch.float32


def test_logits_of_one_window_are_not_those_of_the_next() -> None:
    pytest.importorskip("openvino")
    backend = open_backend("openvino", small_network(), window=WINDOW)
    first = backend(torch.zeros(WINDOW))
    kept = first.clone()
    backend(torch.ones(WINDOW))
    torch.testing.assert_close(first, kept, rtol=0, atol=0)


def test_torch_gives_its_own_logits_in_either_layout() -> None:
    network = small_network()
    image = torch.randn(WINDOW)
    with torch.inference_mode():
        wanted = network(image)
        backend = open_backend("torch", network, window=WINDOW)
        torch.testing.assert_close(backend(image), wanted, rtol=1e-4, atol=1e-5)
    assert backend.name == "torch"
    assert len(backend.notes) == 1  # which layout was slower


def test_auto_takes_the_fastest_that_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(
        monkeypatch,
        fake_library("wrong", Fake(0.0, factor=1.1)),
        fake_library("fair", Fake(0.01)),
        fake_library("fast", Fake(0.001)),
    )
    backend = open_backend("auto", Slow(), window=WINDOW)
    assert backend.name == "fast"
    said = "\n".join(backend.notes)
    assert "wrong is left out: wrong does not give the logits that torch gives" in said
    assert "fair is slower" in said
    assert "torch is slower" in said


def test_auto_stays_with_torch_where_nothing_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, fake_library("slow", Fake(0.06)))
    assert open_backend("auto", Slow(), window=WINDOW).name == "torch"


def test_auto_says_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, Library("no_such_library", "fast", Fake().convert, Fake().load))
    backend = open_backend("auto", Slow(), window=WINDOW)
    assert backend.notes == ("no_such_library is not installed",)
    with pytest.raises(InvalidRequest, match="no_such_library is not installed") as refused:
        open_backend("no_such_library", Slow(), window=WINDOW)
    assert "unetr-app[fast]" in refused.value.cure


def test_a_library_that_differs_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, fake_library("wrong", Fake(factor=1.1)))
    with pytest.raises(UnusableBundle, match="wrong does not give the logits") as refused:
        open_backend("wrong", Slow(), window=WINDOW, weights_hash="a")
    assert "auto" in refused.value.cure


class _Deciding(nn.Module):
    """Does something else with bright windows, which a trace of one window cannot see."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, -x if float(x.mean()) > 1 else 2 * x], dim=1)


class _Unsayable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x @ x.transpose(-1, -2)).real.sum() * x


@pytest.mark.parametrize("network", [_Deciding(), _Unsayable()], ids=["deciding", "unsayable"])
def test_what_cannot_be_converted_says_why_in_a_sentence(
    network: nn.Module, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    with pytest.raises(UnusableBundle) as refused:
        open_backend("onnxruntime", network, window=(1, 1, 8, 8, 8))
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")
    assert "torch" in refused.value.cure
    assert open_backend("auto", network, window=(1, 1, 8, 8, 8)).name == "torch"


def test_windows_of_another_shape_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, fake_library("fake", Fake()))
    backend = open_backend("fake", Slow(), window=WINDOW)
    with pytest.raises(InvalidRequest, match=r"\(1, 16, 24, 16\).*\(1, 8, 8, 8\)"):
        backend(torch.zeros(1, 1, 8, 8, 8))


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no backend 'tensorrt'") as refused:
        open_backend("tensorrt", Slow(), window=WINDOW)
    assert "openvino" in refused.value.cure


def test_beside_the_cpu_there_is_torch_alone() -> None:
    device = torch.device("meta")
    assert open_backend("auto", Slow(), window=WINDOW, device=device).name == "torch"
    with pytest.raises(InvalidRequest, match="openvino runs on the CPU"):
        open_backend("openvino", Slow(), window=WINDOW, device=device)


def test_a_librarys_backend_lets_the_network_go() -> None:
    pytest.importorskip("openvino")
    network: Any = small_network()
    gone = weakref.ref(network)
    backend = open_backend("openvino", network, window=WINDOW)
    del network
    gc.collect()
    assert gone() is None
    assert backend(torch.zeros(WINDOW)).shape == (1, 3, *WINDOW[2:])


def test_a_network_without_python_is_left_to_torch_in_a_sentence() -> None:
    with pytest.warns(DeprecationWarning, match="script"):
        scripted = torch.jit.script(small_network())
    backend = open_backend("auto", scripted, window=WINDOW, weights_hash="a")
    assert backend.name == "torch"
    for note in backend.notes:
        assert len(note) < 300
        assert "\n" not in note


def test_where_there_is_no_room_to_convert_torch_runs_it_and_another_is_refused() -> None:
    pytest.importorskip("openvino")
    network = small_network()
    backend = open_backend("auto", network, window=WINDOW, weights_hash="a", room=1000)
    assert backend.name == "torch"
    assert "torch alone: to convert the network once takes about" in backend.notes[-1]
    with pytest.raises(DeviceMemory, match="to convert the network"):
        open_backend("openvino", network, window=WINDOW, weights_hash="a", room=1000)
    found = open_backend("openvino", network, window=WINDOW, weights_hash="a", room=2**34)
    again = open_backend("openvino", network, window=WINDOW, weights_hash="a", room=1000)
    assert (found.name, again.name) == ("openvino", "openvino")
