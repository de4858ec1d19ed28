"""ItkHeader: what the text header of a NRRD or MetaImage file promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnreadableInput
from unetr_app.geometry import Shape
from unetr_app.io.atomic import PathLike
from unetr_app.io.integrity import Packing

LONGEST = 1 << 20
"""Bytes of text looked through for the end of a header."""

UNKNOWN_CURE = (
    "If its position is known to be right, state it: save the image with 3D Slicer or SimpleITK."
)


@dataclass(frozen=True, eq=False)
class ItkHeader:
    """What a text header promises.

    Args:
        shape: Voxels along i, j, k.
        affine_lps: (4, 4), voxel index to LPS+ mm.
        dtype: Of one stored number, byte order included.
        data_path: The file that holds the voxels.
        data_offset: Where in it they begin.
        packing: How they are packed.
        label_names: Names of label values, where 3D Slicer's fields state them.
    """

    shape: Shape
    affine_lps: NDArray[np.float64]
    dtype: np.dtype[Any]
    data_path: Path
    data_offset: int
    packing: Packing
    label_names: dict[int, str] = field(default_factory=dict[int, str])


def affine_of(
    columns: Sequence[NDArray[np.float64]], origin: NDArray[np.float64], signs: Sequence[int]
) -> NDArray[np.float64]:
    """(4, 4) into LPS+ from columns and origin in a space whose axes have these signs in LPS+."""
    affine = np.eye(4)
    affine[:3, :3] = np.stack(columns, axis=1)
    affine[:3, 3] = origin
    affine[:3] *= np.asarray(signs)[:, None]
    return affine


def numbers(text: str, count: int) -> NDArray[np.float64]:
    """(count,) numbers out of words between spaces.

    Raises:
        ValueError: If there are more, fewer, or other words.
    """
    values = np.array([float(word) for word in text.split()])
    if values.shape != (count,):
        raise ValueError(f"{count} numbers expected")
    return values


def dtype_of(word: str, table: Mapping[str, str], order: str, path: PathLike) -> np.dtype[Any]:
    """The numpy type of what the header calls ``word``, in byte order ``<`` or ``>``.

    Raises:
        UnreadableInput: If the table does not know it.
    """
    code = table.get(word.strip())
    if code is None:
        raise UnreadableInput(
            f"the voxels are of type {word!r}; integers or floats are needed",
            cure="Convert the image to 16-bit integers or 32-bit floats.", path=path,
        )  # fmt: skip
    return np.dtype(code).newbyteorder(order)  # pyright: ignore[reportArgumentType]


def damaged(what: str, path: PathLike) -> UnreadableInput:
    """An error about a header that cannot be followed."""
    return UnreadableInput(what, cure="Copy or export the file again.", path=path)
