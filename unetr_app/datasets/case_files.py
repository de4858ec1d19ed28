"""CaseFiles: what a data set holds of one case, written whole and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetr_app.checksum import sha256_of
from unetr_app.datasets.dicom_pairs import frame_uid_of
from unetr_app.datasets.label_file import is_a_number
from unetr_app.datasets.label_names import LabelNames
from unetr_app.datasets.pair import Pair
from unetr_app.errors import InvalidRequest, UnwritableOutput
from unetr_app.geometry import Geometry
from unetr_app.io import read_volume, write_segmentation
from unetr_app.io.volume_writer import write_volume
from unetr_app.volume import Segmentation, Volume


@dataclass(frozen=True)
class CaseFiles:
    """Where the files of a case go, relative to the data set.

    Args:
        case_id: The case.
    """

    case_id: str

    @property
    def image(self) -> str:
        """The image."""
        return f"imagesTr/{self.case_id}.nii.gz"

    @property
    def label(self) -> str:
        """The label map."""
        return f"labelsTr/{self.case_id}.nii.gz"

    @property
    def picture(self) -> str:
        """The picture of the sheet."""
        return f"pictures/{self.case_id}.png"

    def hashes(self, out: Path) -> dict[str, str]:
        """SHA-256 of the files that are there, by relative path."""
        found: dict[str, str] = {}
        for name in (self.image, self.label, self.picture):
            try:
                found[name] = sha256_of(out / name)
            except OSError:
                continue
        return found


def write_case(pair: Pair, names: LabelNames, out: Path, *, later_wins: bool) -> dict[str, Any]:
    """Write image, label map and picture of a case.

    Args:
        pair: The case.
        names: The labels of the data set.
        out: The data set.
        later_wins: Whether, of labels that overlap, the later one is kept; else such a case is
            refused.

    Returns:
        What the report says of it: shape, spacing, modality, voxels of each label, warnings.

    Raises:
        UnreadableInput: If a file is damaged.
        UnsafeGeometry: If image and labels do not lie on the same grid.
        InvalidRequest: If a label is missing, or labels overlap.
        UnwritableOutput: If a file could not be written whole.
    """
    if pair.problem is not None:
        raise pair.problem
    volume = read_volume(pair.image)
    segmentation, warnings = _labels_of(pair, names, volume.geometry, later_wins=later_wins)
    files = CaseFiles(pair.id)
    write_volume(volume, out / files.image)
    write_segmentation(segmentation, out / files.label)
    warnings = [*volume.warnings, *warnings, *_draw(volume, segmentation, out / files.picture)]
    counts = np.bincount(segmentation.label_map.ravel(), minlength=len(names.names) + 1)
    voxels = dict(zip(names.names, counts[1:].tolist(), strict=True))
    return {
        "case_id": pair.id,
        "shape": list(volume.geometry.shape),
        "spacing": [round(mm, 6) for mm in volume.geometry.spacing],
        "modality": volume.modality,
        "voxels": voxels,
        "empty": [name for name, count in voxels.items() if not count],
        "warnings": warnings,
    }


def _labels_of(
    pair: Pair, names: LabelNames, grid: Geometry, *, later_wins: bool
) -> tuple[Segmentation, list[str]]:
    """The label map of a case with the data set's values, and what the reader noticed."""
    frame_uid = frame_uid_of(pair.image)
    parts: dict[int, tuple[Segmentation, int]] = {}
    found: list[str] = []
    warnings: list[str] = []
    for file in pair.labels:
        offered = file.names(names.known)
        wanted = names.wanted_among(offered)
        found += offered
        if not wanted:
            continue
        part = file.read(grid, known=names.known, wanted=wanted, frame_uid=frame_uid)
        warnings += part.provenance.get("warnings", ())
        parts |= {
            names.value_of(label.name): (part, label.value)
            for label in part.labels
            if names.value_of(label.name)
        }
    foreign = any(not names.value_of(name) and not is_a_number(name) for name in found)
    drawn = any(file.form != "map" for file in pair.labels)
    # A label map does not name what has no voxel, so that alone is no fault.
    names.require(found, all_of_them=drawn or foreign or bool(found and not parts))
    data = np.zeros(grid.shape, names.labels.dtype)
    for value in sorted(parts):
        mask = parts[value][0].mask(parts[value][1])
        covered = np.unique(data[mask])
        under = [names.names[n - 1] for n in covered.tolist() if n]
        if under and not later_wins:
            raise InvalidRequest(
                f"{names.names[value - 1]} overlaps {', '.join(under)}, and a voxel of a training "
                "set has one label",
                cure="Choose labels that do not overlap with --labels, or add --later-wins, so "
                "that of two the one later in --labels is kept.",
            )
        data[mask] = value
    return Segmentation(data, grid, names.labels), warnings


def _draw(volume: Volume, segmentation: Segmentation, path: Path) -> list[str]:
    """Draw the picture; a case is no worse for the lack of it, unless the disk is full."""
    from unetr_app.pictures import preview  # imports matplotlib

    try:
        preview(volume, segmentation, path)
    except UnwritableOutput:
        raise
    except Exception as error:  # whatever the drawing library trips over
        return [f"no picture could be drawn ({type(error).__name__})"]
    return []


def content_of(pair: Pair) -> Mapping[str, str]:
    """SHA-256 of the inputs of a case, by their order."""
    return {str(n): sha256_of(path) for n, path in enumerate(pair.paths)}
