"""Reading of SEG: a segmentation by anybody, on its own grid or on that of its source images."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import iter_pixels  # pyright: ignore[reportPrivateImportUsage]
from pydicom.uid import UID

from unetr_app.errors import UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.frame_grid import Placement, grid_of, place_on
from unetr_app.io.dicom.placed_frames import PlacedFrame, group_item, placed_frames, read_header
from unetr_app.io.dicom.segments import labels_in
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, numbers_of, read_dataset, text_of
from unetr_app.io.limits import check_voxels
from unetr_app.labels import Label, LabelSet
from unetr_app.volume import Segmentation

_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


def read_seg(path: PathLike, grid: Geometry | None = None, *, frame_uid: str = "") -> Segmentation:
    """Read a DICOM segmentation.

    Args:
        path: A SEG of any maker: binary, fractional (voxels of one half and more count) or label
            map. Frames that were left out because they are empty are filled in.
        grid: Where to put the labels, exactly; without it they come on the smallest grid that the
            frames lie on.
        frame_uid: Frame of Reference UID of the images that the grid is of; a SEG of another is
            refused. Not compared where empty.

    Returns:
        A label map; bool masks where segments overlap. Labels are numbered as the segments are,
        in our own SEGs as when they were written.

    Raises:
        UnreadableInput: If the file is no SEG, is damaged, or its frames are of unknown segments.
        UnsafeGeometry: If frames have no place, make no grid, or do not lie on ``grid``.
    """
    header = read_header(path)
    own_frame = text_of(header, "FrameOfReferenceUID")
    if frame_uid and own_frame and own_frame != frame_uid:
        raise UnsafeGeometry(
            "the segmentation has another frame of reference than the images, so that their places "
            "cannot be compared", cure="Give the series that it was made from.", path=path,
        )  # fmt: skip
    frames = _frames(header, path)
    places = [frame.placed for frame in frames]
    shape = _frame_shape(header, path)
    geometry = grid_of(places, shape, path) if grid is None else grid
    check_voxels(geometry.shape, path)
    placements = [place_on(geometry, place, shape, path) for place in places]
    labels = labels_in(header)
    table = LabelSet(tuple(labels.values()))
    source = _Source(path, header, frames, placements, labels)
    data = _label_map(source, table, geometry)
    if data is None:
        check_voxels((len(table), math.prod(geometry.shape)), path)
        data = _masks(source, table, geometry)
    return Segmentation(data, geometry, table, _provenance(header))


@dataclass(frozen=True, eq=False)
class _Frame:
    """A frame's place, and the segment it is of; None in a label map, which has them all."""

    placed: PlacedFrame
    segment: int | None


@dataclass(frozen=True, eq=False)
class _Source:
    """What the pixels of a SEG mean."""

    path: PathLike
    header: Dataset
    frames: Sequence[_Frame]
    placements: Sequence[Placement]
    labels: Mapping[int, Label]

    def masks(self) -> Iterator[tuple[int, Placement, NDArray[np.bool_]]]:
        """Label value, placement and (columns, rows) mask, frame by frame."""
        threshold = 0.5
        if text_of(self.header, "SegmentationType") == "FRACTIONAL":
            most = numbers_of(self.header, "MaximumFractionalValue", 1)
            threshold = 0.5 * (255.0 if most is None or most[0] <= 0 else float(most[0]))
        planes = _planes(self.header, self.path)
        for frame, placement in zip(self.frames, self.placements, strict=True):
            plane = next(planes, None)
            if plane is None:
                raise _damaged("there are fewer frames than the header says", self.path)
            if plane.shape != placement.shape[::-1]:
                raise _damaged(f"a frame has shape {plane.shape}", self.path)
            if frame.segment is None:
                for number in np.unique(plane).tolist():
                    if number in self.labels:
                        yield self.labels[number].value, placement, (plane == number).T
                    elif number != 0 and number not in _unused(self.header):
                        raise _damaged(f"pixels of {number} are of no segment described", self.path)
            else:
                yield self.labels[frame.segment].value, placement, (plane >= threshold).T


