"""Archives unpack whole or not at all, and never outside of their folder."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest

from data.unpack import unpack
from unetr_app.errors import UnreadableInput, UnwritableOutput


def make_tar(path, files, *, mode="w", extra=()):
    with tarfile.open(path, mode) as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for entry in extra:
            tar.addfile(entry)
    return path


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bag:
        for name, content in files:
            bag.writestr(name, content)
    return path


GOOD = [("set/dataset.json", b"{}"), ("set/imagesTr/a.nii.gz", b"a" * 5000)]
MAKERS = {
    "tar": make_tar,
    "tar.gz": lambda path, files: make_tar(path, files, mode="w:gz"),
    "zip": make_zip,
}


def link(name, target, kind):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


@pytest.mark.parametrize("kind", MAKERS)
def test_what_was_packed_is_unpacked(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / "x", GOOD)
    (made,) = unpack(archive, tmp_path / "out")
    assert made == tmp_path / "out" / "set"
    assert (made / "imagesTr" / "a.nii.gz").read_bytes() == b"a" * 5000
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["set"]


def test_notes_of_macos_are_left_out(tmp_path):
    archive = make_tar(tmp_path / "x", [*GOOD, ("set/imagesTr/._a.nii.gz", b"note")])
    (made,) = unpack(archive, tmp_path / "out")
    assert [p.name for p in (made / "imagesTr").iterdir()] == ["a.nii.gz"]


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    "name", ["../evil", "set/../../evil", "/tmp/evil", "..\\evil", "C:\\evil", "C:/evil"]
)
def test_nothing_climbs_out(tmp_path, kind, name):
    archive = MAKERS[kind](tmp_path / "x", [*GOOD, (name, b"evil")])
    with pytest.raises(UnreadableInput, match="outside"):
        unpack(archive, tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("*evil*"))
    assert list((tmp_path / "in" / "out").iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    archive = make_tar(tmp_path / "x", GOOD, extra=[link("set/l", "/etc/passwd", kind)])
    with pytest.raises(UnreadableInput, match="link or a device"):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_in_a_zip_is_refused(tmp_path):
    entry = zipfile.ZipInfo("set/l")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = make_zip(tmp_path / "x", [*GOOD, (entry, "/etc/passwd")])
    with pytest.raises(UnreadableInput, match="link or a device"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("again", ["set/dataset.json", "SET/Dataset.JSON"])
def test_a_name_that_comes_twice_is_refused(tmp_path, again):
    archive = make_tar(tmp_path / "x", [*GOOD, (again, b"other")])
    with pytest.raises(UnreadableInput, match="twice"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", MAKERS)
def test_an_archive_that_swells_is_refused(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / "x", [("set/zeros", b"\0" * 3_000_000)])
    with pytest.raises(UnreadableInput, match="more than"):
        unpack(archive, tmp_path / "out", largest_bytes=1_000_000)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", MAKERS)
def test_a_cut_archive_leaves_nothing(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / "x", [*GOOD, ("set/z", bytes(range(256)) * 99)])
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size * 2 // 5])
    with pytest.raises(UnreadableInput):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_no_archive_is_said_so(tmp_path):
    (tmp_path / "x").write_bytes(b"<html>Not found</html>")
    with pytest.raises(UnreadableInput, match="neither a tar nor a zip"):
        unpack(tmp_path / "x", tmp_path / "out")


def test_nothing_there_is_overwritten(tmp_path):
    (tmp_path / "out" / "set").mkdir(parents=True)
    with pytest.raises(UnwritableOutput, match="there already"):
        unpack(make_tar(tmp_path / "x", GOOD), tmp_path / "out")
    assert list((tmp_path / "out" / "set").iterdir()) == []
