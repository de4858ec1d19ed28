"""Burned-in annotation: could the pixels of an object show whose they are?

No attribute can be trusted to say so, hence what is not known to be free of text is refused.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import re

import pydicom
from pydicom.encaps import generate_fragments
from pydicom.uid import UID

from unetr_app.io.dicom.codestream import has_comment
from unetr_app.io.dicom.confidentiality.cleaning import PIXELS
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, numbers_of, text_of

_ROOT = "1.2.840.10008.5.1.4.1.1."
_SLICES = {
    "2", "2.1", "2.2",  # CT
    "4", "4.1", "4.3", "4.4",  # MR
    "128", "128.1", "130",  # PET
    "20",  # nuclear medicine
}  # fmt: skip
_PLACED = {"2", "4"}  # each file states its place
_COMPUTED = {"30", "66.4", "66.7", "481.2"}  # maps, segmentations, doses: made by programs
_WITHOUT_PIXELS = {
    "66.1", "66.2", "66.3", "66.5", "66.6", "67",  # registrations, fiducials, surfaces, tracks
    "481.3", "481.5", "481.8",  # structures and plans of radiotherapy
}  # fmt: skip
_REPORTS, _PRESENTATIONS = "88.", "11."
_DOCUMENTS = "104."
_NEVER_SAFE = (
    ("7", "a secondary capture"),
    ("3", "ultrasound"), ("6", "ultrasound"),
    ("77.1.1.1", "a video"), ("77.1.2.1", "a video"), ("77.1.4.1", "a video"),
)  # fmt: skip
# Words of Image Type in pictures of screens, and in images that programs draw.
_DRAWN = re.compile(
    r"SCREEN|SAVE|CAPTURE|REPORT|PROT$|PROTOCOL|DOSE.?INFO|SUMMARY|TABLE|GRAPH|CURVE|POSDISP|"
    r"VXTL|STATE|FUSED|FUSION|CSA.?(PARALLEL|BLACK|RESULT|SERIES)|RESULT|TOPLOT|PLOT|NOTE|TEXT"
)
# Words of Image Type in derived images that are computed from slices and show nothing else.
_COMPUTED_SLICES = {
    "AXIAL", "CORONAL", "SAGITTAL", "OBLIQUE", "MPR", "REFORMATTED", "AVERAGE", "MIP", "MAX IP",
    "MINIP", "MIN IP", "ADC", "DIFFUSION", "FA", "TRACEW", "SUBTRACT", "SUBTRACTION", "ADD", "M",
    "ND", "NORM", "NONE", "OTHER", "P", "R", "I", "M_FFE", "M_SE", "M_IR", "RESAMPLED", "VOLUME",
    "DIS2D", "DIS3D", "MFSPLIT", "MEAN", "T1 MAP", "T2 MAP", "WATER", "FAT", "IN_PHASE",
    "OUT_PHASE", "OPP_PHASE", "SWI", "SE", "FFE", "IR", "EPI", "PRIMARY", "RECON", "STATIC",
}  # fmt: skip
_HEAD = re.compile(r"head|brain|skull|face|facial|cran|orbit|sinus|hippo|cereb|whole.?body|schaedel"
                   r"|kopf|nase|cabeza|t[eê]te|encephal", re.IGNORECASE)  # fmt: skip
_REGIONS = (
    "BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName",
    "RequestedProcedureDescription", "PerformedProcedureStepDescription",
)  # fmt: skip
_HEAD_CODES = {"69536005", "T-D1100", "12738006", "T-A0100", "774007", "T-D1000", "39607008"}
_FIRST_BYTES = 65536


def never_exported(dataset: pydicom.Dataset, sop_class: str) -> str:
    """Why an object is refused whoever has looked at it, as what is told of it; empty if not."""
    kind = _kind(sop_class)
    if kind is None:
        return "an object of a kind that is not in the DICOM standard"
    if kind.startswith(_DOCUMENTS):
        return "an encapsulated document (PDF, CDA or model), which cannot be searched for names"
    if kind.startswith(_PRESENTATIONS):
        if "GraphicAnnotationSequence" in dataset or "TextObjectSequence" in dataset:
            return "a presentation state with texts or drawings of people"
        return ""
    has_pixels = any(tag in dataset for tag in PIXELS)
    if not (has_pixels or kind in _WITHOUT_PIXELS or kind.startswith(_REPORTS)):
        if kind in _SLICES or kind in _COMPUTED:
            return "an image whose pixels are missing"
        return "an object of a kind that is not known to be safe to export"
    return ""


def burned_in(dataset: pydicom.Dataset, sop_class: str, syntax: str) -> str:
    """Why the pixels may show whose they are; empty where they are known not to.

    Args:
        dataset: The object as it came, with its pixels.
        sop_class: Its SOP Class UID.
        syntax: Its Transfer Syntax UID.

    Returns:
        A noun phrase without any value of an attribute.
    """
    if not any(tag in dataset for tag in PIXELS):
        return ""
    kind = _kind(sop_class) or ""
    said = text_of(dataset, "BurnedInAnnotation").upper()
    if said == "YES":
        return "an image with burned-in annotation"
    for prefix, words in _NEVER_SAFE:
        if kind == prefix or kind.startswith(prefix + "."):
            return words
    if _is_moving(syntax):
        return "a video"
    drawn = _drawn(dataset, kind, said)
    if drawn:
        return drawn
    if _has_embedded_overlay(dataset):
        return "an image with an overlay within its pixel values"
    if UID(syntax).is_encapsulated and _has_comment(dataset):
        return "a compressed image that carries a comment"
    return ""


def shows_face(dataset: pydicom.Dataset) -> bool:
    """Could a face be recognised: is it a CT, MR or PET of the head, as far as it is told?"""
    if text_of(dataset, "RecognizableVisualFeatures").upper() == "YES":
        return True
    if text_of(dataset, "Modality") not in ("CT", "MR", "PT"):
        return False
    if any(_HEAD.search(text_of(dataset, keyword)) for keyword in _REGIONS):
        return True
    return any(
        text_of(item, "CodeValue") in _HEAD_CODES
        for item in _items(dataset, "AnatomicRegionSequence")
    )


def _items(dataset: pydicom.Dataset, keyword: str) -> list[pydicom.Dataset]:
    try:
        return list(dataset.get(keyword) or ())
    except PYDICOM_ERRORS:
        return []


def _kind(sop_class: str) -> str | None:
    """The last numbers of a storage class of the standard."""
    return sop_class.removeprefix(_ROOT) if sop_class.startswith(_ROOT) else None


def _is_moving(syntax: str) -> bool:
    """MPEG-2, MPEG-4, HEVC."""
    return re.fullmatch(r"1\.2\.840\.10008\.1\.2\.4\.10\d(\.1)?", syntax) is not None


def _drawn(dataset: pydicom.Dataset, kind: str, said: str) -> str:
    """By class and Image Type, where no attribute says more."""
    if kind in _COMPUTED:
        return ""
    words = [word.strip(" '") for word in text_of(dataset, "ImageType").strip("[]").split(",")]
    words = [word.upper() for word in words]
    if any(_DRAWN.search(word) for word in words):
        return "a picture of a screen, by its Image Type"
    if text_of(dataset, "ConversionType"):
        return "a secondary capture"
    if said == "NO":
        return ""
    if kind not in _SLICES:
        return "an image of a kind that often has burned-in annotation"
    if numbers_of(dataset, "SamplesPerPixel", 1) not in (None, 1):
        return "a colour image, as programs draw them"
    if "SECONDARY" in words[1:2] and not _COMPUTED_SLICES.issuperset(words[2:]):
        return "a derived image of an unknown kind, by its Image Type"
    is_derived = "SECONDARY" in words[1:2] or "DERIVED" in words[:1]
    is_placed = numbers_of(dataset, "ImagePositionPatient", 3) is not None
    if is_derived and kind in _PLACED and not is_placed:
        return "a derived image without a place in the patient"
    return ""


def _has_embedded_overlay(dataset: pydicom.Dataset) -> bool:
    """Overlays of the old kind: bits of the pixel values that the image does not use."""
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0010) in dataset and (group, 0x3000) not in dataset:
            return True
    return False


def _has_comment(dataset: pydicom.Dataset) -> bool:
    try:
        fragments = generate_fragments(dataset.PixelData)
        next(fragments, None)  # the table of offsets
        return any(has_comment(fragment[:_FIRST_BYTES]) for fragment in fragments)
    except PYDICOM_ERRORS:
        return True
