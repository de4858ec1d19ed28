"""Measurement report: the numbers of the CSV, on the segments that they are of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from data.phantom import oblique_geometry, phantom
from tests.dicom_judges import dciodvfy_errors, dcmqi_report, run
from tests.io_files import save_series
from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.evaluation.measurements import measure
from unetr_app.io import read_volume
from unetr_app.io.dicom.report import write_measurement_report
from unetr_app.io.dicom.seg import write_seg
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.volume import Segmentation

GRID = oblique_geometry((20, 24, 16), spacing=(2.0, 2.5, 4.0))


@dataclass
class Written:
    seg: Path
    report: Path
    rows: list[Any]
    series: list[Path]
    truth: Segmentation


def written(folder: Path, modality: str) -> Written:
    series = save_series(folder / "series", GRID, modality=modality)
    volume = read_volume(folder / "series")
    _, truth = phantom(GRID, "mr")
    seg, report = folder / "seg.dcm", folder / "report.dcm"
    write_seg(truth, series, seg)
    rows = measure(truth, volume)
    write_measurement_report(rows, seg, series, GRID, report)
    return Written(seg, report, rows, series, truth)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_dcmqi_reads_the_same_numbers(tmp_path: Path, modality: str) -> None:
    out = written(tmp_path, modality)
    assert dciodvfy_errors(out.report) == []
    groups = dcmqi_report(out.report, tmp_path)["Measurements"]
    seg = pydicom.dcmread(out.seg)
    assert len(groups) == len(out.rows) == 2
    for group, row, segment in zip(groups, out.rows, seg.SegmentSequence, strict=True):
        assert group["ReferencedSegment"] == segment.SegmentNumber
        assert group["TrackingUniqueIdentifier"] == segment.TrackingUID
        assert group["Finding"]["CodeMeaning"] == row.name
        found = {
            item.get("derivationModifier", item["quantity"])["CodeMeaning"]: item
            for item in group["measurementItems"]
        }
        assert float(found["Volume"]["value"]) == pytest.approx(row.millilitres, rel=1e-9)
        assert found["Volume"]["units"]["CodeValue"] == "mL"
        if modality == "CT":
            assert float(found["Mean"]["value"]) == pytest.approx(row.mean, rel=1e-9)
            deviation = float(found["Standard Deviation"]["value"])
            assert deviation == pytest.approx(row.standard_deviation, rel=1e-9)
            assert found["Mean"]["units"]["CodeValue"] == "[hnsf'U]"
        else:
            assert set(found) == {"Volume"}


def test_dcmtk_prints_it_and_the_notice_is_there(tmp_path: Path) -> None:
    out = written(tmp_path, "CT")
    printed = run("dsrdump", out.report)
    assert printed.returncode == 0
    assert RESEARCH_NOTICE in printed.stdout


def test_it_names_the_seg_and_every_source(tmp_path: Path) -> None:
    out = written(tmp_path, "CT")
    report, seg = pydicom.dcmread(out.report), pydicom.dcmread(out.seg)
    assert report.StudyInstanceUID == seg.StudyInstanceUID
    named = {
        instance.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert named == {pydicom.dcmread(p).SOPInstanceUID for p in [out.seg, *out.series]}
    assert report.PatientID == seg.PatientID


def test_a_label_without_voxels_has_no_mean(tmp_path: Path) -> None:
    out = written(tmp_path, "CT")
    empty = Segmentation(out.truth.data * 0, GRID, out.truth.labels)
    write_seg(empty, out.series, tmp_path / "empty.dcm")
    rows = measure(empty, read_volume(tmp_path / "series"))
    write_measurement_report(rows, tmp_path / "empty.dcm", out.series, GRID, tmp_path / "r.dcm")
    groups = dcmqi_report(tmp_path / "r.dcm", tmp_path)["Measurements"]
    for group in groups:
        (volume,) = group["measurementItems"]
        assert float(volume["value"]) == 0


def test_measurements_of_other_labels_are_refused(tmp_path: Path) -> None:
    out = written(tmp_path, "CT")
    other = Segmentation(out.truth.data, GRID, out.truth.labels.completed([9]))
    rows = measure(other, read_volume(tmp_path / "series"))
    with pytest.raises(InvalidRequest, match=r"\[9\]"):
        write_measurement_report(rows, out.seg, out.series, GRID, tmp_path / "r.dcm")
    with pytest.raises(UnreadableInput):
        write_measurement_report(rows, tmp_path / "no.dcm", out.series, GRID, tmp_path / "r.dcm")
    assert not (tmp_path / "r.dcm").exists()
