"""Archive: the images in a zip file, unpacked into a folder that is removed with the process.

Nothing is written before all names and sizes have been looked at. An archive that could write
elsewhere, fill the disk or hold two files of one name is refused as a whole, and so is a damaged
one; what is no image stays packed.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.formats import image_ending, opening, recognise
from unetr_app.io.integrity import open_input
from unetr_app.io.limits import (
    BOMB_BYTES,
    BOMB_RATIO,
    MAX_ARCHIVE_BYTES,
    MAX_ARCHIVE_MEMBERS,
)
from unetr_app.io.names import safe_name, short_hash

_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_HEAD = 4096
_EMPTY = 22  # bytes of an archive of nothing
_CHUNK = 1 << 20
_LONGEST = 100  # characters of a name that is kept as it is
_UNPACK_YOURSELF = "If you trust it, unpack it yourself and give the folder."
_ZIP_ERRORS = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError,
    RuntimeError, ValueError, LookupError, UnicodeError,
)  # fmt: skip
"""What the library raises for damaged archives and for packings that it does not know."""

_unpacked: dict[tuple[str, int, int], tuple[list[Member], int]] = {}
_home: list[tuple[int, str]] = []  # the process that made the folder, and the folder


@dataclass(frozen=True)
class Member:
    """A file of an archive.

    Args:
        path: Where a copy of it lies.
        name: Its name in the archive, with folders.
    """

    path: str
    name: str


def is_archive(path: PathLike, *, named: bool) -> bool:
    """Is it a zip archive to be looked into?

    Documents and weights are zip archives too; inside folders the name must say ``.zip``.

    Raises:
        UnreadableInput: If the file cannot be opened.
    """
    called = os.fspath(path).lower().endswith(".zip")
    return (called or (named and not image_ending(path))) and opening(path, 4) in _MAGIC


def unpack(path: PathLike) -> tuple[list[Member], int]:
    """Copies of the images in an archive, and the number of other files in it.

    Args:
        path: A zip archive; unpacked once, however often it is asked for.

    Raises:
        UnreadableInput: If it is damaged or packed in a way that is not read, too large, or names
            files in a way that is not safe.
    """
    with open_input(path) as file:
        info = os.fstat(file.fileno())
        key = (os.path.realpath(path), info.st_mtime_ns, info.st_size)
        if key in _unpacked and all(os.path.exists(m.path) for m in _unpacked[key][0]):
            return _unpacked[key]
        try:
            with zipfile.ZipFile(file) as archive:
                members = _checked(archive, path, info.st_size)
                _unpacked[key] = _copied(archive, members, path)
        except _ZIP_ERRORS as error:
            raise UnreadableInput(
                "the archive is damaged, encrypted or packed in a way that is not read",
                cure="Copy it again, or unpack it and give the folder.", path=path,
            ) from error  # fmt: skip
        except OSError as error:
            raise UnreadableInput(
                f"the archive could not be unpacked: {error.strerror or 'no reason is given'}",
                cure="Check the disk of the temporary folder (TMPDIR), or unpack it yourself.",
                path=path,
            ) from error
    return _unpacked[key]


def _checked(
    archive: zipfile.ZipFile, path: PathLike, stored: int
) -> list[tuple[zipfile.ZipInfo, str]]:
    """Files of an archive with their names, if all may be unpacked."""
    infos = archive.infolist()
    if not infos and stored > _EMPTY + len(archive.comment):
        raise zipfile.BadZipFile("no file is listed")
    if len(infos) > MAX_ARCHIVE_MEMBERS:
        raise _refused(f"holds {len(infos)} files, more than {MAX_ARCHIVE_MEMBERS}", path)
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename.replace("\\", "/")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or ":" in parts[:1] or "\0" in info.orig_filename:
            raise _refused("names files outside itself", path)
        if parts and len(parts[0]) > 1 and parts[0][1] == ":":
            raise _refused("names files outside itself", path)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused("holds links or devices", path)
        if info.is_dir() or not parts:
            continue
        if info.flag_bits & 1:
            raise _refused("is encrypted", path)
        name = "/".join(parts)
        if name in found:
            raise _refused("holds two files of one name", path)
        found[name] = info
    _check_sizes(sum(info.file_size for info in found.values()), path, stored)
    return [(info, name) for name, info in sorted(found.items())]


def _check_sizes(total: int, path: PathLike, stored: int) -> None:
    if total > BOMB_BYTES and total > stored * BOMB_RATIO:
        raise _refused(f"would unpack to {total} bytes, {total // max(stored, 1)} times its size",
                       path)  # fmt: skip
    if total > MAX_ARCHIVE_BYTES:
        raise _refused(f"would unpack to {total} bytes, more than {MAX_ARCHIVE_BYTES}", path)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if total > free:
        raise UnreadableInput(
            f"the archive unpacks to {total} bytes, and the temporary folder has room for {free}",
            cure="Set TMPDIR to a larger disk, or unpack it yourself and give the folder.",
            path=path,
        )


def _copied(
    archive: zipfile.ZipFile, members: list[tuple[zipfile.ZipInfo, str]], path: PathLike
) -> tuple[list[Member], int]:
    folder = tempfile.mkdtemp(dir=_folder())
    copies: list[Member] = []
    try:
        for info, name in members:
            with archive.open(info) as stream:
                head = stream.read(_HEAD)
                if not image_ending(name) and recognise(head, name) is None:
                    continue
                copy = Path(folder, *map(_plain, name.split("/")))
                copy.parent.mkdir(parents=True, exist_ok=True)
                _write(copy, head, stream)
                copies.append(Member(os.fspath(copy), name))
    except FileExistsError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _refused("holds two files of one name", path) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return copies, len(members) - len(copies)


def _write(copy: Path, head: bytes, rest: IO[bytes]) -> None:
    """A new file; reading to the end compares the checksum."""
    with open(copy, "xb") as out:
        out.write(head)
        shutil.copyfileobj(rest, out, _CHUNK)


def _plain(part: str) -> str:
    """A part of a name that any file system takes."""
    if part.isprintable() and len(part) <= _LONGEST and not set(part) & set('<>:"|?*'):
        return part
    return f"{safe_name(part)[:60]}-{short_hash(part)}{image_ending(part)}"


def _folder() -> str:
    """The folder of this process for what is unpacked; made once, removed at its end."""
    if not _home or _home[0][0] != os.getpid() or not os.path.isdir(_home[0][1]):
        _home[:] = [(os.getpid(), tempfile.mkdtemp(prefix="unetr-archive-"))]
        atexit.register(_remove, *_home[0])
    return _home[0][1]


def remove_unpacked() -> None:
    """Remove what this process has unpacked; for an end that runs nothing registered."""
    if _home:
        _remove(*_home[0])


def _remove(process: int, folder: str) -> None:
    if process == os.getpid():  # a child that was forked leaves it to its parent
        shutil.rmtree(folder, ignore_errors=True)


def _refused(what: str, path: PathLike) -> UnreadableInput:
    return UnreadableInput(f"the archive {what}, so that it is not unpacked",
                           cure=_UNPACK_YOURSELF, path=path)  # fmt: skip
