"""Unpacking of archives that come from others: whole or not at all, and never outside."""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from unetr_app.errors import UnreadableInput, UnwritableOutput

_BLOCK = 1 << 20
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)


@dataclass(frozen=True)
class _Member:
    """One file in an archive: its stated name and size, what it is, and how to read it."""

    name: str
    size: int
    is_plain: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, *, largest_bytes: int = 200 << 30) -> list[Path]:
    """Unpack a tar (any compression) or zip file.

    Args:
        archive: The file; its kind is found from its content.
        folder: Made where absent; what the archive holds at its top appears in it.
        largest_bytes: Refuse an archive that unpacks to more.

    Returns:
        The new entries of ``folder``.

    Raises:
        UnreadableInput: If it is no archive, is damaged or too large, or a member is absolute,
            climbs out of the folder, comes twice, or is no plain file (links, devices).
        UnwritableOutput: If one of its top entries is there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder) as scratch:
        if tarfile.is_tarfile(archive):
            with _named_damage(archive), tarfile.open(archive) as tar:
                _write_all(_tar_members(tar), Path(scratch), archive, largest_bytes)
        elif zipfile.is_zipfile(archive):
            with _named_damage(archive), zipfile.ZipFile(archive) as bag:
                _write_all(_zip_members(bag), Path(scratch), archive, largest_bytes)
        else:
            raise UnreadableInput("this is neither a tar nor a zip file", path=archive)
        entries = sorted(Path(scratch).iterdir())
        for entry in entries:
            if (folder / entry.name).exists():
                raise UnwritableOutput(
                    "it is there already", cure="Move it away first.", path=folder / entry.name
                )
        return [entry.rename(folder / entry.name) for entry in entries]


@contextmanager
def _named_damage(archive: Path) -> Iterator[None]:
    """Turns the libraries' complaints about a damaged archive or a full disk into ours."""
    try:
        yield
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UnwritableOutput(
                f"could not be unpacked: {error.strerror}",
                cure="See that the folder can be written and has space.",
                path=archive,
            ) from error
        raise UnreadableInput(
            f"the archive is damaged: {error}", cure="Fetch it anew.", path=archive
        ) from error


def _tar_members(tar: tarfile.TarFile) -> Iterable[_Member]:
    for entry in tar:
        if not entry.isdir():
            yield _Member(entry.name, entry.size, entry.isreg(), lambda e=entry: tar.extractfile(e))


def _zip_members(bag: zipfile.ZipFile) -> Iterable[_Member]:
    for entry in bag.infolist():
        if not entry.is_dir():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            is_plain = kind in (0, stat.S_IFREG)
            yield _Member(entry.filename, entry.file_size, is_plain, lambda e=entry: bag.open(e))


def _write_all(members: Iterable[_Member], folder: Path, archive: Path, largest_bytes: int) -> None:
    left = largest_bytes
    seen: set[str] = set()
    for member in members:
        target = _target(member, archive)
        if target.name.startswith("._"):  # macOS keeps its own notes in such files
            continue
        key = str(target).casefold()
        if key in seen:
            raise UnreadableInput(f"the archive holds {member.name!r} twice", path=archive)
        seen.add(key)
        stream = member.open()
        if stream is None or member.size > left:
            raise UnreadableInput(
                f"the archive unpacks to more than {largest_bytes} bytes", path=archive
            )
        left -= _write(stream, folder / target, left, archive)


def _target(member: _Member, archive: Path) -> PurePosixPath:
    name = member.name.replace("\\", "/")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name or not path.parts:
        raise UnreadableInput(
            f"the archive holds {member.name!r}, which lies outside of its folder",
            cure="Nothing was unpacked; do not use this archive.",
            path=archive,
        )
    if not member.is_plain:
        raise UnreadableInput(
            f"the archive holds {member.name!r}, which is a link or a device",
            cure="Nothing was unpacked; do not use this archive.",
            path=archive,
        )
    return path


def _write(stream: IO[bytes], path: Path, most: int, archive: Path) -> int:
    """Copy a member out; the number of bytes, which may be other than stated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with stream, path.open("xb") as target:
        while block := stream.read(_BLOCK):
            written += len(block)
            if written > most:
                raise UnreadableInput("the archive unpacks to more than allowed", path=archive)
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    return written
