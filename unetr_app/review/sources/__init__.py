"""Sources: what there is to review, by the kind of folder or file that names it."""

from __future__ import annotations

from pathlib import Path

from unetr_app.cases.case_list import is_list
from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.labels import LabelSet
from unetr_app.outputs import MANIFEST
from unetr_app.review.sources.csv_source import read_csv_source
from unetr_app.review.sources.decathlon import DATASET, is_decathlon, read_decathlon
from unetr_app.review.sources.entry import Entry, Listed
from unetr_app.review.sources.json_source import read_json_source
from unetr_app.review.sources.output_folder import read_output_folder
from unetr_app.review.sources.plain_folder import read_plain_folder

__all__ = ["Entry", "Listed", "read_source"]


def read_source(
    path: PathLike, *, labels: LabelSet | None = None, leave_out: PathLike = ""
) -> Listed:
    """Find the cases that a path names; no image is read.

    Args:
        path: An output folder of ``unetr segment``, a list (CSV or JSON), a ``dataset.json`` or
            its folder, or a folder of images with labels.
        labels: What values mean, where the source does not say.
        leave_out: A folder that is never looked into.

    Raises:
        InvalidRequest: If there is no such path, or nothing in it to review.
        UnreadableInput: If a list is none.
    """
    place = Path(path)
    if not place.exists():
        raise InvalidRequest("there is no such file or folder", cure="Check the path.", path=path)
    if place.is_dir():
        if is_decathlon(place / DATASET):
            return read_decathlon(place / DATASET, labels)
        if (place / MANIFEST).is_file():
            return read_output_folder(place)
        return read_plain_folder(place, labels, leave_out)
    if not is_list(place):
        raise UnreadableInput(
            "this is nothing that names cases",
            cure="Give an output folder of unetr segment, a list (.csv or .json), a dataset.json, "
            "or a folder of images with labels.",
            path=place,
        )
    if place.suffix.lower() == ".csv":
        return read_csv_source(place, labels)
    return read_decathlon(place, labels) if is_decathlon(place) else read_json_source(place, labels)