def _unused(header: Dataset) -> set[int]:
    """Numbers that stand for background in a label map."""
    items: Any = header.get("SegmentSequence") or ()
    padding = numbers_of(header, "PixelPaddingValue", 1)
    described = {int(item.SegmentNumber) for item in items} - set(labels_in(header))
    return described | (set() if padding is None else {int(padding[0])})


def _frames(header: Dataset, path: PathLike) -> list[_Frame]:
    kind = text_of(header, "SegmentationType")
    if text_of(header, "Modality") != "SEG" or kind not in _KINDS:
        raise UnreadableInput(
            "the file is no DICOM segmentation", cure="Give a SEG object.", path=path
        )
    known = set(labels_in(header))
    found: list[_Frame] = []
    groups: Any = header.get("PerFrameFunctionalGroupsSequence")
    for placed in placed_frames(header, path):
        segment = None
        if kind != "LABELMAP":
            group = groups[placed.number - 1]
            item = group_item(header, group, "SegmentIdentificationSequence") or Dataset()
            number = numbers_of(item, "ReferencedSegmentNumber", 1)
            segment = 0 if number is None else int(number[0])
            if segment not in known:
                raise _damaged(f"frame {placed.number} is of no segment described", path)
        found.append(_Frame(placed, segment))
    return found


def _frame_shape(header: Dataset, path: PathLike) -> tuple[int, int]:
    sizes = [numbers_of(header, word, 1) for word in ("Columns", "Rows")]
    columns, rows = (0 if size is None else int(size[0]) for size in sizes)
    if min(columns, rows) < 1:
        raise _damaged(f"Rows and Columns are {rows} and {columns}", path)
    return columns, rows


def _planes(header: Dataset, path: PathLike) -> Iterator[NDArray[Any]]:
    """(rows, columns) stored values, frame by frame.

    Raises:
        UnreadableInput: If the pixels are absent, truncated, damaged or not decodable.
    """
    syntax = text_of(getattr(header, "file_meta", None) or Dataset(), "TransferSyntaxUID")
    native = not syntax or not UID(syntax).is_compressed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if native and text_of(header, "BitsAllocated") == "1":
                yield from _bit_planes(header, path)
            else:
                yield from iter_pixels(path, raw=True)
        except PYDICOM_ERRORS as error:
            raise _damaged("the pixels are absent, truncated or damaged", path) from error


def _bit_planes(header: Dataset, path: PathLike) -> Iterator[NDArray[np.uint8]]:
    """Frames of bits, which may begin within a byte; pydicom 3.0 reads too few bytes of those."""
    columns, rows = _frame_shape(header, path)
    size = columns * rows
    data = np.frombuffer(read_dataset(path, pixels=True).PixelData, np.uint8)
    for n in range(len(header.PerFrameFunctionalGroupsSequence)):
        first, last = n * size, (n + 1) * size
        bits = np.unpackbits(data[first // 8 : (last + 7) // 8], bitorder="little")
        yield bits[first % 8 : first % 8 + size].reshape(rows, columns)


def _damaged(what: str, path: PathLike) -> UnreadableInput:
    return UnreadableInput(what, cure="Copy or export the file again.", path=path)


def _label_map(source: _Source, table: LabelSet, geometry: Geometry) -> NDArray[Any] | None:
    """(I, J, K) label map; None where segments overlap."""
    data = np.zeros(geometry.shape, table.dtype)
    for value, placement, mask in source.masks():
        placement.require_inside(mask, source.path)
        part = placement.part_of(data)
        inside = placement.inside(mask)
        if ((part[inside] != 0) & (part[inside] != value)).any():
            return None
        part[inside] = value
    return data


def _masks(source: _Source, table: LabelSet, geometry: Geometry) -> NDArray[np.bool_]:
    """(L, I, J, K) masks."""
    data = np.zeros((len(table), *geometry.shape), np.bool_)
    rows = {value: n for n, value in enumerate(table.values)}
    for value, placement, mask in source.masks():
        placement.require_inside(mask, source.path)
        part = placement.part_of(data[rows[value]])
        part |= placement.inside(mask)
    return data


def _provenance(header: Dataset) -> dict[str, Any]:
    items: Any = header.get("SegmentSequence") or [Dataset()]
    name = text_of(items[0], "SegmentAlgorithmName")
    return {"algorithm": name} if name else {}
