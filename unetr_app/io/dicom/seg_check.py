"""Check of a written SEG: highdicom must find each voxel where the segmentation has it."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.as_meant import not_as_meant
from unetr_app.io.dicom.seg_content import SegContent
from unetr_app.io.dicom.slice import PYDICOM_ERRORS
from unetr_app.io.dicom.sources import SourceSeries

_CHUNK_BYTES = 2**25
_SAME_PLACE_MM = 1e-4


def require_as_meant(part: Path, content: SegContent, series: SourceSeries, path: PathLike) -> None:
    """Read a SEG by its references to the source images, and compare voxel for voxel.

    Args:
        part: The file.
        content: What it was to hold.
        series: The images that it was to name, place by place.
        path: The final name, for the message.

    Raises:
        UnwritableOutput: If a voxel, a place or a reference is not what was meant.
    """
    from highdicom.seg import segread

    columns, rows, _ = content.segmentation.geometry.shape
    pixels = columns * rows  # highdicom 0.28 reads too few bytes of frames that begin within one
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seg = segread(part, lazy_frame_retrieval=content.bits > 1 or pixels % 8 == 0)
            same = _same_places(seg, series) and _same_voxels(seg, content, series)
    except PYDICOM_ERRORS as error:
        raise not_as_meant(path) from error
    if not same:
        raise not_as_meant(path)


def _same_places(seg: Any, series: SourceSeries) -> bool:
    """Does each frame lie where the image lies that it names?"""
    places = {(f.sop_uid, f.frames): f.position for f in series.frames}
    for groups in seg.PerFrameFunctionalGroupsSequence:
        named = groups.DerivationImageSequence[0].SourceImageSequence[0]
        numbers = named.get("ReferencedFrameNumber") or ()
        numbers = (int(numbers),) if isinstance(numbers, int) else tuple(int(n) for n in numbers)
        meant = places.get((str(named.ReferencedSOPInstanceUID), numbers))
        found = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, np.float64)
        if meant is None or np.abs(found - meant).max() > _SAME_PLACE_MM:
            return False
    return seg.FrameOfReferenceUID == series.frame_uid


def _same_voxels(seg: Any, content: SegContent, series: SourceSeries) -> bool:
    """Are the pixels of each source image, of each segment, those of the segmentation?"""
    columns, rows, count = content.segmentation.geometry.shape
    chunk = max(1, _CHUNK_BYTES // (rows * columns))
    numbers = [None] if content.kind == "labelmap" else list(content.numbers)
    for number, block in zip(numbers, content.blocks(), strict=True):
        for start in range(0, count, chunk):
            stop = min(start + chunk, count)
            found = _pixels_at(seg, series, range(start, stop), number)
            if not np.array_equal(found, block[start:stop]):
                return False
    return True


def _pixels_at(seg: Any, series: SourceSeries, places: range, number: int | None) -> NDArray[Any]:
    """(n, J, I) stored values of a segment, or of a whole label map, at indices k."""
    frames = [series.frames[k] for k in places]
    how: dict[str, Any] = {"assert_missing_frames_are_empty": True, "rescale_fractional": False}
    if number is None:
        how["combine_segments"] = True
    else:
        how["segment_numbers"] = [number]
    if frames[0].frames:
        found = seg.get_pixels_by_source_frame(
            frames[0].sop_uid, [frame.frames[0] for frame in frames], **how
        )
    else:
        found = seg.get_pixels_by_source_instance([frame.sop_uid for frame in frames], **how)
    return found if number is None else found[..., 0]
