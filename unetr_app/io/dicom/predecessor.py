"""Predecessor: the SEG that another was edited from."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom import Dataset

from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.placed_frames import read_header
from unetr_app.io.dicom.references import source_item
from unetr_app.io.dicom.segments import tracked_in
from unetr_app.io.dicom.slice import text_of


@dataclass(frozen=True)
class Predecessor:
    """What an edited SEG says of the one before it.

    Args:
        sop_class: SOP Class UID.
        sop_uid: SOP Instance UID.
        series_uid: Series Instance UID.
        tracked: Tracking id and UID of its segments, by segment label.
    """

    sop_class: str
    sop_uid: str
    series_uid: str
    tracked: Mapping[str, tuple[str, str]]

    def item(self) -> Dataset:
        """A reference to it."""
        return source_item(self.sop_class, self.sop_uid)


def read_predecessor(path: PathLike, study_uid: str) -> Predecessor:
    """Read the headers of a predecessor.

    Raises:
        UnreadableInput: If the file is no SEG.
        InvalidRequest: If it is of another study than ``study_uid``.
    """
    seg = read_header(path)
    if text_of(seg, "Modality") != "SEG" or not text_of(seg, "SOPInstanceUID"):
        raise UnreadableInput(
            "the predecessor is no DICOM segmentation",
            cure="Give the SEG that was edited, or none.", path=path,
        )  # fmt: skip
    if text_of(seg, "StudyInstanceUID") != study_uid:
        raise InvalidRequest(
            "the predecessor is of another study than the source images",
            cure="Give the SEG that was made of these images.", path=path,
        )  # fmt: skip
    return Predecessor(
        text_of(seg, "SOPClassUID"), text_of(seg, "SOPInstanceUID"),
        text_of(seg, "SeriesInstanceUID"), tracked_in(seg),
    )  # fmt: skip
