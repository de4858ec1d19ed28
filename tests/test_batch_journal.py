from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetr_app.batch.journal import Journal, Row
from unetr_app.batch.outcome import Outcome, Problem
from unetr_app.errors import UnwritableOutput


def row(case_id: str, *, seconds: float = 1.0) -> Row:
    outcome = Outcome(case_id, "done", f"in/{case_id}.nii", (f"{case_id}/labels.nii.gz",), seconds)
    return Row(outcome, f"../in/{case_id}.nii", "aa", {"name": "b"}, {"labels": "all"}, key="k")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path, tmp_path / ".working/manifest.lock")


words = st.text(max_size=20)


@given(
    words, words, st.lists(words, max_size=3), st.floats(0, 1e6),
    st.none() | st.builds(Problem, words, words, words),
)  # fmt: skip
def test_a_row_read_back_is_the_row_written(
    case_id: str, source: str, names: list[str], seconds: float, error: Problem | None
):
    status = "done" if error is None else "failed"
    outputs = tuple(names) if error is None else ()
    outcome = Outcome(case_id, status, source, outputs, seconds, 3.5, tuple(names), error)
    written = Row(outcome, source, "aa", {"name": "b"}, {"labels": [1]}, {"x": "y"}, "key", True)
    line = written.to_json()
    assert "\n" not in line
    assert Row.from_json(line) == written


@pytest.mark.parametrize("line", ["", "{", "null", "[]", "3", '{"case_id": "a"}', "\x00" * 9])
def test_a_line_that_is_no_row_is_passed_over(line: str):
    assert Row.from_json(line) is None


def test_the_newest_row_of_a_case_counts(journal: Journal):
    for seconds in (1.0, 2.0, 3.0):
        journal.append(row("a", seconds=seconds))
    journal.append(row("b"))
    assert {name: r.outcome.seconds for name, r in journal.rows().items()} == {"a": 3.0, "b": 1.0}


def test_a_torn_last_line_spoils_neither_the_rows_before_nor_the_next(journal: Journal):
    journal.append(row("a"))
    whole = journal.path.read_bytes()
    torn = row("b").to_json().encode()
    for cut in (1, 2, 17, len(torn) // 2, len(torn) - 1):
        journal.path.write_bytes(whole + torn[:cut])
        assert set(journal.rows()) == {"a"}
        journal.append(row("c"))
        assert set(journal.rows()) == {"a", "c"}


def test_compacting_leaves_one_row_a_case_in_order(journal: Journal):
    for case_id in "bab":
        journal.append(row(case_id))
    journal.append(row("b", seconds=9.0))
    heard: list[list[str]] = []
    journal.compact(lambda rows: heard.append(list(rows)))
    assert heard == [["a", "b"]]
    lines = journal.path.read_text().splitlines()
    assert [Row.from_json(line) for line in lines] == [row("a"), row("b", seconds=9.0)]


def test_rows_of_another_journal_are_seen_after_compaction_too(tmp_path: Path, journal: Journal):
    other = Journal(tmp_path, tmp_path / ".working/manifest.lock")
    for n in range(5):
        other.append(row("a", seconds=n))
        assert journal.rows()["a"].outcome.seconds == n
        journal.compact(lambda rows: None)
        assert other.rows() == journal.rows()


def test_there_is_nothing_in_a_missing_manifest(journal: Journal):
    assert journal.rows() == {}
    journal.compact(lambda rows: None)
    assert not journal.path.exists()


def test_a_manifest_that_cannot_be_written_is_our_error(journal: Journal):
    journal.path.mkdir()
    with pytest.raises(UnwritableOutput, match=r"manifest.jsonl"):
        journal.append(row("a"))
    with pytest.raises(UnwritableOutput, match=r"manifest.jsonl"):
        journal.rows()
