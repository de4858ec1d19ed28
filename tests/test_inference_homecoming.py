"""Blocks brought home one by one equal the whole array brought home at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from unetr_app.geometry import Geometry
from unetr_app.inference.blending import blend
from unetr_app.inference.cells import cells_of
from unetr_app.inference.homecoming import Homecoming
from unetr_app.inference.way_home import WayHome
from unetr_app.inference.window_plan import Member, Shape, WindowPlan
from unetr_app.resample import resample_array

CHANNELS = 3
PERMUTATIONS = [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0)]


def _logits(shape: Shape) -> Tensor:
    return torch.randn(CHANNELS, *shape, generator=torch.Generator().manual_seed(sum(shape)))


def _home(
    logits: Tensor, roi: Shape, model: Geometry, native: Geometry
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Native logits (L, I, J, K), and how often each voxel was written."""
    plan = WindowPlan(model.shape, roi, (0.0, 0.25, 0.5))

    def logits_of(member: Member, start: Shape) -> Tensor:
        return plan.place(plan.cut(logits, member, start)[0], member).clone()

    home = Homecoming(WayHome.plain(model, native), plan.order)
    found = np.full((CHANNELS, *native.shape), np.nan, dtype=np.float32)
    times = np.zeros(native.shape, dtype=int)
    for block in blend(cells_of(plan), logits_of):
        for piece in home.pieces(block):
            for channel in range(CHANNELS):
                piece.write(piece.logits[channel].numpy(), found[channel])
            times[piece.index] += 1
    return found, times


def _expected(logits: Tensor, model: Geometry, native: Geometry) -> NDArray[Any]:
    channels = logits.numpy().astype(np.float64)
    return np.stack([resample_array(c, model, native, edge=np.inf) for c in channels])


def _require_same(logits: Tensor, roi: Shape, model: Geometry, native: Geometry) -> None:
    found, times = _home(logits, roi, model, native)
    wanted = _expected(logits, model, native)
    np.testing.assert_array_equal(times, 1)
    np.testing.assert_allclose(found, wanted, atol=5e-6)


def _model(shape: Shape, spacing: tuple[float, ...]) -> Geometry:
    return Geometry(shape, np.diag([*spacing, 1.0]))


sizes = st.tuples(*(st.integers(1, 12),) * 3)
rois = st.tuples(*(st.integers(2, 6),) * 3)
spacings = st.tuples(*(st.sampled_from([0.5, 0.8, 1.0, 1.5, 3.1]),) * 3)
signs = st.tuples(*(st.sampled_from([-1, 1]),) * 3)
shifts = st.tuples(*(st.sampled_from([0.0, 0.25, -0.4, 2.0, -1.7]),) * 3)


@given(sizes, rois, spacings, sizes, st.sampled_from(PERMUTATIONS), signs, shifts)
@settings(max_examples=150, deadline=None)
def test_grids_with_parallel_axes(
    shape: Shape, roi: Shape, spacing: tuple[float, ...], native_shape: Shape,
    permutation: Shape, sign: Shape, shift: tuple[float, ...],
) -> None:  # fmt: skip
    model = _model(shape, (1.0, 1.2, 0.9))
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for axis in range(3):
        turn[axis, permutation[axis]] = sign[axis] * spacing[axis]
        end = (native_shape[permutation[axis]] - 1) * spacing[axis]
        turn[axis, 3] = shift[axis] + (end if sign[axis] < 0 else 0)
    _require_same(_logits(shape), roi, model, Geometry(native_shape, turn))


@given(sizes, rois, spacings, sizes, st.tuples(*(st.floats(-0.6, 0.6),) * 3), shifts)
@settings(max_examples=80, deadline=None)
def test_grids_that_lie_askew(
    shape: Shape, roi: Shape, spacing: tuple[float, ...], native_shape: Shape,
    angles: tuple[float, ...], shift: tuple[float, ...],
) -> None:  # fmt: skip
    model = _model(shape, (1.0, 1.2, 0.9))
    turn = np.eye(4)
    for axis, angle in enumerate(angles):
        i, j = [n for n in range(3) if n != axis]
        step = np.eye(4)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    turn[:3, :3] *= spacing
    turn[:3, 3] = shift
    _require_same(_logits(shape), roi, model, Geometry(native_shape, turn))


def test_the_same_grid_and_mirrored_ones_are_exact() -> None:
    logits = _logits((9, 7, 8))
    model = _model((9, 7, 8), (1.0, 1.2, 0.9))
    found, _ = _home(logits, (4, 4, 4), model, model)
    np.testing.assert_allclose(found, logits.numpy(), atol=1e-6)
    mirrored = model.reoriented("LPS")
    assert Homecoming(WayHome.plain(model, mirrored), (0, 1, 2)).is_exact
    found, _ = _home(logits, (4, 4, 4), model, mirrored)
    np.testing.assert_allclose(found, logits.numpy()[:, ::-1, ::-1], atol=1e-6)
