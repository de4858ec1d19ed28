from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Invertd
from monai.transforms.compose import Compose
from monai.transforms.spatial.dictionary import Orientationd, Spacingd
from scipy import ndimage

from data import phantom
from tests.strategies import geometries
from unetr_app.errors import UnusableBundle
from unetr_app.geometry import Geometry
from unetr_app.inference.restore import (
    RestoreLabelsd,
    ResultFolders,
    model_geometry,
    native_geometry,
)
from unetr_app.resample import resample_array

OBLIQUE = phantom.oblique_geometry((22, 26, 18), spacing=(0.9, 1.1, 1.7))


def _preprocessing(spacing: tuple[float, float, float]) -> Compose:
    return Compose(
        [
            Orientationd(keys="image", axcodes="RAS", labels=None),
            Spacingd(keys="image", pixdim=spacing, mode="bilinear"),
        ]
    )


def _loaded(array: np.ndarray, geometry: Geometry) -> MetaTensor:
    return MetaTensor(
        torch.from_numpy(array[None].astype(np.float32)),
        affine=torch.from_numpy(geometry.affine.copy()),
        meta={
            "original_affine": geometry.affine.copy(),
            "spatial_shape": np.asarray(geometry.shape),
            "original_channel_dim": "no_channel",
            "space": "RAS",
        },
    )


def _smooth(geometry: Geometry, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=geometry.shape)
    return ndimage.gaussian_filter(noise, 3 / np.asarray(geometry.spacing), mode="nearest")


def _index(geometry: Geometry) -> np.ndarray:
    return np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)


def _blob(geometry: Geometry) -> np.ndarray:
    """Millimetres to the surface of a ball off the middle, positive inside."""
    centre = geometry.index_to_world(np.asarray(geometry.shape) * (0.45, 0.52, 0.55))
    distance = np.linalg.norm(geometry.index_to_world(_index(geometry)) - centre, axis=-1)
    return min(geometry.extent_mm) / 3 - distance


def _centroid(weights: np.ndarray) -> np.ndarray:
    """In voxels."""
    return np.asarray(ndimage.center_of_mass(weights))


@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(
    geometries(min_side=26, max_side=32, spacing=(0.6, 2.2)),
    st.sampled_from([(1.0, 1.0, 1.0), (1.5, 1.5, 2.0)]),
)
def test_a_blob_stays_where_it_is_in_the_patient(
    native: Geometry, spacing: tuple[float, float, float]
) -> None:
    inside = _blob(native)
    data: Any = _preprocessing(spacing)({"image": _loaded(inside, native)})
    logits = torch.cat([-data["image"], data["image"]])

    # Its edge a millimetre wide, so that rounding to whole voxels does not blur the measure.
    model = model_geometry(data["image"])
    home = resample_array(np.asarray(logits[1]), model, native, outside=-99.0)
    moved = _centroid(np.clip(home + 0.5, 0, 1)) - _centroid(np.clip(inside + 0.5, 0, 1))
    assert np.abs(moved).max() < 0.05

    labels = np.asarray(RestoreLabelsd()(data | {"pred": logits})["pred"][0])
    np.testing.assert_array_equal(labels, home > 0)
    assert np.abs(_centroid(labels == 1) - _centroid(inside > 0)).max() < 0.2


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.3, 0.8, 2.0)])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
def test_labels_equal_monais_inversion_of_the_logits(
    spacing: tuple[float, float, float], codes: str
) -> None:
    native = OBLIQUE.reoriented(codes)
    preprocessing = _preprocessing(spacing)
    data: Any = preprocessing({"image": _loaded(_smooth(native), native)})
    model = model_geometry(data["image"])
    logits = torch.from_numpy(np.stack([_smooth(model, seed) for seed in range(3)]))
    pred = MetaTensor(logits, affine=data["image"].affine)
    inverted: Any = Invertd(
        keys="pred", transform=preprocessing, orig_keys="image", nearest_interp=False
    )(data | {"pred": pred})
    theirs = np.asarray(inverted["pred"])
    ours = np.stack([resample_array(c, model, native) for c in logits.numpy()])
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    labels = RestoreLabelsd()(data | {"pred": pred})["pred"][0]
    best = np.sort(theirs, axis=0)
    clear = best[-1] - best[-2] > 1e-4
    np.testing.assert_array_equal(np.asarray(labels)[clear], theirs.argmax(0)[clear])


def test_labels_lie_on_the_grid_that_was_loaded_as_the_smallest_integer() -> None:
    data: Any = _preprocessing((1.0, 1.0, 1.0))({"image": _loaded(_smooth(OBLIQUE), OBLIQUE)})
    assert native_geometry(data["image"]) == OBLIQUE
    pred = torch.randn(3, *data["image"].shape[1:])
    restored: MetaTensor = RestoreLabelsd()(data | {"pred": pred})["pred"]
    assert restored.shape == (1, *OBLIQUE.shape)
    assert restored.dtype == torch.uint8
    np.testing.assert_array_equal(np.asarray(restored.affine), OBLIQUE.affine)
    assert torch.equal(data["image"], data["image"].clone())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_logits_that_are_not_finite_are_no_background(value: float) -> None:
    image = _loaded(_smooth(OBLIQUE), OBLIQUE)
    pred = torch.zeros(2, *OBLIQUE.shape)
    pred[1, 3, 4, 5] = value
    with pytest.raises(UnusableBundle, match="not finite"):
        RestoreLabelsd()({"image": image, "pred": pred})


def test_results_are_named_after_their_image(tmp_path: Any) -> None:
    folders = ResultFolders(tmp_path / "out")
    for name in ("case.nii.gz", "a/case_2.nii", "case.1.nii.gz", "T1 (2).NII.GZ"):
        path = folders.filename(subject=name)
        expected = {"case.nii.gz": "case", "a/case_2.nii": "case_2", "case.1.nii.gz": "case.1",
                    "T1 (2).NII.GZ": "T1_2"}  # fmt: skip
        assert path == str(tmp_path / "out" / expected[name] / "labels.nii.gz")
        assert (tmp_path / "out" / expected[name]).is_dir()
