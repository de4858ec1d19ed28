"""Secondary capture: the picture, pixel for pixel, in the study of its source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image

from tests.dicom_judges import dciodvfy_errors
from tests.io_files import edit_dicom, save_series
from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.io.dicom.capture import write_capture
from unetr_app.notice import RESEARCH_NOTICE

PICTURE = np.random.default_rng(0).integers(0, 256, (31, 33, 3), np.uint8)  # an odd number of bytes


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    return save_series(tmp_path / "series")


@pytest.mark.parametrize("as_file", [False, True])
def test_the_picture_comes_back(tmp_path: Path, series: list[Path], as_file: bool) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "picture.png")
    given = tmp_path / "picture.png" if as_file else PICTURE
    write_capture(given, series, tmp_path / "capture.dcm")
    assert dciodvfy_errors(tmp_path / "capture.dcm") == []
    image = sitk.ReadImage(str(tmp_path / "capture.dcm"))
    assert np.array_equal(sitk.GetArrayFromImage(image)[0], PICTURE)
    capture, first = pydicom.dcmread(tmp_path / "capture.dcm"), pydicom.dcmread(series[0])
    assert capture.StudyInstanceUID == first.StudyInstanceUID
    assert capture.PatientID == first.PatientID
    assert capture.SeriesInstanceUID != first.SeriesInstanceUID
    assert capture.BurnedInAnnotation == "NO"
    assert RESEARCH_NOTICE in capture.SeriesDescription
    named = [item.ReferencedSOPInstanceUID for item in capture.SourceImageSequence]
    assert named == [pydicom.dcmread(p).SOPInstanceUID for p in series]


def test_what_is_no_picture_is_refused(tmp_path: Path, series: list[Path]) -> None:
    out = tmp_path / "capture.dcm"
    (tmp_path / "no.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(UnreadableInput, match="no picture"):
        write_capture(tmp_path / "no.png", series, out)
    with pytest.raises(UnreadableInput):
        write_capture(tmp_path / "absent.png", series, out)
    with pytest.raises(InvalidRequest, match="not RGB"):
        write_capture(PICTURE[..., 0], series, out)
    with pytest.raises(InvalidRequest, match="no source"):
        write_capture(PICTURE, [], out)
    edit_dicom(series[0], StudyInstanceUID=None)
    with pytest.raises(UnreadableInput, match="StudyInstanceUID"):
        write_capture(PICTURE, series, out)
    assert not out.exists()
