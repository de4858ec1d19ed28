"""FilesOfLabels: label maps, SEG and RTSTRUCT objects, brought onto the grid of their image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from unetr_app.cases import Case
from unetr_app.cases.ids import stem
from unetr_app.datasets.dicom_pairs import frame_uid_of
from unetr_app.datasets.label_file import LabelFile, told_beside
from unetr_app.errors import UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_label_map
from unetr_app.labels import Label, LabelSet
from unetr_app.volume import Segmentation, Volume

_CLOSE_MM = 1e-2  # label maps written by others are rounded


@dataclass(frozen=True)
class FilesOfLabels:
    """One file of labels, or several that each hold some.

    Args:
        paths: The files.
        known: What the values of label maps mean, where neither the file nor a table beside it
            says.
    """

    paths: tuple[str, ...]
    known: LabelSet | None = None

    def read(self, case: Case | None, volume: Volume | None) -> Segmentation:
        """Read all of them; see `unetr_app.review.sources.entry.Labels`."""
        parts = [self._read(path, case, volume) for path in self.paths]
        if len(parts) > 1:
            parts = [_named_by(path, part) for path, part in zip(self.paths, parts, strict=True)]
        return merged(parts)

    def _read(self, path: str, case: Case | None, volume: Volume | None) -> Segmentation:
        file = LabelFile.of(path)
        if file.form == "map":
            found = _alone(path, told_beside(path) or self.known)
            return found if volume is None else _beneath(found, volume.geometry)
        if volume is None:
            raise UnreadableInput(
                "these labels are drawn on images, and there are none",
                cure="Put the images back.", path=path,
            )  # fmt: skip
        frame_uid = "" if case is None else frame_uid_of(case)
        return file.read(volume.geometry, wanted=file.names(None), frame_uid=frame_uid)


def _named_by(path: str, found: Segmentation) -> Segmentation:
    """A file of one label that nothing names, named by the file."""
    labels = list(found.labels)
    if len(labels) != 1 or labels[0].name != f"label_{labels[0].value}":
        return found
    return found.described(labels=LabelSet((replace(labels[0], name=stem(path)),)))


def _alone(path: str, known: LabelSet | None) -> Segmentation:
    """A label map by itself, with the names that are known for some values."""
    found = read_label_map(path)
    if known is None:
        return found
    others = [label for label in found.labels if label.value not in known.values]
    return found.described(labels=LabelSet((*known, *others)))


def _beneath(found: Segmentation, grid: Geometry) -> Segmentation:
    """The labels in the image's order of axes; on its grid where they lie there.

    Where they do not, they stay where they are, and the image is not shown over them.
    """
    if found.geometry.orientation != grid.orientation:
        turned = found.geometry.reoriented(grid.orientation)
        found = found.reorient(grid.orientation) if turned.is_close(grid, _CLOSE_MM) else found
    return found.described(geometry=grid) if found.geometry.is_close(grid, _CLOSE_MM) else found


def merged(parts: Sequence[Segmentation]) -> Segmentation:
    """Labels of several files as one: a label map, or masks where any two overlap.

    Of several files the labels are numbered anew, in the order of the files; a colour that an
    earlier one has is replaced.

    Raises:
        UnsafeGeometry: If they lie on different grids.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if not all(part.geometry.is_close(first.geometry) for part in parts):
        raise UnsafeGeometry(
            "the files of labels lie on different grids", cure="List them as cases of their own."
        )
    labels: list[Label] = []
    masks: list[np.ndarray] = []
    for part in parts:
        for label in part.labels:
            taken = {other.name.casefold() for other in labels}
            value = len(labels) + 1
            name = label.name if label.name.casefold() not in taken else f"{label.name} {value}"
            is_told_apart = label.colour not in [other.colour for other in labels]
            colour = label.colour if is_told_apart else Label(value, name).colour
            labels.append(Label(value, name, colour, label.type, label.category,
                                label.modifier))  # fmt: skip
            masks.append(part.mask(label.value))
    table = LabelSet(tuple(labels))
    data = np.zeros(first.geometry.shape, table.dtype)
    for value, mask in enumerate(masks, start=1):
        if data[mask].any():
            return Segmentation(np.stack(masks), first.geometry, table, first.provenance)
        data[mask] = value
    return Segmentation(data, first.geometry, table, first.provenance)
