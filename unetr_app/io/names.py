"""Safe names: file names that every operating system takes, made of names that may be anything."""

from __future__ import annotations

import hashlib
import re
import unicodedata

LONGEST = 80
_FALLBACK = "case"
_HASH_DIGITS = 8

# Names that Windows keeps for devices, whatever ending follows.
_DEVICES = {"con", "prn", "aux", "nul", "conin", "conout", "clock"} | {
    f"{port}{n}" for port in ("com", "lpt") for n in range(10)
}
# Endings of files that stand beside the folders of cases.
_TAKEN_ENDINGS = (".csv", ".json", ".jsonl", ".html", ".lock", ".log", ".txt")


def safe_name(name: str) -> str:
    """A name of letters, digits, ``.``, ``_`` and ``-`` that is safe as a file or folder name.

    It is never empty, holds no ``..``, begins and ends with a letter or digit, is no device name
    of Windows and no longer than 80 characters. Different names may come out the same.

    Args:
        name: Anything.

    Example:
        >>> safe_name("../../Müller, A. (2)")
        'Muller_A._2'
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", plain)
    safe = re.sub(r"\.{2,}", ".", safe)
    safe = re.sub(r"_{2,}", "_", safe).strip("._-")
    if safe.split(".")[0].casefold() in _DEVICES or safe.casefold().endswith(_TAKEN_ENDINGS):
        safe = f"{_FALLBACK}_{safe.replace('.', '_')}"
    if len(safe) > LONGEST:
        safe = f"{safe[: LONGEST - _HASH_DIGITS - 1].rstrip('._-')}-{short_hash(name)}"
    return safe or _FALLBACK


def short_hash(text: str, digits: int = _HASH_DIGITS) -> str:
    """The first hexadecimal digits of the SHA-256 of a text.

    Args:
        text: Anything, undecodable file names included.
        digits: How many, at most 64.

    Example:
        >>> short_hash("1.2.840.10008")
        'f585090a'
    """
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, as JSON may hold
        data = text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).hexdigest()[:digits]
