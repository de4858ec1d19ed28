"""LabelFile: a file of labels in any form, read onto the grid of its image."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from unetr_app.errors import UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_label_map
from unetr_app.io.formats import image_ending
from unetr_app.labels import Label, LabelSet
from unetr_app.volume import Segmentation

LabelForm = Literal["map", "seg", "rtstruct"]
_DATASET = "dataset.json"


@dataclass(frozen=True)
class LabelFile:
    """A file of labels.

    Args:
        path: The file.
        form: A label map (NIfTI, NRRD, MetaImage), a DICOM SEG, or an RTSTRUCT.
    """

    path: str
    form: LabelForm

    @classmethod
    def of(cls, path: str) -> LabelFile:
        """The form is told by content.

        Raises:
            UnreadableInput: If it is a DICOM file that holds no labels, or no image.
        """
        from unetr_app.io.formats import Format, require_format

        if require_format(path) is not Format.DICOM:
            return cls(path, "map")
        from unetr_app.io.dicom.label_object import label_kind

        kind = label_kind(path)
        if kind is None:
            raise UnreadableInput(
                "the DICOM file holds no labels", cure="Give a SEG, an RTSTRUCT or a label map.",
                path=path,
            )  # fmt: skip
        return cls(path, kind)

    def names(self, known: LabelSet | None) -> tuple[str, ...]:
        """The names of its labels, in order of value, as `read` gives them.

        Raises:
            UnreadableInput: If it is damaged.
        """
        if self.form == "rtstruct":
            from unetr_app.io.dicom.rtstruct_reader import drawn_names

            return drawn_names(self.path)
        if self.form == "seg":
            from unetr_app.io.dicom.placed_frames import read_header
            from unetr_app.io.dicom.segments import labels_in

            return LabelSet(tuple(labels_in(read_header(self.path)).values())).names
        return _read_map(self.path, known).labels.names

    def read(
        self, grid: Geometry, *, known: LabelSet | None = None, wanted: Sequence[str] = (),
        frame_uid: str = "",
    ) -> Segmentation:  # fmt: skip
        """The labels on a grid.

        Args:
            grid: The image's.
            known: What the values of a label map mean; else what a ``dataset.json`` beside it, or
                the file itself, says.
            wanted: Names that are asked for; others may be left out.
            frame_uid: Frame of Reference UID of the image; empty where unknown.

        Raises:
            UnreadableInput: If it is damaged.
            UnsafeGeometry: If the labels do not lie on the grid.
            InvalidRequest: If a value has no name.
        """
        if self.form == "seg":
            from unetr_app.io.dicom.seg_reader import read_seg

            return read_seg(self.path, grid, frame_uid=frame_uid)
        if self.form == "rtstruct":
            from unetr_app.io.dicom.rtstruct_reader import drawn_names, read_rtstruct

            folded = {name.casefold() for name in wanted}
            there = [n for n in drawn_names(self.path) if n.casefold() in folded]
            return read_rtstruct(self.path, grid, names=there, frame_uid=frame_uid)
        return _on_grid(_read_map(self.path, known), grid, self.path)


def is_a_number(name: str) -> bool:
    """Is a name one that a label goes by because nothing says what it is?"""
    return re.fullmatch(r"label_\d+", name) is not None


def _read_map(path: str, known: LabelSet | None) -> Segmentation:
    """A label map with the names that the user gives to some values, or a table to all."""
    if known is None:
        return read_label_map(path, told_beside(path))
    found = read_label_map(path)
    said = {label.value: label.name for label in known}
    others = {v: f"label_{v}" for v in found.labels.values if v not in said}
    return Segmentation(
        found.label_map, found.geometry, LabelSet.from_names({**said, **others}), found.provenance
    )


def _on_grid(labels: Segmentation, grid: Geometry, path: str) -> Segmentation:
    """The same voxels in the image's order of axes."""
    if labels.geometry.orientation != grid.orientation:
        labels = labels.reorient(grid.orientation)
    if labels.geometry.is_close(grid, 1e-2):
        return Segmentation(labels.data, grid, labels.labels, labels.provenance)
    if labels.geometry.shape != grid.shape:
        what = f"the label map has {labels.geometry.shape} voxels, its image {grid.shape}"
    else:
        apart = np.abs(labels.geometry.affine - grid.affine).max()
        what = f"the label map lies elsewhere than its image, by up to {apart:.3g} in the affine"
    raise UnsafeGeometry(
        what, cure="Give the image that it was drawn on, or resample one onto the other.", path=path
    )


def told_beside(path: str) -> LabelSet | None:
    """What label values mean: by the table that `convert` writes, or by a ``dataset.json``.

    The first lies beside the file, the second in its folder or the one above.
    """
    own = path[: len(path) - len(image_ending(path))].removesuffix(".seg") + ".json"
    try:
        rows = json.loads(Path(own).read_text(encoding="utf-8"))["labels"]
        here = [row for row in rows if row["file"] == Path(path).name]
        if here:
            return LabelSet(tuple(
                Label(int(row["value"]), str(row["name"]), tuple(row["colour"])) for row in here
            ))  # fmt: skip
    except Exception:  # no such table, or one of another kind
        pass
    for folder in Path(path).absolute().parents[:2]:
        try:
            table = json.loads((folder / _DATASET).read_text(encoding="utf-8"))["labels"]
            pairs = {
                int(v if str(v).isdecimal() else n): str(n if str(v).isdecimal() else v)
                for v, n in table.items()
            }
            return LabelSet.from_names(pairs)
        except Exception:  # no such file, or one of another kind
            continue
    return None
