"""SUV: PET values as standardised uptake by body weight, where the headers allow it.

SUVbw (g/ml) is activity per ml over injected activity per gram of patient, both at one time. After
the QIBA FDG-PET/CT profile's vendor-neutral calculation and DICOM PS3.3 C.8.9.1: decay is counted
from injection to the start of the scan where the values are corrected to that start (START), and
not at all where they are corrected to injection (ADMIN).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime, timedelta, timezone

import numpy as np
import pydicom
from numpy.typing import NDArray

from unetr_app.io.dicom.slice import PYDICOM_ERRORS, numbers_of, text_of

CONVERTED = "PET values were converted to SUV by body weight (g/ml)"
_DAY = timedelta(days=1)
_LATEST_START = timedelta(hours=24)  # from injection to scan; more is a mistake in the dates


@dataclass(frozen=True)
class Tracer:
    """What the headers of one PET slice say of the tracer; what is absent is None or empty.

    Nothing of it is shown: weight, dose and times belong to the patient.
    """

    units: str
    suv_type: str
    correction: str
    corrected: frozenset[str]
    factor: float | None
    weight_kg: float | None
    dose_bq: float | None
    half_life_s: float | None
    injected_at: datetime | None
    injected_has_date: bool
    series_at: datetime | None
    acquired_at: datetime | None
    scanned_at: datetime | None


def tracer_of(header: pydicom.Dataset) -> Tracer:
    """What one slice's headers say of the tracer."""
    try:
        items = header.get("RadiopharmaceuticalInformationSequence") or ()
        tracer = items[0] if items else pydicom.Dataset()
    except PYDICOM_ERRORS:
        tracer = pydicom.Dataset()
    injected = _moment(text_of(tracer, "RadiopharmaceuticalStartDateTime"))
    clock = text_of(tracer, "RadiopharmaceuticalStartTime")
    zone = text_of(header, "TimezoneOffsetFromUTC")
    return Tracer(
        units=text_of(header, "Units").upper(),
        suv_type=text_of(header, "SUVType").upper(),
        correction=text_of(header, "DecayCorrection").upper(),
        corrected=frozenset(re.findall(r"\w+", text_of(header, "CorrectedImage").upper())),
        factor=_private(header, "Philips PET Private Group", 0x7053, 0x00),
        weight_kg=_positive(header, "PatientWeight"),
        dose_bq=_positive(tracer, "RadionuclideTotalDose"),
        half_life_s=_positive(tracer, "RadionuclideHalfLife"),
        injected_at=injected or _moment("19000101" + clock if clock else ""),
        injected_has_date=injected is not None,
        series_at=_dated(header, "SeriesDate", "SeriesTime", zone),
        acquired_at=_dated(header, "AcquisitionDate", "AcquisitionTime", zone),
        scanned_at=_moment(_private_text(header, "GEMS_PETD_01", 0x0009, 0x0D)),
    )


def to_suv(data: NDArray[np.float32], tracers: Sequence[Tracer]) -> str:
    """Convert in place, if every slice allows it.

    Args:
        data: (I, J, K) values as the headers rescale them.
        tracers: Of each slice along k.

    Returns:
        What was done, or which tag forbids it, for the user.
    """
    start = _scan_start(tracers)
    factors: list[float] = []
    for tracer in tracers:
        found = _factor(tracer, start)
        if isinstance(found, str):
            return f"PET values are not converted to SUV: {found}"
        factors.append(found)
    for k, factor in enumerate(factors):
        data[..., k] *= np.float32(factor)
    return CONVERTED


def _factor(tracer: Tracer, start: datetime | None) -> float | str:
    """What makes SUV of a slice's values; or why there is no such factor."""
    if tracer.units == "GML":
        if tracer.suv_type in ("", "BW"):
            return 1.0
        return "SUVType says that they are not by body weight"
    if tracer.units == "CNTS":
        return tracer.factor or "Units is CNTS, and the Philips factor (7053,1000) is absent"
    if tracer.units != "BQML":
        return f"Units is {'another than BQML, CNTS or GML' if tracer.units else 'absent'}"
    if not {"ATTN", "DECY"} <= tracer.corrected:
        return "CorrectedImage lacks ATTN or DECY"
    if tracer.weight_kg is None:
        return "PatientWeight is absent or 0"
    if tracer.dose_bq is None:
        return "RadionuclideTotalDose is absent or 0"
    if tracer.correction == "ADMIN":
        return tracer.weight_kg * 1000 / tracer.dose_bq
    if tracer.correction != "START":
        return "DecayCorrection is neither START nor ADMIN"
    waited = _waited(tracer, start)
    if isinstance(waited, str):
        return waited
    assert tracer.half_life_s is not None
    return tracer.weight_kg * 1000 / (tracer.dose_bq * math.pow(2, -waited / tracer.half_life_s))


