from __future__ import annotations

from pathlib import Path

from tests.review_stage import make_output_folder
from unetr_app.review.case_folder import CaseFolder
from unetr_app.review.findings import Findings, note_findings, said_of
from unetr_app.review.statistics import LabelStatistics
from unetr_app.review.survey import survey_case, unsurveyed
from unetr_app.review.unusual import unusual
from unetr_app.review.worklist import open_worklist


def liver(millilitres: float, mean: float = 60.0) -> tuple[LabelStatistics, ...]:
    return (LabelStatistics(1, "liver", (0, 0, 0), 1000, millilitres, mean),)


def findings(volumes, modality="CT", means=None):
    means = means or [60.0 + n for n in range(len(volumes))]
    return {
        f"case {n}": Findings((), None, modality, liver(volume, mean))
        for n, (volume, mean) in enumerate(zip(volumes, means, strict=True))
    }


USUAL = [1400.0, 1450, 1500, 1550, 1600, 1480, 1520, 1430]


def test_one_volume_far_from_the_others_is_told():
    told = unusual(findings([*USUAL, 300.0]))
    assert list(told) == ["case 8"]
    assert "liver" in told["case 8"][0]


def test_seven_cases_say_nothing_of_each_other():
    assert unusual(findings([*USUAL[:6], 300.0])) == {}


def test_intensities_count_for_ct_alone():
    means = [60.0, 61, 62, 63, 64, 65, 66, 67, 900]
    assert list(unusual(findings([*USUAL, 1500.0], means=means))) == ["case 8"]
    assert unusual(findings([*USUAL, 1500.0], "MR", means)) == {}


def test_findings_come_back_as_they_were_kept_and_damage_is_passed_over(tmp_path: Path):
    folder = CaseFolder(tmp_path / "reviews" / "case")
    (row,) = liver(12.5)
    note_findings(folder, {"flags": ["a"], "labels": [said_of(row), {"name": 3}, None, "x"]})
    assert Findings.of(folder) == Findings(("a",), None, "", (row,))


def test_a_survey_measures_every_case_once_and_tells_in_the_rows(tmp_path: Path):
    worklist = open_worklist(make_output_folder(tmp_path, 2))
    assert unsurveyed(worklist) == ["case_1", "case_2"]
    for case_id in unsurveyed(worklist):
        survey_case(worklist, case_id)
    assert unsurveyed(worklist) == []
    rows = worklist.rows()
    assert all(row.is_surveyed for row in rows)
    assert Findings.of(worklist.case_folder("case_1")).labels[0].voxels == 4 * 5 * 3
