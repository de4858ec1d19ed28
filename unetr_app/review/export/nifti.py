"""NIfTI: labels on exactly the grid of their image."""

from __future__ import annotations

from pathlib import Path

from unetr_app.batch.formats import write_split_labels
from unetr_app.io import PathLike, write_segmentation
from unetr_app.review.desk import Desk
from unetr_app.review.export.reviewed import Reviewed
from unetr_app.review.loaded import LoadedCase


def export_nifti(what: Desk | LoadedCase | Reviewed, path: PathLike) -> tuple[str, ...]:
    """Write the labels of a case as NIfTI, NRRD or MetaImage on the source grid.

    Args:
        what: An open case, whose edits are saved first, or a loaded one.
        path: A file whose ending chooses the format; where labels overlap, a folder of that name
            without the ending gets a mask for each.

    Returns:
        Warnings.

    Raises:
        InvalidRequest: If the ending is none that is written.
        UnwritableOutput: If it cannot be written whole.
    """
    found = Reviewed.of(what)
    if not found.labels.is_overlapping:
        write_segmentation(found.labels, path)
        return found.warnings
    folder = Path(path).with_name(Path(path).name.split(".")[0])
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_split_labels(found.labels, folder)
    return (*found.warnings, f"the labels overlap: each is a file of its own in {folder.name}")