def _waited(tracer: Tracer, start: datetime | None) -> float | str:
    """Seconds from injection to the start of the scan; or which tag is missing."""
    if tracer.half_life_s is None:
        return "RadionuclideHalfLife is absent or 0"
    if start is None:
        return "SeriesDate, SeriesTime or the acquisition's are absent"
    if tracer.injected_at is None:
        return "RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime are absent"
    injected = tracer.injected_at
    if not tracer.injected_has_date:  # a time of day: the last one before the scan
        injected = datetime.combine(start.date(), injected.timetz())
    injected, start = _comparable(injected, start)
    if not tracer.injected_has_date and injected > start:
        if injected.year == MINYEAR:
            return "SeriesDate is one that an anonymiser put there"
        injected -= _DAY
    if not timedelta(0) <= start - injected <= _LATEST_START:
        return "the injection is not in the day before the scan (RadiopharmaceuticalStartDateTime)"
    return (start - injected).total_seconds()


def _scan_start(tracers: Sequence[Tracer]) -> datetime | None:
    """To when values are corrected under START: the series' time unless that was set later."""
    acquired = [t.acquired_at for t in tracers if t.acquired_at is not None]
    first = min(acquired, key=lambda t: t.replace(tzinfo=None), default=None)
    series = tracers[0].series_at
    if series is not None and first is not None:
        one, other = _comparable(series, first)
        if one <= other:
            return series
    if tracers[0].scanned_at is not None:  # GE notes it beside a series made later
        return tracers[0].scanned_at
    return first if len(acquired) == len(tracers) else None


def _comparable(one: datetime, other: datetime) -> tuple[datetime, datetime]:
    """Two moments with or without time zones: without, where one of them has none."""
    if (one.tzinfo is None) == (other.tzinfo is None):
        return one, other
    return one.replace(tzinfo=None), other.replace(tzinfo=None)


def _dated(header: pydicom.Dataset, date: str, time: str, zone: str) -> datetime | None:
    day, clock = text_of(header, date).replace(".", ""), text_of(header, time)
    return _moment(day + clock + zone) if day and clock else None


def _moment(text: str) -> datetime | None:
    """A DICOM date and time (PS3.5 6.2, VR DT) of at least hours; None where it is none."""
    match = re.fullmatch(r"(\d{8})(\d\d):?(\d\d)?:?(\d\d)?(\.\d{1,6})?([+-]\d{4})?", text.strip())
    if match is None:
        return None
    day, hour, minute, second, fraction, zone = match.groups()
    try:
        found = datetime.strptime(f"{day}{hour}{minute or '00'}", "%Y%m%d%H%M")
    except ValueError:
        return None
    if found.year == MAXYEAR:  # of an anonymiser; nothing can be added to it
        return None
    found += timedelta(seconds=int(second or 0) + float(fraction or 0))
    if zone:
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
        if offset < _DAY:
            found = found.replace(tzinfo=timezone(-offset if zone[0] == "-" else offset))
    return found


def _positive(dataset: pydicom.Dataset, keyword: str) -> float | None:
    found = numbers_of(dataset, keyword, 1) if text_of(dataset, keyword) else None
    return float(found[0]) if found is not None and found[0] > 0 else None


def _private_text(header: pydicom.Dataset, creator: str, group: int, element: int) -> str:
    try:
        value = header.private_block(group, creator)[element].value
    except PYDICOM_ERRORS:
        return ""
    if isinstance(value, bytes):  # of unknown kind where the file says no VR
        value = value.decode("ascii", "ignore")
    return str(value).strip(" \0")


def _private(header: pydicom.Dataset, creator: str, group: int, element: int) -> float | None:
    try:
        value = float(_private_text(header, creator, group, element))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
