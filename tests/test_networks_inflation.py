from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from unetr_app.networks.inflation import (
    adapt_channels,
    centre_tap,
    repeat_over_depth,
    resize_kernel,
    resize_positions,
)

MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
seeds = st.integers(0, 2**31)


def _random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _as_volume(image: Tensor, depth: int) -> Tensor:
    return image.unsqueeze(2).expand(-1, -1, depth, -1, -1)


def _require_each_slice(volume: Tensor, image: Tensor) -> None:
    torch.testing.assert_close(volume, _as_volume(image, volume.shape[2]), atol=1e-10, rtol=0)


@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    depth=st.integers(1, 7), slices=st.integers(1, 3), seed=seeds,
)  # fmt: skip
def test_spread_over_depth_a_volume_of_equal_slices_gives_what_the_image_gives(
    kernel: tuple[int, int], grid: tuple[int, int], depth: int, slices: int, seed: int
) -> None:
    image = _random(seed, 2, 3, kernel[0] * grid[0], kernel[1] * grid[1])
    weight = _random(seed + 1, 4, 3, *kernel)
    flat = functional.conv2d(image, weight, stride=kernel)
    inflated = repeat_over_depth(weight, depth)
    assert inflated.shape == (4, 3, depth, *kernel)
    deep = functional.conv3d(_as_volume(image, depth * slices), inflated, stride=(depth, *kernel))
    assert deep.shape[2] == slices
    _require_each_slice(deep, flat)


