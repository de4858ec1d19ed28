"""Frames of a SEG: where each lies, what it was made from, and its pixels."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder  # pyright: ignore[reportPrivateImportUsage]
from pydicom.tag import Tag
from pydicom.uid import RLELossless, generate_uid
from pydicom.valuerep import format_number_as_ds

from unetr_app.io.dicom.codes import item_of
from unetr_app.io.dicom.references import source_item
from unetr_app.io.dicom.seg_content import SegContent
from unetr_app.io.dicom.sources import SourceFrame, SourceSeries
from unetr_app.labels import Code

Places: TypeAlias = Sequence[NDArray[np.intp]]
_DERIVED = Code("DCM", "113076", "Segmentation")  # CID 7203


def add_frames(dataset: Dataset, content: SegContent, series: SourceSeries, places: Places) -> None:
    """Add functional groups and dimensions (PS3.3 C.7.6.16 and C.7.6.17).

    Args:
        dataset: What to add them to.
        content: The segments.
        series: The images that lie at each place.
        places: For each block of pixels, the indices k that get a frame.
    """
    has_segments = content.kind != "labelmap"
    _add_dimensions(dataset, has_segments=has_segments)
    dataset.SharedFunctionalGroupsSequence = [_shared(series)]
    present = sorted({int(k) for where in places for k in where})
    rank = {k: n for n, k in enumerate(present, start=1)}
    groups: list[Dataset] = []
    for block, where in enumerate(places):
        for k in where.tolist():
            number = content.numbers[block] if has_segments else None
            index = [rank[k]] if number is None else [block + 1, rank[k]]
            groups.append(_frame(series.frames[k], number, index))
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.NumberOfFrames = len(groups)


def _add_dimensions(dataset: Dataset, *, has_segments: bool) -> None:
    organisation = Dataset()
    organisation.DimensionOrganizationUID = generate_uid()
    dataset.DimensionOrganizationSequence = [organisation]
    by_place = ("ImagePositionPatient", "PlanePositionSequence")
    by_segment = ("ReferencedSegmentNumber", "SegmentIdentificationSequence")
    items: list[Dataset] = []
    for keyword, group in (by_segment, by_place) if has_segments else (by_place,):
        item = Dataset()
        item.DimensionOrganizationUID = organisation.DimensionOrganizationUID
        item.DimensionIndexPointer = Tag(keyword)
        item.FunctionalGroupPointer = Tag(group)
        item.DimensionDescriptionLabel = keyword
        items.append(item)
    dataset.DimensionIndexSequence = items


def _shared(series: SourceSeries) -> Dataset:
    """Orientation and spacing; the gap is that of the positions, where there is one."""
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [_decimal(v) for v in series.orientation]
    measures.PixelSpacing = [_decimal(v) for v in series.pixel_spacing]
    measures.SliceThickness = _decimal(series.thickness)
    if not series.is_uneven:
        measures.SpacingBetweenSlices = _decimal(series.gap)
    shared.PlaneOrientationSequence = [orientation]
    shared.PixelMeasuresSequence = [measures]
    return shared


def _decimal(value: float) -> str:
    return format_number_as_ds(float(value))


def _frame(source: SourceFrame, number: int | None, index: list[int]) -> Dataset:
    position, content, derivation, groups = Dataset(), Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = [_decimal(v) for v in source.position]
    content.DimensionIndexValues = index
    derivation.DerivationCodeSequence = [item_of(_DERIVED)]
    derivation.SourceImageSequence = [source_item(source.sop_class, source.sop_uid, source.frames)]
    groups.DerivationImageSequence = [derivation]
    groups.FrameContentSequence = [content]
    groups.PlanePositionSequence = [position]
    if number is not None:
        segment = Dataset()
        segment.ReferencedSegmentNumber = number
        groups.SegmentIdentificationSequence = [segment]
    return groups


def add_pixels(dataset: Dataset, content: SegContent, places: Places, scratch: IO[bytes]) -> None:
    """Add the Image Pixel module (PS3.3 C.7.6.3).

    Args:
        dataset: What to add it to.
        content: The segments.
        places: For each block of pixels, the indices k that get a frame.
        scratch: An empty file; holds unpacked pixels, and is read when ``dataset`` is saved.
    """
    dataset.Columns, dataset.Rows, _ = content.segmentation.geometry.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = content.bits
    dataset.HighBit, dataset.PixelRepresentation = content.bits - 1, 0
    blocks = (
        block[where] if len(where) < len(block) else block
        for block, where in zip(content.blocks(), places, strict=True)
    )
    if content.kind == "labelmap":
        dataset.PixelPaddingValue = 0
        frames = [_run_lengths(plane, dataset) for block in blocks for plane in block]
        dataset.PixelData = encapsulate(frames)
        dataset["PixelData"].is_undefined_length = True
    else:
        pieces = _bits(blocks) if content.kind == "binary" else (np.ravel(b) for b in blocks)
        for piece in pieces:
            scratch.write(piece.tobytes())
        if scratch.tell() % 2:
            scratch.write(b"\0")
        scratch.seek(0)
        dataset.PixelData = scratch
    dataset["PixelData"].VR = "OW" if content.kind == "labelmap" and content.bits > 8 else "OB"


def _bits(blocks: Iterator[NDArray[np.bool_]]) -> Iterator[NDArray[np.uint8]]:
    """Pixels as bits, the first lowest; frames follow each other without a gap (PS3.5 8.1.1)."""
    rest = np.empty(0, np.bool_)
    for block in blocks:
        flat = np.concatenate([rest, block.ravel()]) if rest.size else block.ravel()
        whole = flat.size // 8 * 8
        rest = flat[whole:].copy()
        yield np.packbits(flat[:whole], bitorder="little")
    yield np.packbits(rest, bitorder="little")


def _run_lengths(plane: NDArray[Any], dataset: Dataset) -> bytes:
    """One frame in RLE Lossless (PS3.5 annex G); GDCM's encoder aborts on sides that are odd."""
    return get_encoder(RLELossless).encode(
        plane, rows=dataset.Rows, columns=dataset.Columns, samples_per_pixel=1,
        bits_allocated=dataset.BitsAllocated, bits_stored=dataset.BitsStored, number_of_frames=1,
        pixel_representation=0, photometric_interpretation="MONOCHROME2", encoding_plugin="pydicom",
    )  # fmt: skip
