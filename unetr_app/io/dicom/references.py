"""References: how one DICOM object names others."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

from collections.abc import Iterable

from pydicom import Dataset

from unetr_app.io.dicom.codes import item_of
from unetr_app.labels import Code

PROCESSED = Code("DCM", "121322", "Source image for image processing operation")  # CID 7202


def instance_item(sop_class: str, sop_uid: str) -> Dataset:
    """A reference to one object (PS3.3 10.8)."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_uid
    return item


def series_item(series_uid: str, instances: Iterable[tuple[str, str]]) -> Dataset:
    """Objects of one series (PS3.3 10.4), each a SOP class and a SOP Instance UID."""
    item = Dataset()
    item.SeriesInstanceUID = series_uid
    item.ReferencedInstanceSequence = [instance_item(*instance) for instance in instances]
    return item


def source_item(sop_class: str, sop_uid: str, frames: tuple[int, ...] = ()) -> Dataset:
    """An image that another was made from, at exactly the same places (PS3.3 C.7.6.16.2.6)."""
    item = instance_item(sop_class, sop_uid)
    if frames:
        item.ReferencedFrameNumber = list(frames)
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = [item_of(PROCESSED)]
    return item
