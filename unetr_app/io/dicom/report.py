"""Report: measurements of a SEG's segments as a DICOM SR document (PS3.16 TID 1500)."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from unetr_app.errors import InvalidRequest
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike, replacing
from unetr_app.io.dicom.as_meant import not_as_meant
from unetr_app.io.dicom.codes import LOCAL_SCHEME, code_in, local_scheme
from unetr_app.io.dicom.heading import MAKER
from unetr_app.io.dicom.placed_frames import read_header
from unetr_app.io.dicom.segments import labels_in
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, text_of
from unetr_app.io.dicom.sources import Frames, SourceSeries, read_sources
from unetr_app.labels import Code
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.version import __version__

_SERIES_NUMBER = 301
_PROCEDURES = {  # CID 100
    "CT": Code("LN", "25045-6", "CT unspecified body region"),
    "MR": Code("LN", "25056-3", "MRI unspecified body region"),
    "PT": Code("LN", "44136-0", "PET unspecified body region"),
    "NM": Code("LN", "49118-3", "NM unspecified body region"),
}
_ANY_PROCEDURE = Code("SCT", "363679005", "Imaging procedure")
_MILLILITRE = Code("UCUM", "mL", "milliliter")


class Measured(Protocol):
    """What one label measures; `unetr_app.evaluation.LabelMeasurement` is one."""

    @property
    def value(self) -> int:
        """The label's integer."""
        ...

    @property
    def millilitres(self) -> float:
        """Its volume."""
        ...

    @property
    def mean(self) -> float | None:
        """Mean intensity (HU for CT); None where the label has no voxel."""
        ...

    @property
    def standard_deviation(self) -> float | None:
        """Standard deviation of the intensity; None where the label has no voxel."""
        ...


def write_measurement_report(
    measurements: Sequence[Measured],
    seg_path: PathLike,
    sources: Sequence[PathLike],
    geometry: Geometry,
    path: PathLike,
    *,
    uneven: bool = False,
    frames: Frames = (),
) -> None:
    """Write a measurement report of a SEG, read it back, and only then put it in place.

    Each segment's volume in ml, and for CT the mean and standard deviation of its HU.

    Args:
        measurements: One for each label of the SEG.
        seg_path: The SEG, as `write_seg` wrote it.
        sources: The series that it was made of.
        geometry: The grid of that series.
        path: The final name.
        uneven: As of `unetr_app.io.dicom.seg.write_seg`.
        frames: As of `unetr_app.io.dicom.sources.read_sources`.

    Raises:
        InvalidRequest: If a measurement is of a label that the SEG does not have.
        UnreadableInput: If the SEG or a source cannot be read.
        UnsafeGeometry: If the sources do not lie on the grid.
        UnwritableOutput: If the file could not be written whole.
    """
    seg = read_header(seg_path)
    series = read_sources(sources, geometry, uneven=uneven, frames=frames)
    numbers = {label.value: number for number, label in labels_in(seg).items()}
    unknown = sorted(m.value for m in measurements if m.value not in numbers)
    if unknown:
        raise InvalidRequest(f"there are measurements of labels {unknown}, which the SEG has not")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom's would show the patient's name
        document = _document(seg, series, [(numbers[m.value], m) for m in measurements])
    with replacing(path) as part:
        document.save_as(part, enforce_file_format=True)
        _require_as_meant(part, measurements, is_ct=series.modality == "CT", path=path)


