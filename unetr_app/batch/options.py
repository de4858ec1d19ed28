"""BatchOptions: what a user decides about a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unetr_app.errors import InvalidRequest
from unetr_app.inference.options import InferenceOptions
from unetr_app.outputs import FORMATS, MAPS

SEG_TYPES = ("auto", "binary", "labelmap", "fractional")
MOST_JOBS = 64


@dataclass(frozen=True)
class BatchOptions:
    """What a user decides about a batch, apart from inputs, bundle and output folder.

    Args:
        labels: Values or names of the labels to keep; empty keeps all. What they mean is known
            when the bundle is opened.
        split_labels: Write a binary mask for each label too.
        preview: Draw a picture of each case.
        force: Accept images far outside what the bundle was trained on.
        regularise: Resample DICOM slices at uneven distances rather than refuse them.
        overwrite: Redo cases that are already done.
        jobs: How many cases are read ahead, and how many are written, while the network runs;
            0 works strictly one after another and needs the least memory.
        formats: In which files a segmentation leaves: of `unetr_app.outputs.FORMATS`.
        seg_type: Of DICOM SEG: ``binary``, ``labelmap``, ``fractional`` (needs the map
            ``probabilities``), or ``auto`` for binary up to ten labels and labelmap beyond.
        maps: Of ``probabilities`` and ``uncertainty``, which are written too.
        inference: What is decided about inference.
        debug: Keep the details of unexpected errors in ``debug.log`` in the output folder.

    Raises:
        InvalidRequest: If ``jobs`` is not 0 to 64, or there is no such map, format or type.
    """

    labels: tuple[int | str, ...] = ()
    split_labels: bool = False
    preview: bool = True
    force: bool = False
    regularise: bool = False
    overwrite: bool = False
    jobs: int = 1
    formats: tuple[str, ...] = ("nifti",)
    seg_type: str = "auto"
    maps: tuple[str, ...] = ()
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    debug: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(sorted(set(self.labels), key=str)))
        object.__setattr__(self, "maps", tuple(sorted(set(self.maps))))
        if unknown := sorted(set(self.maps) - MAPS.keys()):
            raise InvalidRequest(
                f"there is no map {unknown[0]!r}", cure=f"There are: {', '.join(MAPS)}."
            )
        self._settle_formats()
        if not 0 <= self.jobs <= MOST_JOBS:
            raise InvalidRequest(
                f"jobs is {self.jobs}", cure=f"Give a number from 0 to {MOST_JOBS}."
            )

    def _settle_formats(self) -> None:
        """Formats in the order of their table, with those that others refer to."""
        wanted = {name.strip().casefold() for name in self.formats if name.strip()}
        if unknown := sorted(wanted - FORMATS.keys()):
            raise InvalidRequest(
                f"there is no format {unknown[0]!r}", cure=f"There are: {', '.join(FORMATS)}."
            )
        if not wanted:
            raise InvalidRequest(
                "no format is named", cure=f"Name some of these: {', '.join(FORMATS)}."
            )
        if self.seg_type not in SEG_TYPES:
            raise InvalidRequest(
                f"there is no type of DICOM SEG {self.seg_type!r}",
                cure=f"There are: {', '.join(SEG_TYPES)}.",
            )
        if self.seg_type == "fractional" and "probabilities" not in self.maps:
            raise InvalidRequest(
                "a fractional DICOM SEG holds probabilities", cure="Add --probabilities."
            )
        if self.seg_type == "fractional" and self.labels:
            raise InvalidRequest(
                "a fractional DICOM SEG holds the probabilities of all labels",
                cure="Leave out --labels.",
            )
        if "dicom-sr" in wanted:
            wanted.add("dicom-seg")  # to whose segments it refers
        if "dicom-sc" in wanted:
            object.__setattr__(self, "preview", True)  # which it shows
        object.__setattr__(self, "formats", tuple(name for name in FORMATS if name in wanted))

    @property
    def jobs_within_limit(self) -> int:
        """``jobs``; 0 where memory is limited, since what is foreseen is that of one case."""
        return self.jobs if self.inference.memory_limit is None else 0

    @property
    def parameters(self) -> dict[str, Any]:
        """The options that decide what the outputs are; a change of them redoes a case."""
        chosen: dict[str, Any] = {
            "labels": list(self.labels) or "all",
            "split_labels": self.split_labels,
            "preview": self.preview,
        }
        maps: dict[str, Any] = {"maps": list(self.maps)} if self.maps else {}
        reading = {"regularise": True} if self.regularise else {}
        if self.formats != ("nifti",):
            chosen["formats"] = list(self.formats)
        if self.seg_type != "auto":
            chosen["seg_type"] = self.seg_type
        inference = self.inference.parameters
        return chosen | maps | reading | ({"inference": inference} if inference else {})
