from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch.nn import functional

from unetr_app.errors import InvalidRequest
from unetr_app.networks.encoders.convmixer import ConvMixer, ConvMixerBlock

ROI = (8, 16, 24)


def _tiny(**options: Any) -> ConvMixer:
    torch.manual_seed(0)
    tiny = {
        "patch_size": (2, 4, 4), "embed_dim": 6, "depth": 3, "kernel_size": 3, "taps": [1, 3],
    }  # fmt: skip
    return ConvMixer(1, ROI, **(tiny | options)).eval()


def _block(kernel: tuple[int, ...], **options: Any) -> ConvMixerBlock:
    torch.manual_seed(0)
    usual = {"activation": "gelu", "drop_path": 0.0, "layer_scale": None, "norm_eps": 1e-5}
    return ConvMixerBlock(5, kernel, **(usual | options)).eval()


def test_one_map_a_tap_with_the_stride_of_the_patch() -> None:
    encoder = _tiny()
    maps = encoder(torch.randn(2, 1, *ROI))
    assert [m.shape for m in maps] == [(2, 6, 4, 4, 6)] * 2
    assert encoder.channels == (6, 6)
    assert encoder.strides == ((2, 4, 4),) * 2


def test_images_of_two_axes() -> None:
    encoder = ConvMixer(3, (16, 24), spatial_dims=2, embed_dim=6, depth=1)
    assert [m.shape for m in encoder(torch.randn(2, 3, 16, 24))] == [(2, 6, 2, 3)]


@pytest.mark.parametrize("shape", [(2, 4, 4), (6, 20, 8)])
@pytest.mark.parametrize("kernel", [1, 4, (3, 5, 7)])
def test_inputs_of_another_size_than_the_roi_are_taken(
    shape: tuple[int, int, int], kernel: int | tuple[int, int, int]
) -> None:
    maps = _tiny(kernel_size=kernel)(torch.randn(1, 1, *shape))
    assert maps[-1].shape[2:] == (shape[0] // 2, shape[1] // 4, shape[2] // 4)


def test_an_input_that_the_patch_does_not_divide_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"no multiple of \[2, 4, 4\]"):
        _tiny()(torch.zeros(1, 1, 8, 14, 16))


def test_a_token_sees_as_far_as_its_kernels() -> None:
    encoder = _tiny(kernel_size=(1, 3, 5), depth=2, taps=[2])
    image = torch.randn(1, 1, 8, 32, 48)
    other = image.clone()
    other[..., 2, 13, 21] += 1.0  # in token (1, 3, 5)
    changed = (encoder(image)[0] - encoder(other)[0]).abs().amax((0, 1)) > 1e-7  # (4, 8, 12)
    expected = torch.zeros(4, 8, 12, dtype=torch.bool)
    expected[1:2, 1:6, 1:10] = True
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("kernel", [(3, 5), (4, 4), (8, 3), (2, 7)])
def test_the_window_lies_as_torch_lays_it(kernel: tuple[int, int]) -> None:
    block = _block(kernel)
    features = torch.randn(2, 5, 9, 6)
    spatial = block.spatial
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'")
        branch = functional.conv2d(
            features, spatial.weight, spatial.bias, padding="same", groups=5
        )  # fmt: skip
    mixed = features + block.spatial_norm(functional.gelu(branch))
    expected = block.pointwise_norm(functional.gelu(block.pointwise(mixed)))
    torch.testing.assert_close(block(features), expected)


def test_a_residual_branch_that_counts_nothing_is_as_if_it_were_not_there() -> None:
    block = _block((3, 3), layer_scale=0.0)
    features = torch.randn(2, 5, 4, 4)
    expected = block.pointwise_norm(functional.gelu(block.pointwise(features)))
    torch.testing.assert_close(block(features), expected)


def test_the_residual_branch_is_dropped_more_often_in_later_blocks() -> None:
    encoder = _tiny(drop_path=0.5)
    assert [block.drop_path.rate for block in encoder.blocks] == [0.0, 0.25, 0.5]


def test_the_activation_is_the_one_asked_for() -> None:
    image = torch.randn(1, 1, *ROI)
    gelu, relu = _tiny(taps=[3]), _tiny(taps=[3], activation="relu")
    assert not torch.allclose(gelu(image)[0], relu(image)[0], atol=1e-3)
    with torch.no_grad():
        for norm in (relu.blocks[2].pointwise_norm, gelu.blocks[2].pointwise_norm):
            norm.bias.zero_()
        assert relu(image)[0].min() >= 0 > gelu(image)[0].min()


def test_checkpointing_changes_memory_alone() -> None:
    plain, frugal = _tiny(), _tiny(gradient_checkpointing=True)
    frugal.load_state_dict(plain.state_dict())
    image = torch.randn(2, 1, *ROI)
    for encoder in (plain.train(), frugal.train()):
        encoder(image)[-1].square().sum().backward()
    for ours, theirs in zip(frugal.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert plain.blocks[0].spatial_norm.running_mean.abs().max() > 0
    for ours, theirs in zip(frugal.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)  # running statistics are updated once


def test_statistics_are_learned_again_after_a_recomputed_step() -> None:
    encoder = _tiny(gradient_checkpointing=True).train()
    norm = encoder.blocks[1].pointwise_norm
    for _ in range(2):
        encoder(torch.randn(2, 1, *ROI))[-1].square().sum().backward()
    assert norm.momentum == 0.1
    assert norm.num_batches_tracked.item() == 2


@pytest.mark.parametrize("kernel", [3, (1, 4, 5)])
def test_torchscript_gives_the_same(kernel: int | tuple[int, int, int]) -> None:
    encoder = _tiny(kernel_size=kernel)
    scripted = torch.jit.script(encoder)
    for shape in (ROI, (4, 8, 8)):
        image = torch.randn(1, 1, *shape)
        for ours, plain in zip(scripted(image), encoder(image), strict=True):
            torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"patch_size": 7}, "no multiple of patch_size"),
        ({"kernel_size": 0}, "3 positive integers"),
        ({"activation": "swish"}, "no activation 'swish'"),
        ({"taps": [1, 2]}, "do not fit 3 blocks"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _tiny(**options)
