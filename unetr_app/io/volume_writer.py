"""Writing of scalar images: NIfTI, NRRD and MetaImage, whole and as meant, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnreadableInput, UnsafeGeometry, UnwritableOutput
from unetr_app.io.atomic import PathLike, replacing
from unetr_app.labels import LabelSet
from unetr_app.volume import Volume

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
_WRITTEN_AS_MEANT_MM = 1e-4
_INTEGERS = (np.int16, np.int32)


def write_volume(volume: Volume, path: PathLike) -> Path:
    """Write an image of one channel on exactly its grid, read it back, and put it in place.

    Values that are all whole become integers, others 32-bit floats. Nothing else of the source
    goes into the file: no names, no dates.

    Args:
        volume: One channel.
        path: The final name; its ending chooses the format, see `ENDINGS`.

    Returns:
        The final name.

    Raises:
        InvalidRequest: If the ending is none of these, or there are several channels.
        UnwritableOutput: If the file could not be written whole.
    """
    name = Path(path).name.lower()
    if not name.endswith(ENDINGS):
        raise InvalidRequest(
            "the ending of the name says no format that is written",
            cure=f"Use {', '.join(ENDINGS)}.", path=path,
        )  # fmt: skip
    if len(volume.data) != 1:
        raise InvalidRequest(
            f"the image has {len(volume.data)} channels, and one is written",
            cure="Write each channel as a file of its own.",
        )
    data = _stored(volume.data[0])
    with replacing(path) as part:
        if name.endswith((".nii.gz", ".nii")):
            from unetr_app.io import nifti

            nifti.write(data, volume.geometry, part)
        else:
            from unetr_app.io import itk

            itk.write(data, volume.geometry, part, LabelSet(()))
        _require_equal(part, volume, path)
    return Path(path)


def _stored(values: NDArray[np.float32]) -> NDArray[Any]:
    """The smallest type that holds the values exactly."""
    for kind in _INTEGERS:
        bounds = np.iinfo(kind)
        inside = float(values.min()) >= bounds.min and float(values.max()) <= bounds.max - 128
        if inside and np.array_equal(np.rint(values), values):
            return values.astype(kind)
    return values


def _require_equal(part: Path, volume: Volume, path: PathLike) -> None:
    from unetr_app.io.image import read_image

    geometry = volume.geometry
    furthest = np.abs(geometry.affine[:3]) @ (*geometry.shape, 1)
    rounding = 8 * np.finfo(np.float32).eps * float(furthest.max())  # NIfTI holds 32-bit floats
    tolerance_mm = max(_WRITTEN_AS_MEANT_MM, float(rounding))
    try:
        found = read_image((part,), sparse=True)
        same = found.geometry.is_close(geometry, tolerance_mm)
        same = same and np.array_equal(found.data, volume.data[0])
    except (UnreadableInput, UnsafeGeometry):
        same = False
    if not same:
        raise UnwritableOutput(
            "what was read back from the disk is not what was written",
            cure="Check that there is space, and that the disk is sound; then run again.",
            path=path,
        )
