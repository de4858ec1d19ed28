from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from unetr_app.errors import InvalidRequest
from unetr_app.networks.encoders.mvit import MultiscaleVisionTransformer
from unetr_app.networks.inflation import centre_tap

VARIANTS: list[dict[str, Any]] = [
    {},
    {"class_token": True},
    {"class_token": True, "residual_pooling": "grid", "expand_in_attention": False},
    {"pool": "max", "absolute_positions": True, "relative_positions": False},
    {"pool": "average", "pool_every_query": False, "residual_pooling": "none", "layer_scale": 0.1},
    {"patch_stride": (1, 2, 4), "stride_q": (1, (1, 2, 2)), "stride_kv": ((1, 2, 2), 1)},
]


def _tiny(roi_size: tuple[int, ...] = (16, 16, 16), **options: Any) -> MultiscaleVisionTransformer:
    torch.manual_seed(0)
    dims = len(roi_size)
    small: dict[str, Any] = {
        "embed_dims": (8, 16), "depths": (1, 2), "num_heads": (1, 2), "patch_stride": 2,
        "stride_q": (1, 2), "stride_kv": (4, 2),
    } | options  # fmt: skip
    if dims == 2:  # anisotropic sizes of the variants, in plane
        small = {name: _in_plane(value) for name, value in small.items()}
    encoder = MultiscaleVisionTransformer(1, roi_size, spatial_dims=dims, **small).eval()
    with torch.no_grad():  # no tensor at its initial value
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


