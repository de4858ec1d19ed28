from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from unetr_app.errors import InvalidRequest
from unetr_app.networks.encoders import PyramidVisionTransformer, SegFormer
from unetr_app.networks.layers import DropPath

SMALL: dict[str, Any] = {
    "embed_dims": (8, 12, 24, 16), "depths": (1, 2, 1, 1), "num_heads": (1, 3, 2, 4),
}  # fmt: skip


def _tiny(roi_size: tuple[int, ...] = (32, 32, 32), **options: Any) -> SegFormer:
    torch.manual_seed(0)
    return SegFormer(1, roi_size, spatial_dims=len(roi_size), **(SMALL | options)).eval()


@pytest.mark.parametrize(
    ("roi", "patch_strides", "strides"),
    [
        ((32, 64, 32), (4, 2, 2, 2), [(4,) * 3, (8,) * 3, (16,) * 3, (32,) * 3]),
        ((16, 16, 32), (2, 2, 2, 2), [(2,) * 3, (4,) * 3, (8,) * 3, (16,) * 3]),
        ((40, 56, 40), (2, 2, 2, 1), [(2,) * 3, (4,) * 3, (8,) * 3, (8,) * 3]),
        (
            (4, 64, 32),
            ((1, 4, 4), (1, 2, 2), 2, 2),
            [(1, 4, 4), (1, 8, 8), (2, 16, 16), (4, 32, 32)],
        ),
        ((64, 96), (4, 2, 2, 2), [(4,) * 2, (8,) * 2, (16,) * 2, (32,) * 2]),
    ],
)
def test_maps_have_the_strides_that_patches_make(
    roi: tuple[int, ...], patch_strides: Any, strides: list[tuple[int, ...]]
) -> None:
    encoder = _tiny(roi, patch_strides=patch_strides)
    assert encoder.strides == tuple(strides)
    assert encoder.channels == SMALL["embed_dims"]
    for feature, width, stride in zip(
        encoder(torch.randn(2, 1, *roi)), encoder.channels, strides, strict=True
    ):
        assert feature.shape == (2, width, *(n // s for n, s in zip(roi, stride, strict=True)))


@pytest.mark.parametrize("stages", [1, 3, 5])
def test_any_number_of_stages(stages: int) -> None:
    encoder = SegFormer(
        1, (32, 32, 32), embed_dims=(4,) * stages, depths=(1,) * stages, num_heads=(1,) * stages,
        mlp_ratios=(2,) * stages, patch_strides=(2,) * stages,
    )  # fmt: skip
    assert len(encoder(torch.zeros(1, 1, 32, 32, 32))) == stages


@pytest.mark.parametrize("shape", [(64, 32, 96), (32, 32, 32)])
def test_inputs_of_another_size_than_the_roi_are_taken(shape: tuple[int, int, int]) -> None:
    maps = _tiny()(torch.randn(1, 1, *shape))
    assert maps[-1].shape[2:] == tuple(n // 32 for n in shape)


def test_every_map_is_normed() -> None:
    for feature in _tiny()(torch.randn(1, 1, 32, 32, 32)):
        means = feature.mean(1)
        torch.testing.assert_close(means, torch.zeros_like(means), atol=1e-5, rtol=0)


def test_reductions_lead_to_the_last_maps_grid_where_nothing_is_said() -> None:
    encoder = _tiny((4, 64, 32), patch_strides=((1, 4, 4), (1, 2, 2), 2, 2))
    kernels = [
        block.attention.reduction.convolution.kernel_size  # pyright: ignore
        for stage in list(encoder.stages)[:3]
        for block in stage.blocks  # pyright: ignore
    ]
    assert kernels == [(4, 8, 8), (4, 4, 4), (4, 4, 4), (2, 2, 2)]


def test_a_number_as_reduction_goes_no_further_than_the_last_map_along_thin_axes() -> None:
    options: dict[str, Any] = {"patch_strides": ((1, 4, 4), (1, 2, 2), 2, 2)}
    said = _tiny((4, 64, 32), sr_ratios=(8, 4, 2, 1), **options)
    unsaid = _tiny((4, 64, 32), **options)
    image = torch.randn(1, 1, 4, 64, 32)
    assert all(torch.equal(a, b) for a, b in zip(said(image), unsaid(image), strict=True))


def test_tokens_know_their_place_by_the_padding_alone() -> None:
    feature = _tiny((32, 96, 96))(torch.ones(1, 1, 32, 96, 96))[0]
    assert not torch.allclose(feature[..., 0, 0, 0], feature[..., 4, 12, 12])
    middle = feature[0, :, 3:5, 8:16, 8:16].flatten(1)
    torch.testing.assert_close(middle, middle[:, :1].expand_as(middle), atol=1e-5, rtol=0)


def test_drop_path_rises_linearly_over_all_stages() -> None:
    encoder = _tiny(drop_path=0.4)
    rates = [module.rate for module in encoder.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("linear", [False, True])
def test_checkpointing_changes_memory_alone(linear: bool) -> None:
    plain = _tiny(linear=linear, layer_scale=0.1)
    frugal = _tiny(linear=linear, layer_scale=0.1, gradient_checkpointing=True)
    image = torch.randn(1, 1, 32, 32, 32)
    gradients = []
    for encoder in (plain.train(), frugal.train()):
        sum(feature.square().sum() for feature in encoder(image)).backward()  # pyright: ignore
        gradients.append([p.grad for p in encoder.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("family", [SegFormer, PyramidVisionTransformer])
@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_it_scripts_and_gives_the_same(family: Any, linear: bool) -> None:
    encoder = family(2, (32, 32, 32), linear=linear, layer_scale=0.1, drop_path=0.1, **SMALL).eval()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(encoder), buffer)
    buffer.seek(0)
    scripted = torch.jit.load(buffer)
    image = torch.randn(1, 2, 32, 64, 32)
    for ours, theirs in zip(encoder(image), scripted(image), strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"embed_dims": (8, 13, 24, 16)}, "13 is no multiple of num_heads 3"),
        ({"num_heads": (1, 0, 2, 4)}, "no multiple of num_heads 0"),
        ({"embed_dims": ()}, "one a stage"),
        ({"embed_dims": (8, 0, 24, 16)}, "positive integers"),
        ({"depths": (1, 2, 1)}, "depths .* must be 4 values"),
        ({"depths": (1, 0, 1, 1)}, "at least 1"),
        ({"mlp_ratios": (4, 4)}, "mlp_ratios .* must be 4 values"),
        ({"patch_strides": (4, 2, 2)}, "patch_strides .* must be 4 values"),
        ({"patch_strides": (4, (2, 2), 2, 2)}, "3 positive integers"),
        ({"patch_sizes": (8, 3, 3, 3)}, "must be odd"),
        ({"patch_sizes": (3, 3, 3, 3)}, "at least the patch_strides"),
        ({"sr_ratios": (8, 4, 2, 0)}, "sr_ratios 0 must be"),
        ({"sr_ratios": (8, 8, 2, 1)}, "smaller than"),
        ({"patch_strides": (8, 2, 2, 2)}, "no multiple of the last stride"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _tiny(**options)


@pytest.mark.parametrize(
    ("shape", "options"), [((32, 48, 32), {}), ((32, 32, 32), {"sr_ratios": (16, 4, 2, 1)})]
)
def test_an_input_that_does_not_fit_is_refused_in_words(
    shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    encoder = _tiny((64, 64, 64), **options)
    with pytest.raises(ValueError, match=r"no multiple of \[32|smaller than \[64"):
        encoder(torch.zeros(1, 1, *shape))


def test_the_default_is_b0() -> None:
    encoder = SegFormer(3, (32, 32), spatial_dims=2)
    assert sum(p.numel() for p in encoder.parameters()) == 3_319_392  # arXiv:2105.15203: 3.4 M
