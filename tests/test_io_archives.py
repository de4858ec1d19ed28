"""Zip archives: the images in them as if unpacked; what could do harm is refused whole (O38)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.io_files import content, save_nifti, save_series, series_values
from unetr_app.cases import find_cases, survey
from unetr_app.io import archives, read_volume
from unetr_app.io.limits import MAX_ARCHIVE_MEMBERS


def zipped(folder: Path, archive: Path, **extra: bytes) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(folder.rglob("*")):
            out.write(path, path.relative_to(folder.parent))
        for name, data in extra.items():
            out.writestr(name, data)
    return archive


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    save_series(tmp_path / "ct", suffix="")
    save_nifti(tmp_path / "ct" / "deep.nii.gz")
    zipped(tmp_path / "ct", root / "scans.zip", readme=b"x")
    return root


def test_members_are_cases_with_the_names_they_have_inside(tree: Path) -> None:
    found = survey(tree)
    by_form = {case.form: case for case in found.cases}
    assert set(by_form) == {"regular", "nifti"}
    assert found.passed_over == 1
    series = by_form["regular"]
    assert np.array_equal(read_volume(series).data[0], series_values())
    assert series.input == str(tree / "scans.zip")
    assert series.names[0].startswith(str(tree / "scans.zip" / "ct" / Path("IM")))
    assert by_form["nifti"].id == "deep"
    assert sorted(os.listdir(tree)) == ["scans.zip"]


def test_ids_are_those_of_the_unpacked_tree_and_the_same_in_every_run(tree: Path) -> None:
    code = ("import sys; from unetr_app.cases import find_cases;"
            "print([c.id for c in find_cases(sys.argv[1])])")  # fmt: skip
    runs = [
        subprocess.run([sys.executable, "-c", code, str(where)], check=True, capture_output=True,
                       text=True).stdout
        for where in (tree, tree, tree.parent / "ct", tree / "scans.zip")
    ]  # fmt: skip
    assert len(set(runs)) == 1


def test_nothing_is_left_behind(tree: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "import sys, os; from unetr_app.cases import find_cases;"
        "assert len(find_cases(sys.argv[1])) == 2;"
        "print(oct(os.stat(os.path.join(sys.argv[2], os.listdir(sys.argv[2])[0])).st_mode))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tree), str(scratch)], check=True, capture_output=True,
        text=True, env={**os.environ, "TMPDIR": str(scratch)},
    )  # fmt: skip
    assert done.stdout.strip().endswith("700")
    assert os.listdir(scratch) == []


def test_a_signal_leaves_nothing_behind(tree: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "import os, signal, sys; from unetr_app.cases import find_cases;"
        "from unetr_app.cli.stopping import StopRequest; stop = StopRequest(); stop.__enter__();"
        "assert len(find_cases(sys.argv[1])) == 2; assert os.listdir(sys.argv[2]);"
        "stop._end_process()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tree), str(scratch)], check=False, capture_output=True,
        text=True, env={**os.environ, "TMPDIR": str(scratch)},
    )  # fmt: skip
    assert "Error" not in done.stderr, done.stderr
    assert os.listdir(scratch) == []


def test_only_what_is_named_zip_is_looked_into(tree: Path) -> None:
    (tree / "scans.zip").rename(tree / "weights.pth")
    found = survey(tree)
    assert found.cases == ()
    assert found.passed_over == 1
    (tree / "weights.pth").rename(tree / "noending")
    assert len(find_cases(tree / "noending")) == 2


def _entry(name: str, mode: int = 0) -> Callable[[Path], None]:
    def add(archive: Path) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        with zipfile.ZipFile(archive, "a") as out:
            out.writestr(info, b"/etc/passwd")

    return add


def _twice(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as out:
        out.writestr("twice", b"a")
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr("twice", b"b")


def _twice_in_other_words(archive: Path) -> None:
    _entry("x/./y")(archive)
    _entry("x//y")(archive)


def _bomb(archive: Path) -> None:
    with (
        zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as out,
        out.open("bomb.nii", "w", force_zip64=True) as member,
    ):
        for _ in range(300):
            member.write(bytes(1 << 20))


def _many(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as out:
        for n in range(41):
            out.writestr(f"{n}", b"")


def _cut(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-100])


def _flip(archive: Path) -> None:
    whole = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        info = max(opened.infolist(), key=lambda i: i.compress_size)
    whole[info.header_offset + 60 + info.compress_size // 2] ^= 0x55
    archive.write_bytes(bytes(whole))


def _lists_nothing(archive: Path) -> None:
    archive.write_bytes(b"PK\x05\x06" + bytes(18) + archive.read_bytes()[:-22])


def _encrypted(archive: Path) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00",
                                      b"PK\x01\x02\x14\x03\x14\x00\x01\x00"))  # fmt: skip


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "slip": (_entry("../../evil.dcm"), "outside itself"),
    "slip in the middle": (_entry("a/../../evil.dcm"), "outside itself"),
    "slip of windows": (_entry("a\\..\\..\\evil.dcm"), "outside itself"),
    "absolute": (_entry("/tmp/evil.dcm"), "outside itself"),
    "drive": (_entry("C:/evil.dcm"), "outside itself"),
    "link": (_entry("link", stat.S_IFLNK | 0o777), "links or devices"),
    "pipe": (_entry("pipe", stat.S_IFIFO | 0o666), "links or devices"),
    "duplicate": (_twice, "two files of one name"),
    "duplicate in other words": (_twice_in_other_words, "two files of one name"),
    "bomb": (_bomb, "times its size"),
    "many": (_many, "more than 40"),
    "cut": (_cut, "damaged"),
    "flipped": (_flip, "damaged"),
    "lists nothing": (_lists_nothing, "damaged"),
    "encrypted": (_encrypted, "encrypted"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused_whole_with_cause_and_cure(
    tree: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm, words = REFUSED[what]
    if what == "many":
        monkeypatch.setattr(archives, "MAX_ARCHIVE_MEMBERS", 40)
    harm(tree / "scans.zip")
    save_nifti(tree / "other.nii")
    before = content(tree.parent)
    scratch = set(Path(tempfile.gettempdir()).glob("unetr-archive-*/*"))
    cases = {case.id: case for case in find_cases(tree)}
    assert cases["other"].problem is None
    problem = cases["scans.zip"].problem
    assert problem is not None
    assert words in str(problem)
    assert problem.cure
    assert content(tree.parent) == before
    assert set(Path(tempfile.gettempdir()).glob("unetr-archive-*/*")) == scratch
    assert MAX_ARCHIVE_MEMBERS == 100_000


def test_a_series_over_two_archives_is_one(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "ct")
    for name, part in (("a", paths[:3]), ("b", paths[3:])):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as out:
            for path in part:
                out.write(path, path.name)
    (found,) = find_cases([tmp_path / "a.zip", tmp_path / "b.zip"])
    assert found.form == "regular"
    assert found.input == str(tmp_path)


@pytest.mark.parametrize("name", ["a\nb.dcm", "x" * 200 + ".dcm", "CON.dcm", "q?.dcm"])
def test_odd_names_of_members_are_read(tmp_path: Path, name: str) -> None:
    paths = save_series(tmp_path / "ct")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for n, path in enumerate(paths):
            out.write(path, f"{n}{name}")
    (found,) = find_cases(tmp_path / "a.zip")
    assert np.array_equal(read_volume(found).data[0], series_values())
