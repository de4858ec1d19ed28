"""Inputs of a batch: cases of several channels, told apart by what is in which channel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.batch_fakes import FakeCard, FakeSegmenter, body, write_bundle, write_case
from tests.io_files import OBLIQUE, integers, save_nifti
from unetr_app.batch.fingerprint import content_hash
from unetr_app.batch.inputs import find_inputs, input_hash
from unetr_app.batch.runner import run_batch
from unetr_app.io import nifti, read_volume

TWO = ("T1", "FLAIR")


def save_case(folder: Path) -> list[Path]:
    return [save_nifti(folder / f"a_{n:04d}.nii.gz", integers(OBLIQUE.shape, n)) for n in range(2)]


def test_the_bundles_channels_decide_what_is_a_case(tmp_path: Path) -> None:
    save_case(tmp_path)
    out = tmp_path / "out"
    assert [case.id for case in find_inputs([tmp_path], out=out).cases] == ["a_0000", "a_0001"]
    assert [case.id for case in find_inputs([tmp_path], out=out, channels=("MR",)).cases] == [
        "a_0000", "a_0001",
    ]  # fmt: skip
    assert [case.id for case in find_inputs([tmp_path], out=out, channels=TWO).cases] == ["a"]


def test_the_hash_of_a_case_knows_which_channel_is_which(tmp_path: Path) -> None:
    files = save_case(tmp_path)
    (case,) = find_inputs([tmp_path], out=tmp_path / "out", channels=TWO).cases
    moved = replace(case, parts=case.parts[::-1], paths=case.paths[::-1])
    assert input_hash(moved) != input_hash(case)
    assert content_hash(moved.paths) == content_hash(case.paths)
    before = input_hash(case)
    assert input_hash(replace(case, id="b")) == before
    save_nifti(files[1], integers(OBLIQUE.shape, 7))
    assert input_hash(case) != before


def test_the_hash_of_one_image_is_what_it_was(tmp_path: Path) -> None:
    save_case(tmp_path)
    save_nifti(tmp_path / "both.nii", integers((3, 4, 5, 2)))
    for channels in ((), TWO):
        for case in find_inputs([tmp_path], out=tmp_path / "out", channels=channels).cases:
            if len(set(case.parts)) < 2:
                assert input_hash(case) == content_hash(case.paths)


def test_a_batch_of_several_channels_resumes_until_channels_change_places(tmp_path: Path) -> None:
    first = write_case(tmp_path / "a.nii.gz", 1)
    grid = read_volume(first).geometry
    nifti.write(body(2), grid, tmp_path / "b.nii.gz")
    listed, out = tmp_path / "cases.csv", tmp_path / "out"

    def run(row: str) -> list[tuple[str, bool]]:
        listed.write_text(f"case,T1,FLAIR\nx,{row}\n")
        cases = find_inputs([listed], out=out, channels=TWO).cases
        result = run_batch(
            cases, FakeSegmenter(FakeCard(write_bundle(tmp_path / "bundle"))), out=out
        )
        return [(o.status, o.resumed) for o in result]

    assert run("a.nii.gz,b.nii.gz") == [("done", False)]
    assert run("a.nii.gz,b.nii.gz") == [("done", True)]
    assert run("b.nii.gz,a.nii.gz") == [("done", False)]
    assert run("b.nii.gz,a.nii.gz") == [("done", True)]
    assert run("b.nii.gz,absent.nii.gz")[0][0] == "failed"
    assert run("b.nii.gz,a.nii.gz") == [("done", False)]
    assert [path.name for path in out.iterdir() if path.is_dir()] == ["x"]
