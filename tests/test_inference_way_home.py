"""Any chain of turns, one resampling, crops and pads is undone as MONAI's Invertd undoes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import (
    BorderPadd,
    CenterSpatialCropd,
    CropForegroundd,
    DivisiblePadd,
    ResizeWithPadOrCropd,
    SpatialCropd,
    SpatialPadd,
)
from monai.transforms.post.dictionary import Invertd
from monai.transforms.spatial.dictionary import (
    Flipd,
    Orientationd,
    Resized,
    Rotate90d,
    Rotated,
    Spacingd,
    Zoomd,
)
from monai.transforms.utility.dictionary import Lambdad, Transposed
from numpy.typing import NDArray

from tests.strategies import geometries
from unetr_app.errors import UnusableBundle
from unetr_app.geometry import Geometry
from unetr_app.inference.blending import Block
from unetr_app.inference.homecoming import Homecoming
from unetr_app.inference.nearest import nearest_home
from unetr_app.inference.restore import model_geometry
from unetr_app.inference.way_home import Step, WayHome, find_way_home
from unetr_app.resample import index_map

KEY = "image"


def _cropped(value: Any) -> Any:
    return CropForegroundd(
        KEY, source_key=KEY, select_fn=lambda x: x > value, margin=1, allow_smaller=True
    )


class _Both:
    """Two of MONAI's steps in one of a bundle's own."""

    def __call__(self, data: dict[str, Any]) -> Any:
        return SpatialPadd(KEY, spatial_size=[12, 12, 12])(Spacingd(KEY, pixdim=1.5)(data))


MOVES = st.sampled_from(
    [
        BorderPadd(KEY, spatial_border=[1, 2, 0]),
        CenterSpatialCropd(KEY, roi_size=[6, 5, 7]),
        DivisiblePadd(KEY, k=4),
        Flipd(KEY, spatial_axis=1),
        Orientationd(KEY, axcodes="PLI", labels=None),
        ResizeWithPadOrCropd(KEY, spatial_size=[9, 6, 8]),
        Rotate90d(KEY, k=1, spatial_axes=(0, 2)),
        SpatialCropd(KEY, roi_start=[1, 0, 1], roi_end=[30, 6, 7]),
        SpatialPadd(KEY, spatial_size=[10, 9, 8]),
        _cropped(0.97),
    ]
)
SPACINGS = st.sampled_from([0.7, 1.0, 1.5, 2.0])


@st.composite
def _respacings(draw: st.DrawFn) -> Spacingd:
    pixdim = draw(st.tuples(SPACINGS, SPACINGS, SPACINGS))
    return Spacingd(KEY, pixdim=pixdim, padding_mode=draw(st.sampled_from(["border", "zeros"])))


def _stages(steps: list[Any], native: Geometry) -> tuple[dict[str, Any], list[Step]]:
    values = np.random.default_rng(3).random((1, *native.shape), dtype=np.float32)
    affine = torch.from_numpy(native.affine.copy())
    data: dict[str, Any] = {KEY: MetaTensor(torch.from_numpy(values), affine=affine)}
    stages = [Step(native)]
    for step in steps:
        before = len(data[KEY].applied_operations)
        data = step(data)
        image = data[KEY]
        if min(image.shape) == 0:  # a crop found nothing
            reject()
        stages.append(Step(model_geometry(image), tuple(image.applied_operations[before:])))
    return data, stages


def _inverted(data: dict[str, Any], steps: list[Any], values: Any, *, nearest: bool) -> Any:
    pred = MetaTensor(torch.as_tensor(values).float(), affine=data[KEY].affine)
    undo = Invertd("pred", Compose(steps), orig_keys=KEY, nearest_interp=nearest)
    done: Any = undo(data | {"pred": pred})
    return np.asarray(done["pred"])


def _linear_home(values: NDArray[np.float32], way: WayHome) -> NDArray[np.float32]:
    found = np.zeros((len(values), *way.native.shape), dtype=np.float32)
    half = max(1, way.model.shape[0] // 2)  # two blocks
    home = Homecoming(way, (0, 1, 2))
    for start in range(0, way.model.shape[0], half):
        part = torch.from_numpy(values[:, start : start + half])
        for piece in home.pieces(Block((start, 0, 0), part)):
            for channel, target in enumerate(found):
                piece.write(piece.logits[channel].numpy(), target)
    return found


@settings(deadline=None, max_examples=40)
@given(
    geometries(min_side=4, max_side=9, spacing=(0.6, 3.0)),
    st.lists(MOVES, max_size=2), _respacings(), st.lists(MOVES, max_size=3),
)  # fmt: skip
def test_as_monai_undoes_it(
    native: Geometry, before: list[Any], respacing: Any, after: list[Any]
) -> None:
    steps = [*before, respacing, *after]
    data, stages = _stages(steps, native)
    way = find_way_home(stages)
    rng = np.random.default_rng(5)
    values = rng.normal(size=(2, *way.model.shape)).astype(np.float32)
    wanted = _inverted(data, steps, values, nearest=False)
    np.testing.assert_allclose(_linear_home(values, way), wanted, atol=2e-4)
    if not _has_ties(way):  # which rounding decides; see test_inference_nearest.py
        labels = rng.integers(0, 200, way.model.shape).astype(np.uint8)
        near = _inverted(data, steps, labels[None], nearest=True)[0]
        np.testing.assert_array_equal(nearest_home(labels, way), near)


def _has_ties(way: WayHome) -> bool:
    matrix, offset = index_map(way.resampled, way.before)
    places = matrix @ np.indices(way.before.shape).reshape(3, -1) + offset[:, None]
    return bool((np.abs(places - np.floor(places) - 0.5) < 1e-3).any())


@settings(deadline=None, max_examples=40)
@given(geometries(min_side=4, max_side=9), st.lists(MOVES, min_size=1, max_size=4))
def test_whole_voxels_come_back_unchanged(native: Geometry, steps: list[Any]) -> None:
    data, stages = _stages(steps, native)
    way = find_way_home(stages)
    values = np.random.default_rng(5).normal(size=(1, *way.model.shape)).astype(np.float32)
    wanted = _inverted(data, steps, values, nearest=False)
    np.testing.assert_array_equal(_linear_home(values, way), wanted)
    labels = np.random.default_rng(6).integers(0, 200, way.model.shape).astype(np.uint8)
    near = _inverted(data, steps, labels[None], nearest=True)[0]
    np.testing.assert_array_equal(nearest_home(labels, way), near)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([Transposed(KEY, indices=(0, 2, 1, 3))], "Transpose"),
        ([Rotated(KEY, angle=0.2)], "Rotate"),
        ([Spacingd(KEY, pixdim=2.0), Resized(KEY, spatial_size=(5, 6, 7))], "twice"),
        ([Spacingd(KEY, pixdim=2.0, padding_mode="reflection")], "reflection"),
        ([Zoomd(KEY, zoom=0.7)], "pads or crops as well"),
        ([_Both()], "pads or crops as well"),
    ],
)
def test_what_is_not_followed_is_named(steps: list[Any], said: str) -> None:
    _, stages = _stages(steps, Geometry((8, 7, 6), np.eye(4)))
    with pytest.raises(UnusableBundle, match=said):
        find_way_home(stages)


def test_a_move_without_a_note_is_not_followed() -> None:
    grid = Geometry((8, 7, 6), np.eye(4))
    with pytest.raises(UnusableBundle, match="without a note"):
        find_way_home([Step(grid), Step(grid.cropped((1, 1, 1), (4, 4, 4)))])


def test_resized_labels_are_not_followed() -> None:
    _, stages = _stages([Resized(KEY, spatial_size=(5, 4, 4))], Geometry((8, 7, 6), np.eye(4)))
    assert find_way_home(stages).replicates
    with pytest.raises(UnusableBundle, match="resizes"):
        find_way_home(stages, nearest=True)


def test_what_changes_values_alone_changes_no_way() -> None:
    grid = Geometry((8, 7, 6), np.eye(4))
    _, stages = _stages([Lambdad(KEY, func=lambda x: 2 * x)], grid)
    assert find_way_home(stages).model == grid


def test_a_box_that_misses_what_is_known_gives_nothing() -> None:
    native = Geometry((30, 8, 8), np.diag([1.0, 1.0, 2.0, 1.0]))
    moves = [CenterSpatialCropd(KEY, roi_size=[6, 8, 8]), SpatialPadd(KEY, spatial_size=[40, 8, 8])]
    _, steps = _stages([Spacingd(KEY, pixdim=1.0), *moves], native)
    box = find_way_home(steps).within((30, 0, 0), (10, 8, 8))
    assert not _linear_home(np.ones((1, 10, 8, 8), np.float32), box).any()
    assert not nearest_home(np.ones((10, 8, 8), np.uint8), box).any()


def test_outside_of_a_box_nothing_is_known() -> None:
    grid = Geometry((8, 8, 8), np.eye(4))
    box = WayHome.plain(grid, grid).within((2, 0, 3), (4, 8, 2))
    found = _linear_home(np.ones((1, 4, 8, 2), np.float32), box)
    assert found[0, 2:6, :, 3:5].all()
    assert found.sum() == 4 * 8 * 2