def _document(seg: Dataset, series: SourceSeries, rows: Sequence[tuple[int, Measured]]) -> Dataset:
    from highdicom import sr

    items = {int(item.SegmentNumber): item for item in seg.SegmentSequence}
    observer = sr.ObserverContext(
        codes.DCM.Device,
        sr.DeviceObserverIdentifyingAttributes(
            uid=generate_uid(entropy_srcs=[MAKER, __version__]),
            name=MAKER, manufacturer_name=MAKER, model_name=f"{MAKER} {__version__}",
        ),
    )  # fmt: skip
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=_concept(_PROCEDURES.get(series.modality, _ANY_PROCEDURE)),
        imaging_measurements=[
            _group(items[number], seg, series, measured) for number, measured in rows
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )  # fmt: skip
    document = sr.Comprehensive3DSR(
        evidence=[seg, *_evidence(series)], content=report[0],
        series_instance_uid=generate_uid(), series_number=_SERIES_NUMBER,
        sop_instance_uid=generate_uid(), instance_number=1, manufacturer=MAKER,
        is_complete=True, specific_character_set="ISO_IR 192", manufacturer_model_name=MAKER,
        software_versions=__version__, device_serial_number="1",
        series_description=f"Measurements. {RESEARCH_NOTICE}",
    )  # fmt: skip
    del document.ContributingEquipmentSequence  # would name us as the scanner
    if any(_is_local(items[number]) for number, _ in rows):
        document.CodingSchemeIdentificationSequence = [local_scheme()]
    return document


def _is_local(item: Dataset) -> bool:
    names = ("SegmentedPropertyTypeCodeSequence", "SegmentedPropertyCategoryCodeSequence")
    found = (code_in(item, name) for name in names)
    return any(code is not None and code.scheme == LOCAL_SCHEME for code in found)


def _evidence(series: SourceSeries) -> Iterable[Dataset]:
    """The source images, as far as the report names them."""
    images = dict.fromkeys((frame.sop_class, frame.sop_uid) for frame in series.frames)
    for sop_class, sop_uid in images:
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = sop_class, sop_uid
        image.StudyInstanceUID, image.SeriesInstanceUID = series.study_uid, series.series_uid
        yield image


def _concept(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def _group(item: Dataset, seg: Dataset, series: SourceSeries, measured: Measured) -> Any:
    """TID 1411: the measurements of one segment."""
    from highdicom import sr

    kind = code_in(item, "SegmentedPropertyTypeCodeSequence")
    category = code_in(item, "SegmentedPropertyCategoryCodeSequence")
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=text_of(item, "TrackingUID") or generate_uid(),
            identifier=text_of(item, "TrackingID") or text_of(item, "SegmentLabel"),
        ),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=text_of(seg, "SOPClassUID"),
            sop_instance_uid=text_of(seg, "SOPInstanceUID"),
            segment_number=int(item.SegmentNumber),
            source_series=sr.SourceSeriesForSegmentation(series.series_uid),
        ),
        finding_type=None if kind is None else _concept(kind),
        finding_category=None if category is None else _concept(category),
        algorithm_id=_algorithm(item),
        measurements=_numbers(measured, is_ct=series.modality == "CT"),
    )


def _algorithm(item: Dataset) -> Any:
    from highdicom import sr

    found: Any = item.get("SegmentationAlgorithmIdentificationSequence")
    if not found:
        return None
    return sr.AlgorithmIdentification(
        text_of(found[0], "AlgorithmName"), text_of(found[0], "AlgorithmVersion")
    )


def _numbers(measured: Measured, *, is_ct: bool) -> list[Any]:
    from highdicom import sr

    found = [sr.Measurement(codes.SCT.Volume, float(measured.millilitres), _concept(_MILLILITRE))]
    if is_ct:
        for value, derivation in (
            (measured.mean, codes.SCT.Mean),
            (measured.standard_deviation, codes.SCT.StandardDeviation),
        ):
            if value is not None:
                unit = codes.UCUM.HounsfieldUnit
                name = codes.DCM.AttenuationCoefficient
                found.append(sr.Measurement(name, float(value), unit, derivation=derivation))
    return found


def _require_as_meant(
    part: Path, measurements: Sequence[Measured], *, is_ct: bool, path: PathLike
) -> None:
    """Read the report back with highdicom, and compare its numbers."""
    from highdicom.sr import srread

    meant = [
        value
        for m in measurements
        for value in (m.millilitres, *((m.mean, m.standard_deviation) if is_ct else ()))
        if value is not None
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content: Any = srread(part).content
            groups = content.get_volumetric_roi_measurement_groups()
            found = [float(m.value) for group in groups for m in group.get_measurements()]
    except PYDICOM_ERRORS as error:
        raise not_as_meant(path) from error
    if len(found) != len(meant) or not np.allclose(found, meant, rtol=1e-9, atol=1e-9):
        raise not_as_meant(path)
