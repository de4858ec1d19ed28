"""Formats: the files in which a segmentation leaves, one function for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from unetr_app.batch.options import BatchOptions
from unetr_app.cases import Case
from unetr_app.errors import InvalidRequest, UnevenSlices, UnreadableInput
from unetr_app.evaluation.measurements import LabelMeasurement
from unetr_app.geometry import Geometry
from unetr_app.io import write_segmentation
from unetr_app.labels import Label, LabelSet
from unetr_app.outputs import DICOM_FORMATS, FORMATS, MAPS, SPLIT_LABELS
from unetr_app.volume import Segmentation

Kind = Literal["binary", "labelmap", "fractional"]


@dataclass(frozen=True, eq=False)
class Delivery:
    """A finished case on its way to files.

    Args:
        case: Where it came from.
        segmentation: On the grid of its image.
        measurements: One a label.
        folder: Where the files go.
        options: Which files are wanted.
        picture: The preview; None where none was drawn.
    """

    case: Case
    segmentation: Segmentation
    measurements: Sequence[LabelMeasurement]
    folder: Path
    options: BatchOptions
    picture: Path | None = None

    def path(self, name: str) -> Path:
        """The file of a format."""
        return self.folder / FORMATS[name]

    @property
    def is_uneven(self) -> bool:
        """Do its slices lie at uneven distances, so that a regular grid was made of them?"""
        return isinstance(self.case.problem, UnevenSlices)

    @cached_property
    def on_sources(self) -> Segmentation:
        """The segmentation as the source images have it, slice for slice."""
        if not self.is_uneven:
            return self.segmentation
        found = self.segmentation
        data = self.at_sources(found.data)
        geometry = Geometry(data.shape[-3:], found.geometry.affine)
        return Segmentation(data, geometry, found.labels, found.provenance)

    def at_sources(self, data: NDArray[Any]) -> NDArray[Any]:
        """(..., I, J, K) on the segmentation's grid to (..., I, J, S) as the sources have it."""
        if not self.is_uneven:
            return data
        from unetr_app.io.dicom.regularise import to_source_frames
        from unetr_app.io.dicom.series import source_slices

        slices = source_slices(self.sources, frames=self.case.frames)
        return to_source_frames(data, self.segmentation.geometry, slices)

    @property
    def sources(self) -> tuple[str, ...]:
        """The slices of its image, of the first channel where there are several."""
        return self.case.parts[0] if self.case.parts else self.case.paths


def require_sources(case: Case, formats: Sequence[str]) -> None:
    """Refuse DICOM outputs of what was no DICOM.

    Raises:
        UnreadableInput: If the case is no DICOM series, and a format needs one.
    """
    wanted = [name for name in formats if name in DICOM_FORMATS]
    if wanted and case.kind != "dicom-series":
        raise UnreadableInput(
            f"{', '.join(wanted)} must name the images that it is made from, and this is no DICOM "
            "series",
            cure="Give the DICOM series, or leave that format out.",
            path=case.input,
        )


def write_formats(delivery: Delivery) -> list[str]:
    """Write every format that the options name.

    Returns:
        Warnings.

    Raises:
        UnwritableOutput: If a file cannot be written whole.
        UnetrError: If the labels do not fit a format.
    """
    warnings: list[str] = []
    for name in FORMATS:
        if name in delivery.options.formats:
            warnings += _WRITERS[name](delivery)
    return warnings


def write_split_labels(segmentation: Segmentation, folder: Path, ending: str = ".nii.gz") -> None:
    """A binary mask (0 and 1) for each label, in a file named after it."""
    folder.mkdir(exist_ok=True)
    for label, name in zip(segmentation.labels, split_names(segmentation.labels), strict=True):
        one = LabelSet((Label(1, label.name, label.colour),))
        mask = segmentation.mask(label.value).astype(np.uint8)
        part = Segmentation(mask, segmentation.geometry, one, segmentation.provenance)
        write_segmentation(part, folder / f"{name}{ending}")


def split_names(labels: LabelSet) -> tuple[str, ...]:
    """What the masks of labels are called, without ending, in order of value.

    Example:
        >>> split_names(LabelSet.from_names({1: "Left kidney", 2: "left kidney!"}))
        ('left-kidney', 'left-kidney-2')
    """
    taken: list[str] = []
    for label in labels:
        name = _slug(label)
        while name in taken:
            name = f"{name}-{label.value}"
        taken.append(name)
    return tuple(taken)


