"""PlacedFrame: where a frame of a multi-frame image lies (PS3.3 C.7.6.16)."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset

from unetr_app.errors import UnreadableInput, UnsafeGeometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.deflated import open_dicom
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, numbers_of
from unetr_app.io.integrity import unreadable


@dataclass(frozen=True, eq=False)
class PlacedFrame:
    """Where a frame lies.

    Args:
        number: Counted from 1.
        position: (3,) LPS+ mm of the first pixel's centre.
        orientation: (6,) unit vectors along a row and down a column, LPS+.
        spacing: (2,) mm between rows and between columns.
        thickness: Slice thickness, mm; None where it is not stated.
        gap: Spacing between slices as stated, which is often wrong; None where it is not.
    """

    number: int
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing: NDArray[np.float64]
    thickness: float | None = None
    gap: float | None = None

    @property
    def normal(self) -> NDArray[np.float64]:
        """(3,) unit normal, LPS+."""
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        return normal / np.linalg.norm(normal)


def read_header(path: PathLike) -> Dataset:
    """All headers of a DICOM file, without its pixels.

    Raises:
        UnreadableInput: If the file is empty, or pydicom cannot read it.
    """
    with open_dicom(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not file.read(1):
            raise UnreadableInput("the file is empty", cure="Copy or export it again.", path=path)
        file.seek(0)
        try:
            return pydicom.dcmread(file, stop_before_pixels=True, force=True)
        except OSError as error:
            raise unreadable(error, path) from error
        except PYDICOM_ERRORS as error:
            raise UnreadableInput(
                "the DICOM headers are damaged", cure="Copy or export the file again.", path=path
            ) from error  # fmt: skip


def group_item(header: Dataset, frame: Dataset, sequence: str) -> Dataset | None:
    """The item of a functional group: the frame's own, or the one that all frames share."""
    shared = _first(header.get("SharedFunctionalGroupsSequence"))
    return _first(frame.get(sequence)) or _first((shared or Dataset()).get(sequence))


def _first(sequence: Any) -> Dataset | None:
    return sequence[0] if sequence else None


def placed_frames(header: Dataset, path: PathLike) -> list[PlacedFrame]:
    """Where every frame lies, in the file's order.

    Raises:
        UnreadableInput: If the frames are not as many as the header says.
        UnsafeGeometry: If a frame has no place, or none that can be.
    """
    groups = list(header.get("PerFrameFunctionalGroupsSequence") or ())
    count = numbers_of(header, "NumberOfFrames", 1)
    if count is None or len(groups) != int(count[0]) or not groups:
        raise UnreadableInput(
            f"the header has {len(groups)} descriptions of frames, not one for each frame",
            cure="Copy or export the file again.", path=path,
        )  # fmt: skip
    return [_placed(header, group, n, path) for n, group in enumerate(groups, start=1)]


def _placed(header: Dataset, group: Dataset, number: int, path: PathLike) -> PlacedFrame:
    def numbers(sequence: str, keyword: str, count: int) -> NDArray[np.float64] | None:
        item = group_item(header, group, sequence)
        return None if item is None else numbers_of(item, keyword, count)

    def positive(keyword: str) -> float | None:
        value = numbers("PixelMeasuresSequence", keyword, 1)
        return None if value is None or value[0] <= 0 else float(value[0])

    position = numbers("PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = numbers("PixelMeasuresSequence", "PixelSpacing", 2)
    found = {"ImagePositionPatient": position, "ImageOrientationPatient": orientation,
             "PixelSpacing": spacing}  # fmt: skip
    absent = [keyword for keyword, value in found.items() if value is None]
    if position is None or orientation is None or spacing is None:
        raise _unplaced(f"frame {number} has no {absent[0]}", path)
    row, column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row) - 1, np.linalg.norm(column) - 1, row @ column
    if max(abs(float(n)) for n in lengths) > 1e-3:
        raise _unplaced(f"the orientation of frame {number} is not two perpendicular units", path)
    if spacing.min() <= 0:
        raise _unplaced(f"PixelSpacing of frame {number} is {spacing[0]:g}, {spacing[1]:g}", path)
    return PlacedFrame(
        number, position, orientation, spacing,
        positive("SliceThickness"), positive("SpacingBetweenSlices"),
    )  # fmt: skip


def _unplaced(what: str, path: PathLike) -> UnsafeGeometry:
    return UnsafeGeometry(
        what, cure="Such tags are never guessed; export the file again.", path=path
    )
