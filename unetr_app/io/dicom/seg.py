"""SEG: writing a segmentation as a DICOM object (PS3.3 A.51 and C.8.20)."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from unetr_app.errors import InvalidRequest
from unetr_app.io.atomic import PathLike, replacing
from unetr_app.io.dicom.codes import codes_of, local_code_warnings, local_scheme
from unetr_app.io.dicom.heading import begin
from unetr_app.io.dicom.predecessor import Predecessor, read_predecessor
from unetr_app.io.dicom.references import series_item
from unetr_app.io.dicom.seg_check import require_as_meant
from unetr_app.io.dicom.seg_content import Kind, SegContent
from unetr_app.io.dicom.seg_frames import Places, add_frames, add_pixels
from unetr_app.io.dicom.segments import Algorithm, background_item, segment_items
from unetr_app.io.dicom.slice import text_of
from unetr_app.io.dicom.sources import Frames, SourceSeries, read_sources
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.volume import Segmentation

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
_SERIES_NUMBER = 300
_MOST_PIXEL_BYTES = 2**32 - 2  # PS3.5 7.1: the length of an element is a 32-bit number


def write_seg(
    segmentation: Segmentation,
    sources: Sequence[PathLike],
    path: PathLike,
    *,
    kind: Kind = "binary",
    probabilities: NDArray[Any] | None = None,
    omit_empty_frames: bool = False,
    predecessor: PathLike | None = None,
    edited: bool = False,
    uneven: bool = False,
    frames: Frames = (),
) -> tuple[str, ...]:
    """Write a segmentation as a SEG, read it back with highdicom, and only then put it in place.

    The object is new (SOP and series UID), in the study of its sources.

    Args:
        segmentation: The labels, on exactly the grid of the sources; ``provenance`` names the
            algorithm.
        sources: The series that was segmented: its slices, or its one multi-frame file.
        path: The final name.
        kind: ``binary`` (read by everything), ``labelmap`` (small, for many labels) or
            ``fractional`` (probabilities).
        probabilities: For ``fractional``, see `SegContent`.
        omit_empty_frames: Leave out frames without a labelled voxel. The file is smaller, but some
            viewers misplace what is left.
        predecessor: The SEG that this one was edited from; it is named, and its tracking UIDs go
            on.
        edited: Did a person change what the algorithm made?
        uneven: The sources lie at uneven distances, and index k of the segmentation is the k-th of
            them along its third axis (see `unetr_app.io.dicom.regularise.to_source_frames`).
        frames: As of `unetr_app.io.dicom.sources.read_sources`.

    Returns:
        Warnings: what was filled in, and which labels have no standard code.

    Raises:
        UnsafeGeometry: If the sources do not lie on the segmentation's grid.
        UnreadableInput: If a source is damaged, or lacks a UID that the output must name.
        InvalidRequest: If the kind cannot hold these labels.
        UnwritableOutput: If the file could not be written whole.
    """
    content = SegContent(segmentation, kind, probabilities)
    series = read_sources(sources, segmentation.geometry, uneven=uneven, frames=frames)
    before = None if predecessor is None else read_predecessor(predecessor, series.study_uid)
    places, notes = _places(content, omit_empty=omit_empty_frames)
    _require_small(content, places, path)
    dataset = _described(content, series, before, edited=edited or before is not None)
    add_frames(dataset, content, series, places)
    with tempfile.TemporaryFile() as pixels, replacing(path) as part:
        add_pixels(dataset, content, places, pixels)
        dataset.save_as(part, enforce_file_format=True)
        require_as_meant(part, content, series, path)
    return (*series.warnings, *local_code_warnings(segmentation.labels), *notes)


def _places(content: SegContent, *, omit_empty: bool) -> tuple[Places, tuple[str, ...]]:
    """For each block of pixels, the indices k that get a frame; a SEG without any is not valid."""
    count = content.segmentation.geometry.shape[2]
    every = np.arange(count)
    if not omit_empty:
        return [every] * content.block_count, ()
    found = [np.flatnonzero(block.any(axis=(1, 2))) for block in content.blocks()]
    if any(len(places) for places in found):
        return found, ()
    return [every] * content.block_count, ("no voxel is labelled: empty frames are written",)


def _require_small(content: SegContent, places: Places, path: PathLike) -> None:
    columns, rows, _ = content.segmentation.geometry.shape
    frames = sum(len(where) for where in places)
    size = frames * rows * columns * content.bits // 8
    if content.kind != "labelmap" and size > _MOST_PIXEL_BYTES:
        raise InvalidRequest(
            f"{frames} frames of {columns} x {rows} take {size / 2**30:.1f} GiB, more than the 4 "
            "that a DICOM file can hold unpacked",
            cure="Write kind labelmap, or leave out empty frames.", path=path,
        )  # fmt: skip


def _described(
    content: SegContent, series: SourceSeries, before: Predecessor | None, *, edited: bool
) -> Dataset:
    """Everything but frames and pixels."""
    segmentation, is_map = content.segmentation, content.kind == "labelmap"
    algorithm = Algorithm.of(segmentation.provenance, edited=edited)
    dataset = begin(
        series.header,
        sop_class=LABEL_MAP if is_map else SEGMENTATION,
        modality="SEG",
        series_description=f"Segmentation by {algorithm.name}",
        series_number=_SERIES_NUMBER,
        syntax=RLELossless if is_map else ExplicitVRLittleEndian,
    )
    dataset.ContentDate, dataset.ContentTime = (
        dataset.InstanceCreationDate, dataset.InstanceCreationTime,
    )  # fmt: skip
    dataset.FrameOfReferenceUID = series.frame_uid
    dataset.PositionReferenceIndicator = None
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    _keep_lossy(dataset, series.header)
    dataset.BurnedInAnnotation = "NO"
    dataset.ContentLabel, dataset.ContentDescription = "SEGMENTATION", RESEARCH_NOTICE
    dataset.ContentCreatorName = None
    dataset.SegmentationType = content.kind.upper()
    if content.kind == "fractional":
        dataset.SegmentationFractionalType = "PROBABILITY"
        dataset.MaximumFractionalValue = 255
    dataset.SegmentsOverlap = content.overlap
    tracked = {} if before is None else before.tracked
    items = segment_items(segmentation.labels, content.numbers, algorithm, tracked)
    dataset.SegmentSequence = [background_item(), *items] if is_map else items
    if any(codes_of(label).is_local for label in segmentation.labels):
        dataset.CodingSchemeIdentificationSequence = [local_scheme()]
    _refer(dataset, series, before)
    return dataset


def _keep_lossy(dataset: Dataset, source: Dataset) -> None:
    """Whether pixels were lossily compressed at any time is never forgotten (C.8.20.2.2)."""
    lossy = text_of(source, "LossyImageCompression") == "01"
    dataset.LossyImageCompression = "01" if lossy else "00"
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if lossy and text_of(source, keyword):
            setattr(dataset, keyword, source.get(keyword))


def _refer(dataset: Dataset, series: SourceSeries, before: Predecessor | None) -> None:
    """Common Instance Reference (PS3.3 C.12.2): every object that this one names."""
    images = dict.fromkeys((frame.sop_class, frame.sop_uid) for frame in series.frames)
    dataset.ReferencedSeriesSequence = [series_item(series.series_uid, list(images))]
    if before is not None:
        dataset.ReferencedSeriesSequence.append(
            series_item(before.series_uid, [(before.sop_class, before.sop_uid)])
        )
        dataset.SourceImageSequence = [before.item()]
        dataset.DerivationDescription = "Edited by a person; the source image is the predecessor"