def _in_plane(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_in_plane, value[-2:] if len(value) == 3 else value))
    return value


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("roi_size", [(8, 16, 24), (16, 24)])
def test_maps_are_what_channels_and_strides_promise(
    roi_size: tuple[int, ...], options: dict[str, Any]
) -> None:
    encoder = _tiny(roi_size, **options)
    maps = encoder(torch.randn(2, 1, *roi_size))
    assert len(maps) == len(encoder.channels) == len(encoder.strides) == 2
    for feature, channels, stride in zip(maps, encoder.channels, encoder.strides, strict=True):
        grid = [n // s for n, s in zip(roi_size, stride, strict=True)]
        assert feature.shape == (2, channels, *grid)


def test_strides_are_those_of_the_patch_and_of_the_queries_so_far() -> None:
    assert _tiny(**VARIANTS[-1]).strides == ((1, 2, 4), (1, 4, 8))
    assert _tiny(stride_q=(2, 2)).strides == ((4, 4, 4), (8, 8, 8))


def test_a_feed_forward_widens_to_the_next_stage() -> None:
    assert _tiny(expand_in_attention=True).channels == (8, 16)
    assert _tiny(expand_in_attention=False).channels == (16, 16)


def test_the_defaults_are_mvit_v2_small() -> None:
    encoder = MultiscaleVisionTransformer(3, (32, 32), spatial_dims=2)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    assert encoder.strides == ((4, 4), (8, 8), (16, 16), (32, 32))
    assert encoder.channels == (96, 192, 384, 768)
    assert parameters == 34_002_144  # of timm's mvitv2_small without its head, for 32 x 32 pixels


@pytest.mark.parametrize("options", VARIANTS)
def test_the_last_map_is_normed_and_without_the_class_token(options: dict[str, Any]) -> None:
    encoder = _tiny(**options)
    seen: list[Tensor] = []
    encoder.norm.register_forward_hook(lambda _m, _i, out: seen.append(out))
    last = encoder(torch.randn(1, 1, 16, 16, 16))[-1]
    tokens = seen[0][:, int(options.get("class_token", False)) :]
    torch.testing.assert_close(last, tokens.transpose(1, 2).reshape(last.shape))


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("shape", [(8, 24, 32), (32, 16, 16)])
def test_inputs_of_another_size_than_the_roi_are_taken(
    shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    encoder = _tiny(**options)
    for feature, stride in zip(encoder(torch.randn(1, 1, *shape)), encoder.strides, strict=True):
        assert feature.shape[2:] == tuple(n // s for n, s in zip(shape, stride, strict=True))
        assert feature.isfinite().all()


@pytest.mark.parametrize("options", VARIANTS[:5])
@pytest.mark.parametrize("depth", [4, 16])
def test_a_volume_constant_along_depth_gives_every_slice_what_the_image_gives(
    depth: int, options: dict[str, Any]
) -> None:
    if options.get("pool") == "average":  # whose zeros around the volume would count
        options = options | {"kernel_q": (1, 3, 3), "kernel_kv": (1, 3, 3)}
    flat = _tiny((16, 24), **options)
    volumetric = _tiny((8, 16, 24), **options)
    _inflate(flat, volumetric)
    image = torch.randn(1, 1, 16, 24)
    with torch.no_grad():
        maps = volumetric(image.unsqueeze(2).expand(-1, -1, depth, -1, -1))
        for feature, expected in zip(maps, flat(image), strict=True):
            for slice_ in feature.unbind(2):
                torch.testing.assert_close(slice_, expected, atol=1e-5, rtol=1e-5)


def _inflate(flat: torch.nn.Module, volumetric: torch.nn.Module) -> None:
    """Centre taps, nothing along depth for positions, all else as it is."""
    given = flat.state_dict()
    with torch.no_grad():
        for name, tensor in volumetric.state_dict().items():
            if ".positions." in name:
                before, axis = name.rsplit(".", 2)[0], int(name.split(".")[-2])
                tensor.copy_(given[f"{before}.{axis - 1}.table"] if axis else tensor * 0)
            elif name == "positions":
                tensor.copy_(given[name].unsqueeze(2).expand_as(tensor))
            elif tensor.ndim == 5:
                tensor.copy_(centre_tap(given[name], tensor.shape[2]))
            else:
                tensor.copy_(given[name])


def test_a_class_token_out_of_balance_sees_the_depth() -> None:
    flat = _tiny((16, 24), class_token=True)
    volumetric = _tiny((8, 16, 24), class_token=True, balance_depth=False)
    _inflate(flat, volumetric)
    image = torch.randn(1, 1, 16, 24)
    with torch.no_grad():
        last = volumetric(image.unsqueeze(2).expand(-1, -1, 16, -1, -1))[-1]
        assert (last[:, :, 0] - flat(image)[-1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("roi_size", "options"),
    [
        ((8, 16, 24), VARIANTS[2]),
        ((8, 16, 24), VARIANTS[4]),
        ((16, 24), VARIANTS[1]),
        ((16, 24), VARIANTS[3]),
    ],
)
def test_torchscript_gives_the_same(roi_size: tuple[int, ...], options: dict[str, Any]) -> None:
    encoder = _tiny(roi_size, **options)
    scripted: Any = torch.jit.script(encoder)
    for shape in (roi_size, tuple(2 * n for n in roi_size)):
        image = torch.randn(1, 1, *shape)
        with torch.no_grad():
            for ours, theirs in zip(encoder(image), scripted(image), strict=True):
                torch.testing.assert_close(ours, theirs)


def test_every_parameter_learns() -> None:
    encoder = _tiny(class_token=True, absolute_positions=True, layer_scale=0.1).train()
    sum(feature.square().sum() for feature in encoder(torch.randn(1, 1, 16, 16, 16))).backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_checkpointing_changes_memory_alone() -> None:
    image = torch.randn(1, 1, 16, 16, 16)
    gradients: list[list[Tensor | None]] = []
    for recompute in (False, True):
        encoder = _tiny(gradient_checkpointing=recompute, class_token=True).train()
        encoder(image)[-1].square().sum().backward()
        gradients.append([p.grad for p in encoder.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_drop_path_rises_from_nothing() -> None:
    encoder = _tiny(depths=(2, 3), drop_path=0.2)
    rates: list[Any] = [block.drop_path.rate for block in encoder.blocks]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


def test_half_precision_stays_near_full() -> None:
    encoder = _tiny(class_token=True)
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        halved = encoder(image)[-1]
    assert (halved.float() - encoder(image)[-1]).abs().max() < 0.2


def test_positions_of_another_grid_and_of_images_are_adopted() -> None:
    encoder = _tiny(absolute_positions=True)
    flat = torch.randn(1, 8, 8, 8)
    adopted = encoder.adopt("positions", flat)
    assert adopted.shape == (1, 8, 8, 8, 8)
    assert all(torch.equal(slice_, flat) for slice_ in adopted.unbind(2))
    assert encoder.adopt("class_token", flat) is flat


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"depths": (1, 2, 1)}, r"as many embed_dims, depths, .* not \[2, 3, 2, 2, 2\]"),
        ({"depths": (0, 2)}, "at least 1"),
        ({"num_heads": (1, 3)}, "16 is no multiple of num_heads 3"),
        ({"num_heads": (0, 2)}, "8 is no multiple of num_heads 0"),
        ({"stride_q": (1, (2, 2))}, "stride_q"),
        ({"stride_kv": (0, 2)}, "stride_kv"),
        ({"kernel_q": 2}, "must be odd"),
        ({"pool": "median"}, "no pool 'median'"),
        ({"residual_pooling": "some"}, "no residual_pooling 'some'"),
        ({"patch_stride": 3}, "no multiple of the coarsest stride"),
        ({"patch_kernel": 6, "patch_padding": 3}, "not one token for each step"),
        ({"patch_kernel": 2, "patch_stride": 1}, "not one token for each step"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _tiny(**options)


@pytest.mark.parametrize(("kernel", "stride"), [*itertools.product((1, 2, 3, 4, 5, 7), (2, 4))])
def test_every_patch_kernel_gives_one_token_a_step(kernel: int, stride: int) -> None:
    encoder = _tiny((16, 16), patch_kernel=kernel, patch_stride=stride)
    assert encoder(torch.zeros(1, 1, 16, 16))[0].shape[2:] == (16 // stride, 16 // stride)


def test_an_input_that_the_strides_do_not_divide_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"no multiple of \[4, 4, 4\]"):
        _tiny()(torch.zeros(1, 1, 16, 18, 16))
