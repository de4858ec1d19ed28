"""Versions: what was saved of one case; a new one never touches those before it.

::

    versions/0001/
    ├── labels.nii.gz     the label map; a folder labels/ of masks where labels overlap
    ├── labels.json       what the values are called, as `unetr convert` writes it
    └── version.json      written last
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from unetr_app.batch.formats import split_names, write_split_labels
from unetr_app.errors import UnetrError, UnreadableInput, UnsafeGeometry, UnwritableOutput
from unetr_app.geometry import Geometry
from unetr_app.io import read_label_map, write_json, write_segmentation
from unetr_app.outputs import LABEL_MAP, SPLIT_LABELS
from unetr_app.review.editing.journal import base_hash
from unetr_app.review.stamps import read_object
from unetr_app.review.version import Version
from unetr_app.volume import Segmentation

_FILE, _TABLE = "version.json", "labels.json"
_NAME = re.compile(r"\d{4}|[1-9]\d{4,}", re.ASCII)
_PART = re.compile(r"\.\d{4,}-[0-9a-f]{8}\.part", re.ASCII)
_TRIES = 1000


class Versions:
    """The versions of one case.

    Args:
        folder: ``versions``; it need not exist.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def numbers(self) -> list[int]:
        """Numbers that are taken, ascending; damaged versions are among them."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return []
        return sorted(int(name) for name in names if _NAME.fullmatch(name))

    def all(self) -> list[Version]:
        """The versions whose description can be read, oldest first."""
        return [
            found for number in self.numbers() if isinstance(found := self.get(number), Version)
        ]

    def get(self, number: int) -> Version | UnetrError:
        """The description of a version, or why it cannot be read."""
        folder = self._path(number)
        found = read_object(folder / _FILE)
        try:
            version = Version.from_dict(found, folder)
            if version.number == number:
                return version
        except (UnetrError, KeyError, TypeError, ValueError, OverflowError, AttributeError):
            pass
        return UnreadableInput(
            f"version {number} is damaged: its {_FILE} is missing or says something else",
            cure="Restore it from a backup, or go on with another version.", path=folder,
        )  # fmt: skip

    def read(self, version: Version, grid: Geometry) -> Segmentation:
        """The labels of a version.

        Args:
            version: One of `all`.
            grid: Of the prediction (and image) that are there now.

        Raises:
            UnreadableInput: If its files are missing, damaged, or not what was saved.
            UnsafeGeometry: If it lies on another grid.
        """
        try:
            found = _read_files(version)
        except UnetrError as problem:
            raise UnreadableInput(
                f"version {version.number} is damaged: {problem.what}",
                cure="Restore it from a backup, or go on with another version.",
                path=version.folder,
            ) from problem
        if base_hash(found.data) != version.labels_hash:
            raise UnreadableInput(
                f"version {version.number} is damaged: its labels are not those that were saved",
                cure="Restore it from a backup, or go on with another version.",
                path=version.folder,
            )
        if not found.geometry.is_close(grid):
            raise UnsafeGeometry(
                f"version {version.number} was made on a grid of {found.geometry.shape} voxels, "
                f"which is not the grid of {grid.shape} voxels that is there now",
                cure="Put the image and prediction back that it was made on, or review anew.",
                path=version.folder,
            )
        return found.described(geometry=grid)

    def add(self, segmentation: Segmentation, version: Version, *, after: int = 0) -> Version:
        """Save a version, whole or not at all, under the next free number.

        Args:
            segmentation: Its labels.
            version: Its description; number and folder are set here.
            after: A number that was given before, though its version may be gone.

        Returns:
            The description with its number and folder.

        Raises:
            UnwritableOutput: If it cannot be written; nothing is left of it.
        """
        staging: Path | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for _ in range(_TRIES):
                number = max([after, *self.numbers()]) + 1
                numbered = replace(version, number=number, folder=self._path(number))
                if staging is None:
                    staging = self._folder / f".{number:04d}-{secrets.token_hex(4)}.part"
                    staging.mkdir()
                    _write_labels(segmentation, staging)
                write_json(staging / _FILE, numbered.to_dict())
                if _put(staging, numbered.folder):
                    staging = None
                    return numbered
            raise UnwritableOutput("other processes took every number", path=self._folder)
        except OSError as error:
            raise UnwritableOutput(
                f"the version cannot be saved: {error.strerror or type(error).__name__}",
                cure="Free some space, or check that you may write there; edits are kept.",
                path=self._folder,
            ) from error
        finally:
            if staging is not None:
                shutil.rmtree(staging, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what a killed process left half-written; only while the case's lock is held."""
        with suppress(OSError):
            for name in os.listdir(self._folder):
                if _PART.fullmatch(name):
                    shutil.rmtree(self._folder / name, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:04d}"


def newest_whole(
    versions: Versions, grid: Geometry
) -> Iterator[tuple[Version, Segmentation] | UnetrError]:
    """From the newest version back: problems of those that cannot be used, then one that can."""
    for number in reversed(versions.numbers()):
        found = versions.get(number)
        try:
            if not isinstance(found, Version):
                raise found
            yield found, versions.read(found, grid)
            return
        except UnetrError as problem:
            yield problem


def _read_files(version: Version) -> Segmentation:
    if not version.is_overlapping:
        return read_label_map(version.folder / LABEL_MAP, version.labels)
    masks = version.folder / SPLIT_LABELS
    parts = [read_label_map(masks / f"{name}.nii.gz") for name in split_names(version.labels)]
    data = np.stack([part.data != 0 for part in parts])
    return Segmentation(data, parts[0].geometry, version.labels)


def _write_labels(segmentation: Segmentation, folder: Path) -> None:
    if segmentation.is_overlapping:
        write_split_labels(segmentation, folder / SPLIT_LABELS)
        return
    write_segmentation(segmentation, folder / LABEL_MAP)
    rows = [
        {"file": LABEL_MAP, "value": label.value, "name": label.name, "colour": list(label.colour)}
        for label in segmentation.labels
    ]
    write_json(folder / _TABLE, {"labels": rows})


def _put(staging: Path, final: Path) -> bool:
    """Give a whole folder its name; False where another process has taken it meanwhile."""
    _flush(staging)
    if final.exists():
        return False
    try:
        staging.rename(final)
    except OSError:
        if final.exists():  # taken between the look and the move
            return False
        raise
    _flush(final.parent)
    return True


def _flush(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
