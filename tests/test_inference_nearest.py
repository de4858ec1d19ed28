"""Labels go home by the nearest voxel, and where two are equally near to the one MONAI takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.post.dictionary import Invertd
from monai.transforms.spatial.dictionary import Orientationd, Spacingd

from tests.strategies import ALL_ORIENTATIONS, geometries
from unetr_app.geometry import Geometry
from unetr_app.inference.nearest import nearest_home
from unetr_app.inference.restore import model_geometry
from unetr_app.inference.way_home import Step, WayHome, find_way_home

HALVING = st.sampled_from([0.75, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 5.0])  # mm: many ties
PIXDIM = st.sampled_from([1.0, 1.25, 1.5, 2.0])


@pytest.mark.parametrize("turns_last", [False, True])
@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(*[st.integers(5, 25)] * 3),
    spacing=st.tuples(HALVING, HALVING, HALVING),
    pixdim=st.tuples(PIXDIM, PIXDIM, PIXDIM),
    codes=st.sampled_from(ALL_ORIENTATIONS),
)
def test_ties_fall_as_in_monai(
    turns_last: bool, shape: Any, spacing: Any, pixdim: Any, codes: str
) -> None:
    native = Geometry(shape, np.diag([*spacing, 1.0])).reoriented(codes)
    image = MetaTensor(torch.rand(1, *native.shape), affine=torch.from_numpy(native.affine.copy()))
    steps = [Orientationd("image", axcodes="RAS", labels=None), Spacingd("image", pixdim=pixdim)]
    steps = steps[::-1] if turns_last else steps
    data: Any = {"image": image}
    stages = [Step(native)]
    for step in steps:
        data = step(data)
        done = tuple(data["image"].applied_operations[-1:])
        stages.append(Step(model_geometry(data["image"]), done))
    labels = torch.randint(0, 50, data["image"].shape, generator=torch.Generator().manual_seed(1))
    data["pred"] = MetaTensor(labels.float(), affine=data["image"].affine)
    undo = Invertd("pred", Compose(steps), orig_keys="image", nearest_interp=True)
    inverted: Any = undo(data)
    found = nearest_home(labels[0].numpy().astype(np.uint8), find_way_home(stages))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.asarray(inverted["pred"])[0])


@settings(deadline=None, max_examples=40)
@given(geometries(min_side=4), geometries(min_side=4))
def test_no_voxel_lies_nearer_than_the_one_taken(model: Geometry, native: Geometry) -> None:
    """Every grid, askew ones too: the value is that of a voxel within rounding of the nearest."""
    here = Geometry(model.shape, native.affine @ _step(model))
    index = np.arange(1, 1 + np.prod(here.shape)).reshape(here.shape).astype(np.uint16)
    for there in (native, Geometry(native.shape, native.affine @ np.diag([1.3, 0.7, 1, 1]))):
        found = nearest_home(index, WayHome.plain(here, there))
        taken = np.argwhere(found)  # all of them
        assert len(taken) == found.size
        source = np.stack(np.unravel_index(found[tuple(taken.T)] - 1, here.shape), axis=-1)
        places = here.world_to_index(there.index_to_world(taken))
        clipped = np.clip(places, 0, np.asarray(here.shape) - 1)
        assert (np.abs(clipped - source) <= 0.5 + 1e-4).all()


def _step(geometry: Geometry) -> np.ndarray:
    """A matrix near the identity that turns and shifts a little."""
    step = np.eye(4)
    step[:3, :3] += 0.1 * geometry.direction
    step[:3, 3] = geometry.origin[0] / 200
    return step


def test_masks_stay_masks() -> None:
    here = Geometry((4, 4, 4), np.eye(4))
    there = Geometry((8, 4, 2), np.diag([0.5, 1.0, 2.0, 1.0]))
    mask = np.random.default_rng(0).random(here.shape) > 0.5
    assert nearest_home(mask, WayHome.plain(here, there)).dtype == bool