@given(
    reach=st.integers(0, 3), plane=st.integers(0, 3), groups=st.sampled_from([1, 3]),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)), slices=st.integers(1, 6), seed=seeds,
)  # fmt: skip
def test_in_the_centre_tap_the_same_holds_at_padded_borders_too(
    reach: int, plane: int, groups: int, stride: tuple[int, int], slices: int, seed: int
) -> None:
    image = _random(seed, 1, 3, 7, 5)
    weight = _random(seed + 1, 6, 3 // groups, 2 * plane + 1, 2 * plane + 1)
    flat = functional.conv2d(image, weight, stride=stride[1], padding=plane, groups=groups)
    inflated = centre_tap(weight, 2 * reach + 1)
    deep = functional.conv3d(
        _as_volume(image, slices), inflated, stride=(stride[0], stride[1], stride[1]),
        padding=(reach, plane, plane), groups=groups,
    )  # fmt: skip
    _require_each_slice(deep, flat)


def test_spread_over_depth_would_be_wrong_at_padded_borders() -> None:
    image, weight = _random(0, 1, 3, 5, 5), _random(1, 2, 3, 3, 3)
    flat = functional.conv2d(image, weight, padding=1)
    deep = functional.conv3d(_as_volume(image, 4), repeat_over_depth(weight, 3), padding=1)
    torch.testing.assert_close(deep[:, :, 1], flat)
    assert (deep[:, :, 0] - flat).abs().max() > 0.1


@st.composite
def patches(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of a patch, and of a larger one."""
    old = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    return old, tuple(n + draw(st.integers(0, 5)) for n in old)


@given(sizes=patches(), seed=seeds)
def test_an_enlarged_patch_gives_the_token_of_the_patch(
    sizes: tuple[tuple[int, ...], tuple[int, ...]], seed: int
) -> None:
    old, new = sizes
    patch, kernel = _random(seed, 5, 2, *old), _random(seed + 1, 3, 2, *old)
    enlarged = functional.interpolate(patch, new, mode=MODES[len(old)], align_corners=False)
    resized = resize_kernel(kernel, new)
    assert resized.shape == (3, 2, *new)
    found = torch.einsum("bcp,ocp->bo", enlarged.flatten(2), resized.flatten(2))
    expected = torch.einsum("bcp,ocp->bo", patch.flatten(2), kernel.flatten(2))
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=0)


@given(sizes=patches(), seed=seeds)
def test_for_a_smaller_patch_the_kernel_is_the_closest_by_least_squares(
    sizes: tuple[tuple[int, ...], tuple[int, ...]], seed: int
) -> None:
    new, old = sizes
    kernel = _random(seed, 2, 1, *old)
    count = kernel[0].numel()
    basis = torch.eye(count, dtype=torch.float64).reshape(count, 1, *old)
    shrinks = functional.interpolate(basis, new, mode=MODES[len(old)], align_corners=False)
    wanted = torch.linalg.lstsq(shrinks.flatten(1), kernel.flatten(1).T, driver="gelsd").solution
    torch.testing.assert_close(resize_kernel(kernel, new).flatten(1).T, wanted, atol=1e-8, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_resized_kernel_keeps_its_data_type_and_a_kernel_of_that_size_stays(
    dtype: torch.dtype,
) -> None:
    kernel = torch.ones(2, 3, 4, 4, dtype=dtype)
    assert resize_kernel(kernel, (4, 4)) is kernel
    assert resize_kernel(kernel, (2, 5)).dtype == dtype


@given(
    old=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    new=st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7)), seed=seeds,
)  # fmt: skip
def test_positions_of_images_are_bicubic_and_alike_in_every_slice(
    old: tuple[int, int], new: tuple[int, int, int], seed: int
) -> None:
    positions = _random(seed, 1, 4, *old)
    flat = resize_positions(positions, list(new[1:]))
    wanted = functional.interpolate(positions, new[1:], mode="bicubic", align_corners=False)
    torch.testing.assert_close(flat, positions if old == new[1:] else wanted)
    _require_each_slice(resize_positions(positions, list(new)), flat)


@given(
    old=st.tuples(st.integers(2, 4), st.integers(1, 4), st.integers(1, 4)),
    new=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)), seed=seeds,
)  # fmt: skip
def test_positions_of_volumes_are_bicubic_in_plane_and_linear_over_depth(
    old: tuple[int, int, int], new: tuple[int, int, int], seed: int
) -> None:
    positions = _random(seed, 1, 4, *old)
    slices = [resize_positions(positions[:, :, n], list(new[1:])) for n in range(old[0])]
    lines = torch.stack(slices, dim=-1).reshape(1, -1, old[0])  # (1, 4 h w, d)
    lines = functional.interpolate(lines, new[0], mode="linear", align_corners=False)
    wanted = lines.reshape(1, 4, *new[1:], new[0]).movedim(-1, 2)
    torch.testing.assert_close(resize_positions(positions, list(new)), wanted)


def test_positions_for_the_grid_that_they_have_stay() -> None:
    for shape in ((1, 4, 3, 5), (1, 4, 2, 3, 5)):
        positions = _random(0, *shape)
        assert torch.equal(resize_positions(positions, list(shape[2:])), positions)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_resizes_positions_alike() -> None:
    scripted = torch.jit.script(resize_positions)
    for shape, grid in (((3, 4), [5, 2]), ((3, 4), [2, 5, 2]), ((2, 3, 4), [4, 3, 4])):
        positions = _random(0, 1, 4, *shape)
        assert torch.equal(scripted(positions, grid), resize_positions(positions, grid))


@pytest.mark.parametrize("size", [(16, 40), (56, 24), (8, 8)])
def test_positions_are_resized_as_transformers_dinov2_does(size: tuple[int, int]) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, image_size=40, patch_size=8
    )
    embeddings = transformers.Dinov2Model(config).embeddings
    torch.nn.init.normal_(embeddings.position_embeddings)
    grid = (size[0] // 8, size[1] // 8)
    tokens = torch.zeros(1, 1 + grid[0] * grid[1], 12)
    with torch.no_grad():
        wanted = embeddings.interpolate_pos_encoding(tokens, *size)[:, 1:]  # (1, N, C)
        ours = embeddings.position_embeddings[:, 1:].mT.reshape(1, 12, 5, 5)
        found = resize_positions(ours, list(grid)).flatten(2).mT
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


@given(have=st.integers(1, 4), channels=st.integers(1, 8), seed=seeds)
def test_a_stem_of_other_channels_answers_alike_to_a_grey_image(
    have: int, channels: int, seed: int
) -> None:
    kernel, grey = _random(seed, 5, have, 3, 3), _random(seed + 1, 2, 1, 6, 6)
    adapted = adapt_channels(kernel, channels)
    assert adapted.shape == (5, channels, 3, 3)
    if channels != 1 and channels % have:
        return  # the old channels do not come equally often
    old = functional.conv2d(grey.expand(-1, have, -1, -1), kernel, stride=3)
    new = functional.conv2d(grey.expand(-1, channels, -1, -1), adapted, stride=3)
    torch.testing.assert_close(new, old, atol=1e-10, rtol=0)


def test_channels_come_in_turn_and_keep_their_scale() -> None:
    kernel = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    assert adapt_channels(kernel, 3) is kernel
    assert adapt_channels(kernel, 1).flatten().tolist() == [6.0]
    assert adapt_channels(kernel, 2).flatten().tolist() == [1.5, 3.0]
    assert adapt_channels(kernel, 4).flatten().tolist() == [0.75, 1.5, 2.25, 0.75]
    assert adapt_channels(kernel, 6).flatten().tolist() == [0.5, 1.0, 1.5, 0.5, 1.0, 1.5]
