"""A file is whole or absent, whatever happens while it is written."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from unetr_app.errors import UnwritableOutput
from unetr_app.io.atomic import replacing, write_bytes, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_file_appears_only_when_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "labels.nii.gz"
    with replacing(path) as part:
        assert part.parent == tmp_path
        assert part.name.endswith(".nii.gz")
        assert part.name.startswith(".")
        part.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == ["labels.nii.gz"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.csv", "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        part.write_text("half" * (1 // 0))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    ("number", "word"),
    [(errno.ENOSPC, "full"), (errno.EDQUOT, "full"), (errno.EFBIG, "full"),
     (errno.EROFS, "allowed"), (errno.EIO, "could not")],
)  # fmt: skip
def test_what_the_system_refuses_is_said_with_a_cure(
    tmp_path: Path, number: int, word: str
) -> None:
    with pytest.raises(UnwritableOutput, match=word) as caught, replacing(tmp_path / "a"):
        raise OSError(number, os.strerror(number))
    assert caught.value.cure
    assert str(tmp_path) not in str(caught.value)
    assert names(tmp_path) == []


def test_a_full_disk_is_reported_and_leaves_no_stub(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    code = textwrap.dedent(f"""
        import resource, signal
        from unetr_app.errors import UnwritableOutput
        from unetr_app.io.atomic import write_bytes
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            write_bytes({str(tmp_path / "big")!r}, bytes(10000))
        except UnwritableOutput as error:
            print(error)
    """)
    assert resource
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "full" in done.stdout
    assert names(tmp_path) == []


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert write_text(tmp_path / "x" / "y" / "a.txt", "é\n").read_bytes() == "é\n".encode()


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = write_text(tmp_path / "outside" / "precious", "old")
    link = tmp_path / "out" / "a.txt"
    link.parent.mkdir()
    link.symlink_to(outside)
    write_text(link, "new")
    assert outside.read_text() == "old"
    assert link.read_text() == "new"
    assert not link.is_symlink()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such permissions there")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = write_bytes(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
def test_the_next_writer_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "labels.nii.gz"
    code = textwrap.dedent(f"""
        import os, signal
        from unetr_app.io.atomic import replacing
        with replacing({str(path)!r}) as part:
            part.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    subprocess.run([sys.executable, "-c", code], check=False)
    assert [n for n in names(tmp_path) if n.startswith(".")]
    assert not path.exists()
    write_bytes(path, b"whole")
    assert names(tmp_path) == ["labels.nii.gz"]


def test_two_writers_of_one_name_do_not_touch_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.json"]


def test_json_is_strict(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"ml": 2.5, "name": "Größe"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"ml": 2.5, "name": "Größe"}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"ml": float("nan")})
    assert names(tmp_path) == ["a.json"]
