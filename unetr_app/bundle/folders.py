"""Folders: where bundles are, those that ship with the package and others."""

from __future__ import annotations

import importlib.resources
import os
from difflib import get_close_matches
from pathlib import Path

from unetr_app.errors import InvalidRequest

PathLike = str | os.PathLike[str]

METADATA = Path("configs/metadata.json")


def bundle_folders() -> list[Path]:
    """The folders that ship with the package, in order of name."""
    package = Path(str(importlib.resources.files("unetr_app")))
    for root in (package / "_bundles", package.parent / "bundles"):
        found = sorted(p.parent.parent for p in root.glob(f"*/{METADATA.as_posix()}"))
        if found:
            return found
    return []


def find_bundle(name_or_dir: PathLike) -> Path:
    """The folder of a bundle, by its name or by its path.

    Raises:
        InvalidRequest: If there is none; the message lists what there is.
    """
    folder = Path(name_or_dir)
    if (folder / METADATA).is_file():
        return folder
    shipped = {p.name: p for p in bundle_folders()}
    name = os.fspath(name_or_dir)
    if name in shipped:
        return shipped[name]
    if folder.is_dir():
        raise InvalidRequest(
            f"the folder holds no {METADATA.as_posix()}, so it is no bundle", path=folder
        )
    close = get_close_matches(name, shipped, n=1, cutoff=0.4)
    guess = f"Did you mean {close[0]}? " if close else ""
    raise InvalidRequest(
        f"there is no bundle {name!r}", cure=f"{guess}There are: {', '.join(shipped)}."
    )
