"""Files from the network: continued where they broke off, verified by checksum."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from unetr_app.errors import UnreadableInput, UnwritableOutput

Progress = Callable[[int, int], None]  # bytes done, bytes in all (0 where unknown)

_BLOCK = 1 << 20
_TIMEOUT_S = 30.0
_BROKEN = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


def md5_of(path: Path) -> str:
    """Hex md5 of a file; what MONAI's table of data sets holds. No safeguard against malice."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def download(
    url: str,
    path: Path,
    *,
    md5: str,
    progress: Progress | None = None,
    attempts: int = 5,
    wait_s: float = 2.0,
) -> Path:
    """Fetch a file; what an earlier run left in ``<path>.part`` is kept and continued.

    Args:
        url: Where from; ``http`` or ``https``.
        path: Where to; appears only when whole and verified.
        md5: Expected checksum, hex.
        progress: Called with bytes done and bytes in all.
        attempts: Tries in a row that may bring no further byte before giving up.
        wait_s: Pause after a try that broke off, doubled each time.

    Returns:
        ``path``.

    Raises:
        UnreadableInput: If the server cannot be reached, or what it sent has another checksum.
        UnwritableOutput: If the disk does not take it.
    """
    part = path.with_name(path.name + ".part")
    if path.exists():
        return check_md5(path, md5)
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _continue(url, part, progress):
                break
            why = "the connection closed early"
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise _unreachable(url, f"answered {error.code} {error.reason}") from error
            why = f"answered {error.code} {error.reason}"
        except _BROKEN as error:
            why = str(getattr(error, "reason", error)) or type(error).__name__
        except OSError as error:
            raise UnwritableOutput(
                f"could not be written: {error.strerror}", cure="Free some space.", path=part
            ) from error
        now = part.stat().st_size if part.exists() else 0
        failures = failures + 1 if now <= before else 0
        if failures >= attempts:
            raise _unreachable(url, why)
        time.sleep(wait_s * 2**failures)
    check_md5(part, md5)
    os.replace(part, path)
    return path


def _unreachable(url: str, why: str) -> UnreadableInput:
    return UnreadableInput(
        f"{url} could not be fetched: {why}",
        cure="Run the same command again, it goes on where it stopped; or fetch the file in "
        "another way and give it with --from.",
    )


def _continue(url: str, part: Path, progress: Progress | None) -> bool:
    """Append what is missing to ``part``; is it whole now?"""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        answer = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S
        )
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing after our last byte: whole, or of another file
            return True
        raise
    with answer:
        if not str(answer.headers.get("Content-Range")).startswith(f"bytes {have}-"):
            have = 0  # the server sends the whole file again
        total = have + int(answer.headers.get("Content-Length") or 0)
        with part.open("ab" if have else "wb") as stream:
            while block := answer.read(_BLOCK):
                stream.write(block)
                have += len(block)
                if progress is not None:
                    progress(have, total)
    return have >= total


def check_md5(path: Path, md5: str, *, remove: bool = True) -> Path:
    """Return ``path`` if its checksum is right; else remove it, for it is of no use.

    Args:
        path: The file.
        md5: Expected checksum, hex.
        remove: False leaves a wrong file where it is.

    Raises:
        UnreadableInput: If the checksum differs.
    """
    found = md5_of(path)
    if found == md5.lower():
        return path
    size = path.stat().st_size
    if remove:
        path.unlink()
    raise UnreadableInput(
        f"its {size} bytes have md5 {found}, not {md5}: damaged, or another file"
        + ("; it is removed" if remove else ""),
        cure="Fetch it anew.",
        path=path,
    )
