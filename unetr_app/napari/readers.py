"""Readers: what a path dragged onto napari's window is, and the layers it becomes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unetr_app.errors import DeviceMemory, UnetrError, UnreadableInput
from unetr_app.io.formats import Format, claimed_format
from unetr_app.napari import images, notifications
from unetr_app.napari.layers import Layer, image_layers, label_layers
from unetr_app.outputs import read_manifest
from unetr_app.review import results

Read = Callable[[Path], list[Layer]]
NOTHING: list[Any] = [(None,)]  # napari's word for "dealt with, but no layer"

_MOST_ENTRIES = 200  # looked at to tell whether a folder holds DICOM, in all
_MOST_IN_ONE = 50  # in any one folder


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Any]] | None:
    """Say whether a path is one of ours; napari calls this for each path it is given.

    Ours are a results folder (``OUT/<case_id>``, or ``OUT`` itself), a NIfTI, NRRD or MetaImage
    file, a DICOM file, and a folder that holds DICOM files. The answer takes a few look-ups and
    never a walk through a tree.

    Args:
        path: A file or folder. Several at once (a stack) are never ours.

    Returns:
        The reader, which gives layers; None where the path is not ours.
    """
    if not isinstance(path, str | os.PathLike):
        return None
    read = _reader_of(Path(path))
    return None if read is None else lambda _: _read(read, Path(path))


def _reader_of(path: Path) -> Read | None:
    if path.is_dir():
        if results.is_case_folder(path):
            return read_case_folder
        if results.is_output_folder(path):
            return read_output_folder
        return images.read_dicom_folder if holds_dicom(path) else None
    claimed = claimed_format(path)
    if claimed is Format.DICOM:
        return images.read_dicom_file
    if claimed is None:
        return None
    return read_label_file if results.is_label_file(path) else images.read_image_file


def _read(read: Read, path: Path) -> list[Any]:
    """The layers; where that fails, none, and a notification says why."""
    try:
        return read(path) or NOTHING
    except UnetrError as problem:
        notifications.show_problem(problem)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        notifications.show_problem(UnreadableInput(f"it cannot be read: {reason}", path=path))
    except MemoryError:
        notifications.show_problem(DeviceMemory("the computer ran out of memory", path=path))
    return NOTHING


def read_case_folder(folder: Path) -> list[Layer]:
    """Image and labels of ``OUT/<case_id>``, in register.

    Raises:
        UnetrError: If the labels cannot be read.
    """
    result = results.read_result(folder)
    for warning in result.warnings:
        notifications.show_warning(warning)
    notifications.show_notice()
    image = image_layers(result.volume, result.case_id) if result.volume else []
    return [*image, *label_layers(result.segmentation, f"{result.case_id} labels")]


def read_output_folder(out: Path) -> list[Layer]:
    """The first finished case of ``OUT``, with a word on how to see the others.

    Raises:
        UnetrError: If no case is finished, or the labels of the first cannot be read.
    """
    rows = read_manifest(out)
    done = sorted(case_id for case_id in rows if results.is_case_folder(out / case_id))
    if not done:
        raise UnreadableInput(
            f"none of the {len(rows)} cases in this results folder is finished",
            cure="Run unetr segment on it again; its manifest.jsonl says what went wrong.",
            path=out,
        )
    if len(done) > 1:
        notifications.show_info(
            f"{out.name} holds {len(done)} finished cases. This is {done[0]}; "
            "open a case's own folder to see another."
        )
    return read_case_folder(out / done[0])


def read_label_file(path: Path) -> list[Layer]:
    """A label map or mask of a case, with the names that the case gives.

    Raises:
        UnetrError: If it cannot be read.
    """
    notifications.show_notice()
    return [*label_layers(results.read_labels(path), f"{path.parent.name} {images.stem(path)}")]


def holds_dicom(folder: Path) -> bool:
    """Is one of the first files in a folder, or in folders within it, DICOM?"""
    left = [_MOST_ENTRIES]

    def look(inside: str) -> bool:
        folders: list[str] = []
        try:
            with os.scandir(inside) as entries:
                for _, entry in zip(range(_MOST_IN_ONE), entries, strict=False):
                    left[0] -= 1
                    if entry.is_dir():
                        folders.append(entry.path)
                    elif _is_dicom(entry.path):
                        return True
                    if left[0] <= 0:
                        return False
        except OSError:
            return False
        return any(left[0] > 0 and look(one) for one in folders)

    return look(os.fspath(folder))


def _is_dicom(path: str) -> bool:
    """Has it the mark of a DICOM file (PS3.10 7.1)? Reads 132 bytes."""
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False
