from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from unetr_app.errors import InvalidRequest
from unetr_app.networks.decoders import UnetrDecoder
from unetr_app.networks.encoders.swin import SwinEncoder
from unetr_app.networks.segmentation import SegmentationNetwork

SMALL: dict[str, Any] = {
    "embed_dim": 8, "depths": (1, 2, 1, 1), "num_heads": (1, 2, 2, 4), "window_size": 3,
}  # fmt: skip


def _tiny(roi_size: tuple[int, ...] = (32, 32, 32), **options: Any) -> SwinEncoder:
    torch.manual_seed(0)
    return SwinEncoder(1, roi_size, spatial_dims=len(roi_size), **(SMALL | options)).eval()


def _run(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return encoder(image)


@pytest.mark.parametrize("channels_in", [1, 3])
@pytest.mark.parametrize(
    ("roi", "patch", "finest"),
    [
        ((32, 32, 32), 2, (2, 2, 2)),
        ((16, 32, 32), (1, 2, 2), (1, 2, 2)),
        ((64, 32), 2, (2, 2)),
        ((48, 32), (3, 1), (3, 1)),
    ],
)
def test_it_keeps_the_promise_of_its_two_tuples(
    channels_in: int, roi: tuple[int, ...], patch: Any, finest: tuple[int, ...]
) -> None:
    encoder = SwinEncoder(channels_in, roi, spatial_dims=len(roi), patch_size=patch, **SMALL)
    assert encoder.strides == tuple(tuple(n * 2**m for n in finest) for m in range(5))
    assert encoder.channels == (8, 16, 32, 64, 128)
    double = (2 * roi[0], *roi[1:])
    for size in (roi, double):
        for feature, width, stride in zip(
            _run(encoder, torch.zeros(1, channels_in, *size)),
            encoder.channels,
            encoder.strides,
            strict=True,
        ):
            assert feature.shape == (1, width, *(n // s for n, s in zip(size, stride, strict=True)))


@pytest.mark.parametrize("options", [{}, {"use_v2": True}, {"patch_norm": True}])
def test_it_equals_monais_with_the_same_weights(options: dict[str, Any]) -> None:
    ours = _tiny(**options)
    theirs = SwinTransformer(
        1, 8, (3, 3, 3), (2, 2, 2), SMALL["depths"], SMALL["num_heads"], **options
    ).eval()
    theirs.load_state_dict(ours.transformer.state_dict(), strict=False)
    image = torch.randn(1, 1, 64, 32, 32)
    for feature, expected in zip(_run(ours, image), _run(theirs, image), strict=True):
        torch.testing.assert_close(feature, expected, atol=1e-5, rtol=1e-5)


def test_attention_is_the_same_fused_or_not() -> None:
    encoder, image = _tiny(), torch.randn(1, 1, 32, 64, 32)
    for fused, plain in zip(_run(encoder, image), encoder(image), strict=True):
        torch.testing.assert_close(fused, plain, atol=1e-5, rtol=1e-5)


def test_every_map_is_normed_over_its_channels() -> None:
    for feature in _run(_tiny(), torch.randn(1, 1, 32, 32, 32)):
        torch.testing.assert_close(
            feature.mean(1), torch.zeros_like(feature[:, 0]), atol=1e-5, rtol=0
        )


def test_checkpointing_changes_memory_alone() -> None:
    plain, frugal = _tiny(), _tiny(gradient_checkpointing=True)
    frugal.load_state_dict(plain.state_dict())
    image = torch.randn(1, 1, 32, 32, 32)
    runs = []
    for encoder in (plain.train(), frugal.train()):
        calls: list[None] = []
        encoder.transformer.layers2[0].blocks[1].norm1.register_forward_hook(  # pyright: ignore
            lambda *_, seen=calls: seen.append(None)
        )
        encoder(image)[-1].pow(3).sum().backward()
        runs.append(len(calls))
    assert runs == [1, 2]
    for ours, theirs in zip(plain.parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_paths_are_dropped_in_training_alone() -> None:
    encoder, image = _tiny(drop_path=0.5), torch.randn(2, 1, 32, 32, 32)
    torch.testing.assert_close(_run(encoder, image)[-1], _run(encoder, image)[-1])
    encoder.train()
    assert not torch.allclose(_run(encoder, image)[-1], _run(encoder, image)[-1])


def test_decoders_take_it() -> None:
    encoder = _tiny((16, 32, 32), patch_size=(1, 2, 2))
    decoder = UnetrDecoder(3, 1, encoder.channels, encoder.strides, feature_size=4)
    network = SegmentationNetwork(encoder, decoder, spatial_dims=3, out_channels=2).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 1, 16, 32, 32)).shape == (1, 2, 16, 32, 32)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripting_is_refused_with_the_reason_inside_a_network_too() -> None:
    for module in (_tiny(), nn.Sequential(_tiny())):
        with pytest.raises(InvalidRequest, match="MONAI's forward pass") as caught:
            torch.jit.script(module)
        assert "trace" in caught.value.cure


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_it_traces_for_one_shape() -> None:
    encoder = _tiny()
    with torch.no_grad():
        traced: Any = torch.jit.trace(encoder, torch.randn(1, 1, 32, 32, 32))
    image = torch.randn(1, 1, 32, 32, 32)
    for feature, expected in zip(_run(traced, image), _run(encoder, image), strict=True):
        torch.testing.assert_close(feature, expected)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"depths": (1, 1, 1)}, "as many positive integers each"),
        ({"depths": (1, 1, 1, 0)}, "as many positive integers each"),
        ({"num_heads": (1, 3, 2, 4)}, "stage 1 has 16 channels, no multiple of its 3 heads"),
        ({"merging": "none"}, "no merging 'none'"),
        ({"patch_size": 4}, "no multiple of the coarsest stride"),
        ({"window_size": (3, 3)}, "must be 3 positive integers"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _tiny(**options)


def test_an_input_that_the_strides_do_not_divide_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no multiple of"):
        _tiny()(torch.zeros(1, 1, 32, 48, 32))
