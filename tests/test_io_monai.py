"""What MONAI's transforms are given in training is what is read here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.io_files import OBLIQUE, integers, save_nifti
from unetr_app.io import read_volume


def set_scale(slope: float, intercept: float) -> Callable[[Any], None]:
    def edit(header: Any) -> None:
        header["scl_slope"], header["scl_inter"] = slope, intercept

    return edit


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "uint16", "float32",
                                   "float64"])  # fmt: skip
@pytest.mark.parametrize("scale", [(np.nan, 0), (1, 0), (0.5, -1024.25), (2, 0)])
def test_values_are_exactly_those_of_monai(
    tmp_path: Path, dtype: str, scale: tuple[float, float]
) -> None:
    loading = pytest.importorskip("monai.transforms")
    path = save_nifti(
        tmp_path / "a.nii.gz", integers(OBLIQUE.shape, high=250).astype(dtype),
        edit=set_scale(*scale),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = loading.LoadImage(reader="NibabelReader", dtype=np.float32)(str(path))
    volume = read_volume(path)
    assert np.array_equal(volume.data[0], np.asarray(theirs))
    assert np.array_equal(volume.geometry.affine, np.asarray(theirs.affine))


def test_and_on_real_scans_too(shared: Path) -> None:
    loading = pytest.importorskip("monai.transforms")
    load = loading.LoadImage(reader="NibabelReader", dtype=np.float32)
    paths = sorted((shared / "data" / "Task04_Hippocampus" / "imagesTr").glob("*.nii.gz"))[:20]
    for path in [*paths, shared / "data" / "ct_example" / "example_ct_sm.nii.gz"]:
        volume, theirs = read_volume(path), load(str(path))
        assert np.array_equal(volume.data[0], np.asarray(theirs))
        assert np.array_equal(volume.geometry.affine, np.asarray(theirs.affine))
