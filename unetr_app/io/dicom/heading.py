"""Heading: what every DICOM object that we write begins with: patient, study, series, maker."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

from copy import deepcopy
from datetime import datetime
from typing import Any

from pydicom import Dataset, config
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import validate_value

from unetr_app.io.dicom.slice import PYDICOM_ERRORS
from unetr_app.version import __version__

MAKER = "unetr-app"

# PS3.3 C.7.1.1 and C.7.2.1: type 2 elements, which may be empty but must be there ...
_NEEDED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
# ... and others that belong to the patient and the study, copied where they are there.
_KEPT = (
    "IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified", "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID",
    "ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID",
)  # fmt: skip


def begin(
    source: Dataset,
    *,
    sop_class: str,
    modality: str,
    series_description: str,
    series_number: int,
    syntax: str = ExplicitVRLittleEndian,
) -> Dataset:
    """A new object of its own series, in the study of a source image.

    Args:
        source: Headers of a source image, with a Study Instance UID.
        sop_class: SOP Class UID of the new object.
        modality: Its modality code, such as ``"SEG"``.
        series_description: Words for people, at most 64 characters.
        series_number: Number of the new series.
        syntax: Transfer Syntax UID.

    Returns:
        Modules of PS3.3: Patient, General Study, General Series, General Equipment and SOP Common;
        text in UTF-8. Values of the source that break the standard's rules are left empty.
    """
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.StudyInstanceUID = str(source.StudyInstanceUID).strip()
    for keyword in (*_NEEDED, *_KEPT):
        value = _valid(source, keyword)
        if value is not None or keyword in _NEEDED:
            setattr(dataset, keyword, value)
    now = datetime.now()
    today, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    for what in ("InstanceCreation", "Series"):
        setattr(dataset, f"{what}Date", today)
        setattr(dataset, f"{what}Time", time)
    dataset.Modality, dataset.SeriesInstanceUID = modality, generate_uid()
    dataset.SeriesNumber, dataset.InstanceNumber = series_number, 1
    dataset.SeriesDescription = series_description[:64]
    dataset.Manufacturer, dataset.ManufacturerModelName = MAKER, MAKER
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "1", __version__
    dataset.file_meta = _meta(syntax)
    return dataset


def _meta(syntax: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    return meta


def _valid(source: Dataset, keyword: str) -> Any:
    """A value of the source that the standard allows; else None."""
    vr = dictionary_VR(keyword)
    try:
        value = source.get(keyword)
        if value in (None, "") or vr == "SQ":
            return deepcopy(value) or None
        parts = [str(part) for part in value] if _is_several(value) else str(value)
        for part in parts if isinstance(parts, list) else [parts]:
            validate_value(vr, part, config.RAISE)
    except PYDICOM_ERRORS:
        return None
    if keyword == "PatientSex" and parts not in ("M", "F", "O"):
        return None
    return parts


def _is_several(value: Any) -> bool:
    return not isinstance(value, str) and hasattr(value, "__iter__") and hasattr(value, "append")
