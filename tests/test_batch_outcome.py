import pytest

from unetr_app.batch.options import BatchOptions
from unetr_app.batch.outcome import BatchResult, Outcome, Problem
from unetr_app.errors import InvalidRequest, UnreadableInput

PROBLEM = Problem("unreadable-input", "a.nii: it is empty", "Copy it again.")


def test_an_outcome_has_an_error_exactly_where_it_failed():
    Outcome("a", "done", "a.nii")
    Outcome("a", "failed", "a.nii", error=PROBLEM)
    with pytest.raises(ValueError, match="exactly where it failed"):
        Outcome("a", "done", "a.nii", error=PROBLEM)
    with pytest.raises(ValueError, match="exactly where it failed"):
        Outcome("a", "failed", "a.nii")
    with pytest.raises(ValueError, match="no outputs"):
        Outcome("a", "failed", "a.nii", outputs=("a/labels.nii.gz",), error=PROBLEM)
    with pytest.raises(ValueError, match="status"):
        Outcome("a", "skipped", "a.nii")  # pyright: ignore


def test_the_problem_of_our_error_keeps_code_cause_and_cure():
    error = UnreadableInput("it is empty", cure="Copy it again.", path="/home/someone/a.nii")
    assert Problem.of(error) == PROBLEM
    assert str(PROBLEM) == "a.nii: it is empty. Copy it again."


def test_the_problem_of_a_foreign_error_repeats_none_of_its_words():
    problem = Problem.of(KeyError("/home/Jane Doe/scan.nii"))
    assert problem.code == "unexpected"
    assert "KeyError" in problem.cause
    assert "Jane" not in str(problem)
    assert "--debug" in problem.cure


def test_running_out_of_memory_has_a_cure():
    problem = Problem.of(MemoryError())
    assert problem.code == "device-memory"
    assert problem.cure


def test_every_input_of_a_result_is_counted_once():
    done = Outcome("a", "done", "a.nii")
    skipped = Outcome("b", "done", "b.nii", resumed=True)
    failed = Outcome("c", "failed", "c.nii", error=PROBLEM)
    result = BatchResult((done, skipped, failed), remaining=("d",))
    assert (result.done, result.skipped, result.failed) == ((done,), (skipped,), (failed,))
    assert result.inputs == 4
    assert list(result) == [done, skipped, failed]
    assert result[1] is skipped
    assert len(result[:2]) == 2
    with pytest.raises(ValueError, match="twice"):
        BatchResult((done,), remaining=("a",))


@pytest.mark.parametrize("jobs", [-1, 65])
def test_jobs_out_of_range_are_refused(jobs: int):
    with pytest.raises(InvalidRequest, match=str(jobs)):
        BatchOptions(jobs=jobs)


def test_labels_are_a_set_whatever_their_order():
    assert BatchOptions(labels=(2, 1, 2)) == BatchOptions(labels=(1, 2))


def test_only_options_that_decide_the_outputs_are_parameters():
    same = BatchOptions(force=True, overwrite=True, jobs=5, debug=True)
    assert same.parameters == BatchOptions().parameters
    for other in (
        BatchOptions(labels=(1,)), BatchOptions(split_labels=True), BatchOptions(preview=False),
    ):  # fmt: skip
        assert other.parameters != BatchOptions().parameters
