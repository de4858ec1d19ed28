"""Maps written part by part read back as they are."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from unetr_app.errors import UnwritableOutput
from unetr_app.geometry import Geometry
from unetr_app.io import nifti

AFFINE = np.array(
    [[0.0, -1.5, 0.0, 5.0], [0.8, 0.0, 0.0, -7.0], [0.0, 0.0, 3.0, 2.0], [0, 0, 0, 1]]
)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("shape", "dtype"), [((4, 5, 6), np.float32), ((4, 5, 6, 3), np.uint8)])
def test_nibabel_and_simpleitk_read_what_was_written(
    shape: tuple[int, ...],
    dtype: type,
    ending: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nifti, "_PART", 7)
    data: NDArray = np.asfortranarray(
        np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    )
    path = tmp_path / f"map{ending}"
    slope = 1 / 255 if dtype is np.uint8 else 1.0
    nifti.write_map(data, Geometry((4, 5, 6), AFFINE), path, slope=slope)
    image = nibabel.load(path)
    np.testing.assert_allclose(image.get_fdata(), data * slope, atol=1e-6)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    assert image.get_data_dtype() == dtype
    theirs = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    np.testing.assert_allclose(np.transpose(theirs), data * slope, atol=1e-6)


def test_equal_maps_are_equal_bytes(tmp_path: Path) -> None:
    data = np.zeros((4, 5, 6), dtype=np.float32, order="F")
    for name in ("a.nii.gz", "b.nii.gz"):
        nifti.write_map(data, Geometry((4, 5, 6), AFFINE), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_too_many_channels_are_refused(tmp_path: Path) -> None:
    data = np.broadcast_to(np.zeros((), np.uint8), (1, 1, 1, 40000))
    with pytest.raises(UnwritableOutput, match="40000"):
        nifti.write_map(data, Geometry((1, 1, 1), np.eye(4)), tmp_path / "map.nii")
