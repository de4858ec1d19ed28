"""Images: files and DICOM series as image layers, with what there is to say about them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from unetr_app.cases import Case, find_cases
from unetr_app.errors import UnetrError
from unetr_app.geometry import Geometry
from unetr_app.io import read_volume
from unetr_app.io.formats import image_ending
from unetr_app.napari import notifications
from unetr_app.napari.layers import Layer, image_layers
from unetr_app.review import display
from unetr_app.volume import Volume

_MOST_IMAGES = 12  # opened from one folder
_MOST_BYTES = 4 * 2**30
_MOST_PROBLEMS = 3  # told one by one


def stem(path: Path) -> str:
    """A file's name without the ending that says its format."""
    return path.name[: len(path.name) - len(image_ending(path))]


def read_image_file(path: Path) -> list[Layer]:
    """An image of any of our formats.

    Raises:
        UnetrError: If it cannot be read.
    """
    return _alone(read_volume(path), stem(path))


def read_dicom_file(path: Path) -> list[Layer]:
    """The series that a DICOM file belongs to, from the files beside it.

    Raises:
        UnetrError: If the series cannot be read.
    """
    with os.scandir(path.parent) as entries:
        beside = sorted(entry.path for entry in entries if entry.is_file())
    for case in find_cases(beside):
        if any(os.path.samefile(path, other) for other in case.paths):
            return _alone(read_volume(case), case.id)
    return _alone(read_volume(path), stem(path))


def read_dicom_folder(folder: Path) -> list[Layer]:
    """The series and images in a folder, the first one visible.

    What cannot be read is told of and the others are shown; so is how many were too many.

    Raises:
        UnetrError: If there is but one, and it cannot be read.
    """
    cases = find_cases(folder)
    if len(cases) == 1:
        return _alone(read_volume(cases[0]), cases[0].id)
    layers: list[Layer] = []
    grids: list[Geometry] = []
    problems: list[UnetrError] = []
    opened = 0
    for case in cases:
        if len(grids) == _MOST_IMAGES or sum(one.data.nbytes for one in layers) > _MOST_BYTES:
            break
        opened += 1
        try:
            volume = read_volume(case)
        except UnetrError as problem:
            problems.append(problem)
            continue
        layers += _one_of_many(volume, case, visible=not layers)
        grids.append(volume.geometry)
    _tell(problems)
    if opened < len(cases):
        notifications.show_warning(
            f"{folder.name}: {len(cases) - opened} of {len(cases)} images are not shown, to spare "
            "memory. Open a folder further down, or one file of the series wanted."
        )
    _tell_of_angles(grids)
    return layers


def _alone(volume: Volume, name: str) -> list[Layer]:
    for warning in volume.warnings:
        notifications.show_warning(f"{name}: {warning}")
    if volume.geometry.is_oblique:
        notifications.show_info(
            f"{name}: its axes lie {display.tilt_deg(volume.geometry):.1f} degrees off the "
            "patient's. It is shown along its own axes, in register with images along the same "
            "axes only."
        )
    return [*image_layers(volume, name)]


def _one_of_many(volume: Volume, case: Case, *, visible: bool) -> list[Layer]:
    for warning in volume.warnings:
        notifications.show_warning(f"{case.id}: {warning}")
    layers = image_layers(volume, case.id)
    for layer in layers:
        layer.visible = layer.visible and visible
    return [*layers]


def _tell(problems: list[UnetrError]) -> None:
    for problem in problems[:_MOST_PROBLEMS]:
        notifications.show_problem(problem)
    if len(problems) > _MOST_PROBLEMS:
        notifications.show_warning(
            f"{len(problems) - _MOST_PROBLEMS} more could not be read. "
            "Run unetr inspect on the folder to see why."
        )


def _tell_of_angles(grids: Iterable[Geometry]) -> None:
    """Say so where images lie at an angle to each other, and so are not in register."""
    axes = [display.display_axes(grid) for grid in grids]
    cosines = [np.sum(one * axes[0], axis=0).min() for one in axes]
    largest = np.rad2deg(np.arccos(np.clip(min(cosines, default=1.0), -1.0, 1.0)))
    if largest > display.SAME_AXES_DEG:
        notifications.show_info(
            f"These images lie at angles of up to {largest:.1f} degrees to the first. Each is "
            "shown along its own axes; those along the same axes are in register."
        )
