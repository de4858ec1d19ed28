"""Log: nothing that was logged is lost, whatever else happens to the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetr_app.errors import InvalidRequest, UnwritableOutput
from unetr_app.review.decision import STATUSES, Decision
from unetr_app.review.log import Log, decision_in


def test_events_come_back_in_order(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    for n in range(3):
        log.append("decided", status="accepted", grade=n)
    assert [event["grade"] for event in log.events()] == [0, 1, 2]
    assert all(event["when"].endswith("+00:00") for event in log.events())
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]


@given(cut=st.integers(1, 300))
def test_a_torn_end_costs_itself_only(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    log = Log(path)
    for n in range(4):
        log.append("decided", status="accepted", comment=f"line {n}")
    whole = path.read_bytes()
    cut = min(cut, len(whole))
    path.write_bytes(whole[:-cut])
    kept = log.events()
    assert kept == [json.loads(line) for line in whole[:-cut].split(b"\n")[: len(kept)]]
    assert len(kept) >= whole[:-cut].count(b"\n")
    log.append("noted")
    assert log.events() == [*kept, log.events()[-1]]


def test_lines_of_others_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'[1]\nnull\n{"no": "event"}\n\xff\xfe\n{"event": "noted"}\n')
    assert [event["event"] for event in Log(path).events()] == ["noted"]


def test_several_processes_append(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from unetr_app.review.log import Log\n"
        "for n in range(40): Log(Path(sys.argv[1])).append('noted', who=sys.argv[2], n=n)"
    )
    path = tmp_path / "log.jsonl"
    children = [subprocess.Popen([sys.executable, "-c", code, str(path), who]) for who in "ab"]
    assert [child.wait(60) for child in children] == [0, 0]
    events = Log(path).events()
    for who in "ab":
        assert [event["n"] for event in events if event["who"] == who] == list(range(40))


def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(UnwritableOutput) as caught:
        Log(tmp_path / "log.jsonl").append("noted")
    assert caught.value.cure


@given(
    st.builds(
        Decision, st.sampled_from(STATUSES), st.booleans(), st.integers(0, 5), st.text(),
        st.text(), st.text(), st.integers(0, 9),
    )
)  # fmt: skip
def test_a_decision_survives_its_way_through_json(decision: Decision) -> None:
    said = {"event": "decided", **json.loads(json.dumps(decision.to_dict()))}
    assert decision_in([said], decision.version) == decision


def test_a_version_after_a_decision_reopens_the_case() -> None:
    accepted = {"event": "decided", "status": "accepted", "grade": 4, "version": 1}
    saved = {"event": "saved", "version": 2, "reviewer": "bert", "when": "now"}
    assert decision_in([accepted]).status == "accepted"
    after = decision_in([accepted, saved])
    assert (after.status, after.version, after.grade, after.reviewer) == ("editing", 2, 4, "bert")
    assert decision_in([accepted], newest=2).status == "editing"  # killed before it was logged


def test_grades_and_statuses_that_are_none_are_refused() -> None:
    for wrong in ({"grade": 6}, {"grade": -1}, {"status": "fine"}):
        with pytest.raises(InvalidRequest):
            Decision(**wrong)  # pyright: ignore