def _slug(label: Label) -> str:
    words = re.findall(r"[a-z0-9]+", label.name.casefold())
    return "-".join(words)[:60] or f"label-{label.value}"


def _write_map(name: str, ending: str, delivery: Delivery) -> tuple[str, ...]:
    """The label map; where labels overlap a mask for each."""
    if delivery.segmentation.is_overlapping:
        write_split_labels(delivery.segmentation, delivery.folder / SPLIT_LABELS, ending)
    else:
        write_segmentation(delivery.segmentation, delivery.path(name))
    return ()


def _write_seg(delivery: Delivery) -> tuple[str, ...]:
    from unetr_app.io.dicom.seg import write_seg

    kind = _seg_kind(delivery)
    probabilities = None
    if kind == "fractional":
        raw = np.load(delivery.folder / f"{_PROBABILITIES}.npy", mmap_mode="r")
        _require_a_channel_a_label(delivery.segmentation, raw.shape[-1])
        probabilities = delivery.at_sources(np.moveaxis(raw, -1, 0))
    return write_seg(
        delivery.on_sources, delivery.sources, delivery.path("dicom-seg"), kind=kind,
        probabilities=probabilities, uneven=delivery.is_uneven, frames=delivery.case.frames,
    )  # fmt: skip


def _require_a_channel_a_label(segmentation: Segmentation, channels: int) -> None:
    """Refuse probabilities of which nobody can say which label each is of."""
    values = segmentation.labels.values
    if segmentation.is_overlapping:
        is_clear = channels == len(values)
    else:  # the background comes first, and each label at its value
        is_clear = channels == 1 + max(values) != len(values)
    if not is_clear:
        raise InvalidRequest(
            f"the network gives {channels} channels for {len(values)} labels, so that their "
            "probabilities cannot be told apart in a fractional SEG",
            cure="Take --seg-type binary; probabilities.nii.gz has all channels.",
        )


def _seg_kind(delivery: Delivery) -> Kind:
    """As asked for; by itself BINARY for a handful of labels, LABELMAP for more."""
    for kind in get_args(Kind):
        if kind == delivery.options.seg_type:
            return kind
    found = delivery.segmentation
    reported = "dicom-sr" in delivery.options.formats  # older tools read reports on binary alone
    many = len(found.labels) > _HANDFUL and not found.is_overlapping and not reported
    return "labelmap" if many else "binary"


def _write_rtstruct(delivery: Delivery) -> tuple[str, ...]:
    from unetr_app.io.dicom.rtstruct import write_rtstruct

    if delivery.is_uneven:
        return ("no RTSTRUCT was written: its slices lie at uneven distances",)
    if not delivery.segmentation.data.any():
        return ("no RTSTRUCT was written: no label has a voxel",)
    return write_rtstruct(delivery.segmentation, delivery.sources, delivery.path("rtstruct"),
                          frames=delivery.case.frames)  # fmt: skip


def _write_report(delivery: Delivery) -> tuple[str, ...]:
    from unetr_app.io.dicom.report import write_measurement_report

    write_measurement_report(
        delivery.measurements, delivery.path("dicom-seg"), delivery.sources,
        delivery.on_sources.geometry, delivery.path("dicom-sr"),
        uneven=delivery.is_uneven, frames=delivery.case.frames,
    )  # fmt: skip
    return ()


def _write_capture(delivery: Delivery) -> tuple[str, ...]:
    from unetr_app.io.dicom.capture import write_capture

    if delivery.picture is None:
        return ("no secondary capture was written: there is no preview",)
    write_capture(delivery.picture, delivery.sources, delivery.path("dicom-sc"))
    return ()


_HANDFUL = 10  # labels up to which every viewer's BINARY is the better choice
_PROBABILITIES = next(name for name in MAPS if name == "probabilities")
_WRITERS: dict[str, Callable[[Delivery], Sequence[str]]] = {
    "nifti": partial(_write_map, "nifti", ".nii.gz"),
    "nrrd": partial(_write_map, "nrrd", ".nrrd"),
    "dicom-seg": _write_seg,
    "rtstruct": _write_rtstruct,
    "dicom-sr": _write_report,
    "dicom-sc": _write_capture,
}
