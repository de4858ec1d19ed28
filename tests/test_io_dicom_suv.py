"""PET: values become SUV by body weight where the tags allow, and say which tag forbids it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.io_files import OBLIQUE, integers, save_series
from unetr_app.io import read_volume
from unetr_app.io.dicom.suv import CONVERTED

HALF_LIFE = 6586.2
DOSE = 370e6
WEIGHT = 70.0
STORED = integers(OBLIQUE.shape).astype(np.float32)

GOOD: dict[str, Any] = {
    "Modality": "PT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128", "Units": "BQML",
    "DecayCorrection": "START", "CorrectedImage": ["DECY", "ATTN", "SCAT"],
    "PatientWeight": str(WEIGHT),
    "SeriesDate": "20200102", "SeriesTime": "100000",
    "AcquisitionDate": "20200102", "AcquisitionTime": "100000.50",
    "Start": "090000", "Dose": str(DOSE), "HalfLife": str(HALF_LIFE), "StartDateTime": None,
}  # fmt: skip
ONE_HOUR = WEIGHT * 1000 / (DOSE * 2 ** (-3600 / HALF_LIFE))


def _pet(folder: Path, **changes: Any) -> Path:
    tags = {**GOOD, **changes}
    drug = Dataset()
    for keyword, name in (("RadiopharmaceuticalStartTime", "Start"),
                          ("RadionuclideTotalDose", "Dose"),
                          ("RadionuclideHalfLife", "HalfLife"),
                          ("RadiopharmaceuticalStartDateTime", "StartDateTime")):  # fmt: skip
        value = tags.pop(name)
        if value is not None:
            setattr(drug, keyword, value)
    philips, ge = tags.pop("philips", None), tags.pop("ge", None)
    for path in save_series(folder, modality="MR"):
        dataset = pydicom.dcmread(path)
        for keyword, value in tags.items():
            if value is None:
                dataset.pop(keyword, None)
            else:
                setattr(dataset, keyword, value)
        dataset.RadiopharmaceuticalInformationSequence = Sequence([drug])
        if philips is not None:
            block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
            block.add_new(0x00, "DS", philips)
        if ge is not None:
            dataset.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", ge)
        dataset.save_as(path)
    return folder


def _factor(folder: Path) -> float:
    volume = read_volume(folder)
    assert volume.warnings == (CONVERTED,)
    ratio = volume.data[0][STORED > 0] / STORED[STORED > 0]
    assert np.allclose(ratio, ratio[0], rtol=1e-6)
    return float(ratio[0])


CONVERTS: dict[str, tuple[dict[str, Any], float]] = {
    "the usual": ({}, ONE_HOUR),
    "over midnight, times alone": (
        {"SeriesTime": "003000", "AcquisitionTime": "003001", "Start": "233000"}, ONE_HOUR),
    "over midnight, with dates": (
        {"SeriesTime": "003000", "AcquisitionTime": "003001",
         "StartDateTime": "20200101233000.00", "Start": "010000"}, ONE_HOUR),
    "a date and time goes before a time": ({"StartDateTime": "20200102090000",
                                            "Start": "080000"}, ONE_HOUR),
    "a time zone": ({"StartDateTime": "20200102100000+0100", "TimezoneOffsetFromUTC": "+0000"},
                    ONE_HOUR),
    "the series saved later": ({"SeriesTime": "150000", "AcquisitionTime": "100000"}, ONE_HOUR),
    "GE notes the scan": ({"SeriesTime": "150000", "AcquisitionTime": "101000",
                           "ge": "20200102100000.00"}, ONE_HOUR),
    "no series time": ({"SeriesTime": None, "AcquisitionTime": "100000"}, ONE_HOUR),
    "corrected to injection": ({"DecayCorrection": "ADMIN", "HalfLife": None, "Start": None},
                               WEIGHT * 1000 / DOSE),
    "Philips counts": ({"Units": "CNTS", "philips": "0.00042", "Dose": None}, 0.00042),
    "SUV already": ({"Units": "GML", "PatientWeight": None}, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("what", CONVERTS)
def test_values_become_suv(tmp_path: Path, what: str) -> None:
    changes, expected = CONVERTS[what]
    assert np.isclose(_factor(_pet(tmp_path, **changes)), expected, rtol=1e-6)


STAYS: dict[str, tuple[dict[str, Any], str]] = {
    "no weight": ({"PatientWeight": None}, "PatientWeight"),
    "weight 0": ({"PatientWeight": "0"}, "PatientWeight"),
    "no dose": ({"Dose": None}, "RadionuclideTotalDose"),
    "no half-life": ({"HalfLife": None}, "RadionuclideHalfLife"),
    "no injection": ({"Start": None}, "RadiopharmaceuticalStartTime"),
    "no units": ({"Units": None}, "Units is absent"),
    "other units": ({"Units": "PROPCNTS"}, "Units"),
    "counts without a factor": ({"Units": "CNTS"}, "7053,1000"),
    "no decay correction": ({"DecayCorrection": "NONE"}, "DecayCorrection"),
    "corrections unknown": ({"CorrectedImage": None}, "CorrectedImage"),
    "no attenuation correction": ({"CorrectedImage": ["DECY"]}, "CorrectedImage"),
    "lean body mass": ({"Units": "GML", "SUVType": "LBM"}, "SUVType"),
    "injected a week before": ({"StartDateTime": "20191226090000"}, "StartDateTime"),
    "injected after": ({"StartDateTime": "20200102110000"}, "StartDateTime"),
    "no times": ({"SeriesTime": None, "AcquisitionTime": None}, "SeriesTime"),
}  # fmt: skip


@pytest.mark.parametrize("what", STAYS)
def test_values_stay_and_the_tag_is_named(tmp_path: Path, what: str) -> None:
    changes, words = STAYS[what]
    volume = read_volume(_pet(tmp_path, **changes))
    assert np.array_equal(volume.data[0], STORED)
    (warning,) = volume.warnings
    assert "not converted" in warning
    assert words in warning
    assert not any(text in warning for text in ("370", "0900", "2020"))  # the patient's


@settings(max_examples=15, deadline=None)
@given(hours=st.floats(0.1, 20), start=st.integers(0, 86399))
def test_decay_is_counted_whatever_the_time_of_day(
    tmp_path_factory: pytest.TempPathFactory, hours: float, start: int
) -> None:
    seconds = round(hours * 3600)
    scan = start + seconds

    def clock(at: int) -> str:
        return f"{at // 3600 % 24:02d}{at // 60 % 60:02d}{at % 60:02d}"

    day = "20200103" if scan >= 86400 else "20200102"
    folder = _pet(tmp_path_factory.mktemp("pet"), SeriesDate=day, AcquisitionDate=day,
                  SeriesTime=clock(scan), AcquisitionTime=clock(scan) + ".5",
                  Start=clock(start))  # fmt: skip
    expected = WEIGHT * 1000 / (DOSE * 2 ** (-seconds / HALF_LIFE))
    assert np.isclose(_factor(folder), expected, rtol=1e-6)


def test_rubbish_in_its_tags_is_no_error(tmp_path: Path) -> None:
    folder = _pet(tmp_path)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        drug = Dataset()
        for keyword in ("RadionuclideTotalDose", "RadionuclideHalfLife",
                        "RadiopharmaceuticalStartTime"):  # fmt: skip
            drug.add_new(keyword, "LO", "rubbish")
        dataset.RadiopharmaceuticalInformationSequence = Sequence([drug])
        dataset.save_as(path)
    assert any("RadionuclideTotalDose" in w for w in read_volume(folder).warnings)


def test_dates_of_anonymisers_are_no_error(tmp_path: Path) -> None:
    for date in ("00010101", "99991231"):
        folder = _pet(tmp_path / date)
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.SeriesDate = dataset.AcquisitionDate = dataset.StudyDate = date
            dataset.save_as(path)
        assert read_volume(folder).data.any()
