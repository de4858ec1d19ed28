"""Trust: which folders the user has allowed to run their configs.

A config is a program. A folder that does not ship with the package is asked about once, and again
when anything in it that could run has changed; its weights do not matter.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unetr_app.bundle.folders import PathLike, bundle_folders, find_bundle
from unetr_app.checksum import sha256_of
from unetr_app.errors import InvalidRequest
from unetr_app.io.atomic import write_json

_FILE = "trusted-bundles.json"
_PROGRAMS = (".py", ".pyc", ".pyd", ".so", ".dylib", ".dll")
_CACHED = re.compile(r"\.[a-z]+-\d+(\.opt-\w+)?\.pyc$")  # no module has such a name


def is_trusted(name_or_dir: PathLike) -> bool:
    """May the configs of a bundle be run? Yes if it ships with us, or was trusted as it is now.

    Raises:
        InvalidRequest: If there is no such bundle.
    """
    found = folder_hash(find_bundle(name_or_dir))
    return found in _remembered() or found in {folder_hash(p) for p in bundle_folders()}


def trust(name_or_dir: PathLike) -> None:
    """Remember that the configs of a bundle may be run, as they are now.

    Raises:
        InvalidRequest: If there is no such bundle.
        UnwritableOutput: If the user's folder of settings cannot be written to.
    """
    folder = find_bundle(name_or_dir).resolve()
    write_json(settings_folder() / _FILE, _remembered() | {folder_hash(folder): folder.name})


def require_trusted(name_or_dir: PathLike) -> None:
    """Refuse a bundle that is not trusted.

    Raises:
        InvalidRequest: If there is no such bundle, or its configs may not be run.
    """
    if not is_trusted(name_or_dir):
        raise InvalidRequest(
            f"the bundle {find_bundle(name_or_dir).resolve().name} is not trusted yet: its configs "
            "are programs, which would run as you",
            cure="Look at its configs, then add --trust.",
        )


def settings_folder() -> Path:
    """Where the user's settings are: ``UNETR_CONFIG``, else the operating system's place."""
    if named := os.environ.get("UNETR_CONFIG"):
        return Path(named)
    if sys.platform == "win32" and (roaming := os.environ.get("APPDATA")):
        return Path(roaming) / "unetr-app"
    return Path.home() / ".config" / "unetr-app"


def folder_hash(folder: Path) -> str:
    """SHA-256 in hexadecimal over names and bytes of all that could run.

    These are all files of ``configs`` and ``scripts``, and programs anywhere in the folder.
    """
    total = hashlib.sha256()
    for name, path in sorted((p.relative_to(folder).as_posix(), p) for p in _runnable(folder)):
        total.update(json.dumps([name, sha256_of(path)]).encode())
    return total.hexdigest()


def _runnable(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        below = Path(place).relative_to(folder).parts
        is_all = bool(below) and below[0] in ("configs", "scripts")
        for name in names:
            path = Path(place) / name
            runs = is_all or path.suffix.lower() in _PROGRAMS
            if runs and path.is_file() and not (below[-1:] == ("__pycache__",) and _cached(name)):
                yield path


def _cached(name: str) -> bool:
    """Is it a compiled copy? They are not read while a bundle is built."""
    return _CACHED.search(name) is not None


def _remembered() -> dict[str, Any]:
    try:
        found: Any = json.loads((settings_folder() / _FILE).read_text(encoding="utf-8"))
        return dict(found.items())
    except (OSError, ValueError, AttributeError):  # not there, or damaged
        return {}
