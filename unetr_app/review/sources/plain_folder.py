"""PlainFolder: images that lie with their labels in a folder, told by names or DICOM UIDs."""

from __future__ import annotations

import os
from pathlib import Path

from unetr_app.datasets import Pair, find_pairs
from unetr_app.errors import InvalidRequest
from unetr_app.io.atomic import PathLike
from unetr_app.labels import LabelSet
from unetr_app.outputs import REVIEWS
from unetr_app.review.sources.entry import Entry, Listed
from unetr_app.review.sources.files_of_labels import FilesOfLabels
from unetr_app.review.sources.ids import identified, seen_from

_MOST_NOTES = 5


def read_plain_folder(
    folder: Path, labels: LabelSet | None = None, leave_out: PathLike = ""
) -> Listed:
    """Images with labels below a folder, as `unetr_app.datasets.find_pairs` matches them.

    Args:
        folder: ``imagesTr`` beside ``labelsTr``, ``a.nii.gz`` beside ``a_seg.nii.gz``, or DICOM
            series with the SEG and RTSTRUCT objects that refer to them.
        labels: What values mean, where nothing beside them says.
        leave_out: A folder that is not looked into.

    Raises:
        InvalidRequest: If there is no image with labels.
    """
    found = find_pairs([os.fspath(folder)], out=os.fspath(leave_out), keep_names=True)
    if not found.pairs:
        why = f": {found.unmatched[0].problem}" if found.unmatched else ""
        raise InvalidRequest(
            f"the folder holds no image with labels ({found.unlabelled} without){why}",
            cure="Give an output folder of unetr segment, imagesTr beside labelsTr, a.nii.gz "
            "beside a_seg.nii.gz, a DICOM series with its SEG or RTSTRUCT, or a list.",
            path=folder,
        )
    entries = [_entry(pair, labels) for pair in found.pairs]
    notes = [str(unmatched.problem) for unmatched in found.unmatched[:_MOST_NOTES]]
    if len(found.unmatched) > _MOST_NOTES:
        notes.append(f"and {len(found.unmatched) - _MOST_NOTES} more files of labels have no image")
    if found.unlabelled:
        notes.append(f"images without labels that were left out: {found.unlabelled}")
    texts = [seen_from(folder, entry.labels.paths) for entry in entries]
    named = identified(entries, texts)
    return Listed(folder.resolve().name, named, folder / REVIEWS, tuple(notes))


def _entry(pair: Pair, labels: LabelSet | None) -> Entry:
    segs = [file.path for file in pair.labels if file.form == "seg"]
    paths = tuple(file.path for file in pair.labels)
    return Entry(
        pair.id, FilesOfLabels(paths, labels), lambda: pair.image,
        kind=pair.image.kind if pair.image.kind == "dicom-series" else pair.image.form,
        modality=pair.image.modality,
        seg=Path(segs[0]) if len(segs) == len(paths) == 1 else None,
        subject=pair.subject,
    )  # fmt: skip
