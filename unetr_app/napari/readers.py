"""Readers: what a path dragged onto napari's window is, and the layers it becomes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unetr_app.cases import Case, find_cases
from unetr_app.errors import UnetrError, UnreadableInput
from unetr_app.io import read_volume
from unetr_app.napari import display, notifications, results
from unetr_app.napari.layers import Layer, image_layers, label_layers
from unetr_app.volume import Volume

Read = Callable[[Path], list[Layer]]
NOTHING: list[Any] = [(None,)]  # napari's word for "dealt with, but no layer"

IMAGE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")
DICOM_ENDING = ".dcm"
_MOST_ENTRIES = 200  # looked at to tell whether a folder holds DICOM, in all
_MOST_IN_ONE = 50  # in any one folder
_MOST_BYTES = 4 * 2**30  # of series opened from one folder


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
        return read_dicom_folder if holds_dicom(path) else None
    name = path.name.lower()
    if name.endswith(DICOM_ENDING):
        return read_dicom_file
    if not name.endswith(IMAGE_ENDINGS):
        return None
    return read_label_file if results.is_label_file(path) else read_image_file


def _read(read: Read, path: Path) -> list[Any]:
    """The layers; where that fails, none, and a notification says why."""
    try:
        return read(path) or NOTHING
    except UnetrError as problem:
        notifications.show_problem(problem)
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
    rows = results.manifest_rows(out)
    done = [case_id for case_id in rows if results.is_case_folder(out / case_id)]
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
    return [*label_layers(results.read_labels(path), f"{path.parent.name} {_stem(path)}")]


def read_image_file(path: Path) -> list[Layer]:
    """An image of any of our formats.

    Raises:
        UnetrError: If it cannot be read.
    """
    return _shown(read_volume(path), _stem(path))


def read_dicom_file(path: Path) -> list[Layer]:
    """The series that a DICOM file belongs to, from the files beside it.

    Raises:
        UnetrError: If the series cannot be read.
    """
    with os.scandir(path.parent) as entries:
        beside = sorted(entry.path for entry in entries if entry.is_file())
    for case in find_cases(beside):
        if any(os.path.samefile(path, other) for other in case.paths):
            return _shown(read_volume(case), case.id)
    return _shown(read_volume(path), path.stem)


def read_dicom_folder(folder: Path) -> list[Layer]:
    """Every series and image in a folder, the first one visible.

    One that cannot be read is told of and the others are shown; so are those too many for memory.

    Raises:
        UnetrError: If there is but one, and it cannot be read.
    """
    cases = find_cases(folder)
    if len(cases) == 1:
        return _shown(read_volume(cases[0]), cases[0].id)
    layers: list[Layer] = []
    for n, case in enumerate(cases):
        if sum(layer.data.nbytes for layer in layers) > _MOST_BYTES:
            notifications.show_warning(
                f"{folder.name}: {len(cases) - n} of {len(cases)} series are not shown, to spare "
                "memory; open their folders one by one."
            )
            break
        layers += _one_of_many(case, visible=not layers)
    return layers


def _one_of_many(case: Case, *, visible: bool) -> list[Layer]:
    try:
        layers = _shown(read_volume(case), case.id)
    except UnetrError as problem:
        notifications.show_problem(problem)
        return []
    for layer in layers:
        layer.visible = layer.visible and visible
    return layers


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


def _shown(volume: Volume, name: str) -> list[Layer]:
    for warning in volume.warnings:
        notifications.show_warning(f"{name}: {warning}")
    if volume.geometry.is_oblique:
        notifications.show_info(
            f"{name}: its axes lie {display.tilt_deg(volume.geometry):.1f} degrees off the "
            "patient's. It is shown along its own axes, in register with images along the same "
            "axes only."
        )
    return [*image_layers(volume, name)]


def _stem(path: Path) -> str:
    ending = next((e for e in IMAGE_ENDINGS[::-1] if path.name.lower().endswith(e)), path.suffix)
    return path.name[: -len(ending)] if ending else path.name
