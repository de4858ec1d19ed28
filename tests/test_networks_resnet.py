from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from monai.networks.blocks.dynunet_block import UnetResBlock
from torch import Tensor, nn

from unetr_app.errors import InvalidRequest
from unetr_app.networks.decoders import UnetrDecoder
from unetr_app.networks.encoders.resnet import ResidualBlock, ResidualEncoder
from unetr_app.networks.inflation import centre_tap
from unetr_app.networks.segmentation import SegmentationNetwork


def _tiny(roi_size: tuple[int, ...] = (8, 16, 24), **options: Any) -> ResidualEncoder:
    torch.manual_seed(0)
    small: dict[str, Any] = {"widths": (4, 6, 8), "depths": (1, 2, 1)}
    return ResidualEncoder(1, roi_size, spatial_dims=len(roi_size), **(small | options)).eval()


def _run(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return encoder(image)


@pytest.mark.parametrize("channels_in", [1, 3])
@pytest.mark.parametrize(
    ("roi", "options", "strides"),
    [
        ((8, 16, 24), {}, [(2, 2, 2), (2, 4, 4)]),
        ((16, 24), {}, [(2, 2), (4, 4)]),
        ((5, 16, 24), {"stage_strides": [(1, 2, 2)] * 3}, [(1, 2, 2), (1, 4, 4), (1, 8, 8)]),
        ((6, 12, 36), {"stage_strides": [(1, 2, 2), 2, (3, 1, 3)]},
         [(1, 2, 2), (2, 4, 4), (6, 4, 12)]),
        ((8, 16, 24), {"stage_strides": 2}, [(2, 2, 2), (4, 4, 4), (8, 8, 8)]),
        ((6, 20, 20), {"stage_strides": [1, 1, (2, 5, 5)]}, [(2, 5, 5)]),
        ((16, 16, 24), {"kernel_size": [(1, 3, 3), 3, 5]}, [(2, 2, 2), (4, 4, 4)]),
        ((16, 16, 24), {"kernel_size": 1}, [(2, 2, 2), (4, 4, 4)]),
    ],
)  # fmt: skip
def test_it_keeps_the_promise_of_its_two_tuples(
    channels_in: int, roi: tuple[int, ...], options: dict[str, Any], strides: list[Any]
) -> None:
    encoder = ResidualEncoder(
        channels_in, roi, spatial_dims=len(roi), widths=(4, 6, 8), depths=1, **options
    )
    assert list(encoder.strides) == strides
    assert encoder.channels == (4, 6, 8)[-len(strides) :]
    for size in (roi, tuple(n + s for n, s in zip(roi, strides[-1], strict=True))):
        maps = encoder(torch.randn(2, channels_in, *size))
        for feature, width, stride in zip(maps, encoder.channels, strides, strict=True):
            assert feature.shape == (2, width, *(n // s for n, s in zip(size, stride, strict=True)))


@pytest.mark.parametrize(
    ("roi", "coarsest", "stages"),
    [
        ((128, 128, 128), (32, 32, 32), 6),
        ((96, 96, 96), (16, 16, 16), 5),
        ((32, 48, 32), (8, 8, 8), 4),
        ((20, 128, 96), (4, 32, 16), 6),
        ((35, 64, 64), (1, 16, 16), 5),
        ((6, 16, 12), (1, 4, 2), 3),
        ((64, 40), (16, 8), 5),
    ],
)
def test_strides_are_laid_out_for_the_roi_where_nobody_gives_them(
    roi: tuple[int, ...], coarsest: tuple[int, ...], stages: int
) -> None:
    encoder = ResidualEncoder(1, roi, spatial_dims=len(roi), widths=(2, 4, 6, 8, 10, 12), depths=1)
    assert encoder.strides[-1] == coarsest
    assert len(encoder.stages) == stages
    assert encoder.channels == (4, 6, 8, 10, 12)[: stages - 1]


def test_a_block_equals_monais_where_neither_pools() -> None:
    torch.manual_seed(0)
    norm = ("instance", {"affine": True})
    ours: Any = ResidualBlock(
        3, 5, (3, 3, 3), (1, 1, 1), norm=norm, drop_path=0.0, layer_scale=None
    )
    theirs: Any = UnetResBlock(3, 3, 5, 3, 1, norm)
    pairs = [
        (ours.conv1, theirs.conv1),
        (ours.conv2, theirs.conv2),
        (ours.shortcut[0], theirs.conv3),
    ]
    with torch.no_grad():
        for convolution, reference in pairs:
            convolution.weight.copy_(reference.conv.weight)
            convolution.bias.zero_()
        image = torch.randn(2, 3, 6, 8, 10)
        torch.testing.assert_close(ours(image), theirs(image))


def test_an_idle_branch_leaves_the_pooled_input() -> None:
    block: Any = ResidualBlock(
        4, 4, (3, 3, 3), (1, 2, 2), norm="instance", drop_path=0.0, layer_scale=0.0
    )
    image = torch.randn(1, 4, 6, 8, 10)
    pooled = nn.functional.avg_pool3d(image, (1, 2, 2))
    torch.testing.assert_close(block(image), nn.functional.leaky_relu(pooled, 0.01))


def test_inflated_weights_of_images_give_the_same_in_every_slice() -> None:
    flat, volume = _tiny((16, 24)), _tiny((8, 16, 24))
    weights = flat.state_dict()
    state = {
        name: centre_tap(weights[name], own.shape[2]) if own.ndim == 5 else weights[name]
        for name, own in volume.state_dict().items()
    }
    volume.load_state_dict(state)
    image = torch.randn(2, 1, 16, 24)
    slices = _run(volume, image.unsqueeze(2).repeat(1, 1, 8, 1, 1))
    for feature, expected in zip(slices, _run(flat, image), strict=True):
        expected = expected.unsqueeze(2).expand_as(feature)
        torch.testing.assert_close(feature, expected, atol=1e-5, rtol=1e-4)


def test_batch_statistics_learn_once_with_checkpointing_too() -> None:
    plain = _tiny(norm="batch").train()
    frugal = _tiny(norm="batch", gradient_checkpointing=True).train()
    frugal.load_state_dict(plain.state_dict())
    image = torch.randn(2, 1, 8, 16, 24)
    runs = []
    for encoder in (plain, frugal):
        calls: list[None] = []
        encoder.stages[1][0].conv1.register_forward_hook(  # pyright: ignore
            lambda *_, seen=calls: seen.append(None)
        )
        encoder(image)[-1].square().sum().backward()
        runs.append(len(calls))
    assert runs == [1, 2]
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(frugal.state_dict()[name], value, msg=name)
    for ours, theirs in zip(plain.parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("layer_scale", [None, 0.1])
def test_every_weight_learns(layer_scale: float | None) -> None:
    encoder = _tiny(layer_scale=layer_scale, norm=["group", {"num_groups": 2}]).train()
    encoder(torch.randn(2, 1, 8, 16, 24))[-1].square().sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_paths_are_dropped_in_training_alone_and_more_often_in_later_blocks() -> None:
    encoder = _tiny(drop_path=0.6)
    rates = [m.drop_path.rate for m in encoder.modules() if isinstance(m, ResidualBlock)]
    assert rates == pytest.approx([0.0, 0.2, 0.4, 0.6])
    image = torch.randn(4, 1, 8, 16, 24)
    torch.testing.assert_close(_run(encoder, image)[-1], _run(encoder, image)[-1])
    trained = copy.deepcopy(encoder).train()
    assert not torch.allclose(_run(trained, image)[-1], _run(trained, image)[-1])


def test_decoders_take_it() -> None:
    encoder = _tiny(stage_strides=[(1, 2, 2), 2, 2])
    decoder = UnetrDecoder(3, 1, encoder.channels, encoder.strides, feature_size=4)
    network = SegmentationNetwork(encoder, decoder, spatial_dims=3, out_channels=2).eval()
    image = torch.randn(1, 1, 8, 16, 24)
    with torch.no_grad():
        assert network(image).shape == (1, 2, 8, 16, 24)


@pytest.mark.parametrize("options", [{}, {"norm": "batch", "layer_scale": 0.1, "drop_path": 0.1}])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_it_scripts_and_gives_the_same(options: dict[str, Any]) -> None:
    encoder = _tiny(**options)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(encoder), buffer)
    buffer.seek(0)
    scripted = torch.jit.load(buffer)
    for shape in [(8, 16, 24), (12, 8, 8)]:
        image = torch.randn(1, 1, *shape)
        torch.testing.assert_close(_run(scripted, image), _run(encoder, image))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"depths": (1, 1)}, "depths .* has 2 entries; widths has 3"),
        ({"depths": 0}, "must be positive"),
        ({"widths": ()}, "widths has 0"),
        ({"stage_strides": [1, 2]}, "stage_strides .* has 2 entries"),
        ({"stage_strides": [1, 1, 1]}, "coarser than the image"),
        ({"widths": (4,), "depths": 1}, "coarser than the image"),
        ({"stage_strides": [1, (2, 2), 2]}, "must be 3 positive integers"),
        ({"kernel_size": 2}, "must be odd"),
        ({"stage_strides": [1, 2, 3]}, "no multiple of the coarsest stride"),
        ({"stage_strides": [1, 2, (4, 8, 12)]}, "one voxel"),
        ({"norm": ("group", {"num_groups": 3})}, "cannot be built for 4 channels"),
        ({"norm": "nothing"}, "cannot be built"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _tiny(**options)


def test_an_input_that_leaves_one_voxel_to_norm_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no spread to norm"):
        _tiny((16, 16, 16))(torch.zeros(1, 1, 4, 4, 4))
    assert _tiny((16, 16, 16), norm="batch")(torch.zeros(1, 1, 4, 4, 4))[-1].numel() == 8


def test_an_input_that_the_strides_do_not_divide_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no multiple of"):
        _tiny()(torch.zeros(1, 1, 8, 18, 24))
