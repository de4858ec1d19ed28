"""Hostile trees: passed over with a word or refused in words, never hung on, never lost."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.io_files import save_nifti
from unetr_app.cases import find_cases, survey
from unetr_app.errors import InvalidRequest
from unetr_app.io.files import find_files

posix = pytest.mark.skipif(os.name != "posix", reason="needs the file system of a Unix")


@posix
def test_pipes_sockets_and_devices_are_passed_over_and_counted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        (tmp_path / "null").symlink_to("/dev/null")
        (tmp_path / "zero.nii").symlink_to("/dev/zero")
        save_nifti(tmp_path / "a.nii")
        found = survey(tmp_path)
    assert [case.id for case in found.cases] == ["a"]
    assert found.passed_over == 4
    with pytest.raises(InvalidRequest, match=r"pipe\.dcm: is a pipe, a socket or a device"):
        survey(tmp_path / "pipe.dcm")


@posix
def test_links_that_go_round_are_entered_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    save_nifti(tmp_path / "a" / "b" / "one.nii")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "nowhere.nii").symlink_to(tmp_path / "gone")
    found = survey(tmp_path)
    assert {case.id: case.problem is None for case in found.cases} == {
        "one": True, "nowhere": False,
    }  # fmt: skip
    assert found.passed_over == 1


@posix
def test_a_tree_deeper_than_names_can_say_is_said(tmp_path: Path) -> None:
    save_nifti(tmp_path / "a.nii")
    top = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(60):  # 60 x 101 characters, where a path has 4096 at most
            os.mkdir("d" * 100)
            os.chdir("d" * 100)
        found = survey(tmp_path)
    finally:
        os.chdir(top)
        _remove_deep(tmp_path / ("d" * 100))
    closed = [case for case in found.cases if case.problem is not None]
    assert [case.id for case in found.cases if case.problem is None] == ["a"]
    assert len(closed) == 1
    assert "cannot be opened" in str(closed[0].problem)
    assert "too deep" in str(closed[0].problem)


def _remove_deep(folder: Path) -> None:
    """Folder by folder from above, which needs no long names."""
    while folder.exists():
        inner = folder / folder.name
        kept = folder.with_name("kept")
        if inner.exists():
            inner.rename(kept)
            folder.rmdir()
            kept.rename(folder)
        else:
            folder.rmdir()


@posix
def test_names_with_newlines_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    save_nifti(tmp_path / "a\nb.nii")
    raw = os.fsencode(tmp_path) + b"/\xff\xfe.nii"
    shutil.copy(tmp_path / "a\nb.nii", raw)
    found = find_cases(tmp_path)
    assert len(found) == 2
    assert all(case.problem is None and case.id.isascii() for case in found)
    assert all("\n" not in case.id for case in found)


@posix
def test_a_folder_that_may_not_be_listed_is_a_case_with_a_problem(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read all")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        (found,) = find_cases(tmp_path)
    finally:
        closed.chmod(0o700)
    assert "cannot be opened" in str(found.problem)


def test_a_file_is_found_once_by_whatever_name(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii")
    (found,) = find_files([tmp_path, path])
    assert found.named
    assert found.real == os.path.realpath(path)
