"""The output folder of `unetr explain`: what goes where, and how it is written.

::

    OUT/
    ├── receptive_field.png       a row of three planes a map
    ├── receptive_field.csv       radii a map
    ├── receptive_field.npz       mass_<map> (i, j, k)
    ├── receptive_field/map_<map>.nii.gz
    ├── tsne.png                  a panel a map
    ├── tsne.npz                  points_<map>, features_<map>, labels_<map>, cases_<map>
    └── <case_id>/
        ├── image.nii.gz          what the encoder saw, on the model grid
        ├── attention.png         a row of three planes a layer
        ├── attention.npz         a layer each: (heads, grid)
        └── attention/<layer>.nii.gz   the mean of the heads, on the grid of image.nii.gz

Every file is whole or absent.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from unetr_app.explain.attention_map import AttentionMap
from unetr_app.explain.receptive_field import ReceptiveField
from unetr_app.explain.window import Window, cell_geometry
from unetr_app.geometry import Geometry
from unetr_app.io import nifti, replacing, write_bytes, write_text
from unetr_app.io.names import safe_name
from unetr_app.labels import Label
from unetr_app.pictures.heat import Heat, heat_picture
from unetr_app.pictures.scatter import Cloud, scatter_picture
from unetr_app.resample import resample_array
from unetr_app.volume import Volume

SHARES = (0.5, 0.95)  # of the mass, that radii are told for
ROLLOUT = "rollout"  # name of the map that follows all layers
_MOST_ROWS = 6  # of a picture of attention

Triple = tuple[float, float, float]
_T = TypeVar("_T")


def write_receptive_fields(
    fields: Sequence[ReceptiveField], geometry: Geometry, out: Path, *, said: str, in_mm: bool
) -> list[Path]:
    """Write picture, table and arrays of receptive fields.

    Args:
        fields: One a map.
        geometry: Of the input.
        out: The output folder.
        said: What the picture's last line says.
        in_mm: Is the spacing known?

    Returns:
        Picture and table.
    """
    arrays = {f"mass_{field.level}": field.mass for field in fields}
    _write_arrays(out / "receptive_field.npz", arrays | {"affine": geometry.affine})
    for field in fields:
        path = out / "receptive_field" / f"map_{field.level}.nii.gz"
        _write_volume(path, field.mass, geometry)
    rows = [_field_row(field, geometry) for field in fields]
    picture = heat_picture(rows, said, logarithmic=True)
    return [
        write_bytes(out / "receptive_field.png", picture),
        write_text(
            out / "receptive_field.csv", _field_table(fields, geometry.spacing if in_mm else None)
        ),
    ]


def write_attention(
    maps: Sequence[AttentionMap],
    window: Window,
    folder: Path,
    *,
    said: str,
    voxel: tuple[int, int, int] | None,
) -> list[Path]:
    """Write picture and arrays of one case's attention.

    Args:
        maps: One a layer; after them the rollout, where there is one.
        window: What the encoder saw.
        folder: The case's.
        said: What the picture's last line says.
        voxel: Index on the window of the voxel whose token looks; None for a prefix token.

    Returns:
        The picture.
    """
    arrays: dict[str, NDArray[Any]] = {one.name: one.weights for one in maps}
    arrays |= {f"{one.name}/to_prefix": one.to_prefix for one in maps if one.to_prefix.size}
    _write_arrays(folder / "attention.npz", arrays | {"affine": window.geometry.affine})
    image, geometry = window.crop(window.data)
    _write_volume(folder / "image.nii.gz", image[0], geometry)
    under = Volume(image, geometry)
    first = np.array([block.start for block in window.inside])
    i, j, k = (0, 0, 0) if voxel is None else (np.array(voxel) - first).tolist()
    mark = None if voxel is None else (float(i), float(j), float(k))
    rows: list[Heat] = []
    for n, one in enumerate(maps):
        heat = _on_window(one.mean, window, geometry)
        _write_volume(
            folder / "attention" / f"{n:02d}_{safe_name(one.name)}.nii.gz", heat, geometry
        )
        rows.append(Heat(one.name, Volume(heat[None], geometry), mark, under))
    layers = sum(one.name != ROLLOUT for one in maps)
    shown = [*evenly(rows[:layers], _MOST_ROWS - len(rows) + layers), *rows[layers:]]
    return [write_bytes(folder / "attention.png", heat_picture(shown, said))]


def write_embedding(
    arrays: Mapping[str, NDArray[Any]],
    clouds: Sequence[Cloud],
    labels: Sequence[Label],
    out: Path,
    *,
    said: str,
) -> list[Path]:
    """Write picture and arrays of t-SNE.

    Args:
        arrays: By name.
        clouds: One a panel.
        labels: What the values of the clouds mean.
        out: The output folder.
        said: What the picture's last line says.

    Returns:
        The picture.
    """
    _write_arrays(out / "tsne.npz", arrays)
    return [write_bytes(out / "tsne.png", scatter_picture(clouds, labels, said))]


def evenly(things: Sequence[_T], most: int) -> list[_T]:
    """At most so many of them, evenly spread, the last one always.

    Example:
        >>> evenly(range(12), 4)
        [2, 5, 8, 11]
    """
    count = min(most, len(things))
    return [things[round((n + 1) * len(things) / count) - 1] for n in range(count)]


def in_words(numbers: Sequence[float]) -> str:
    """Numbers of three axes, as one where they are equal.

    Example:
        >>> in_words((8, 8, 8)), in_words((1, 16, 16))
        ('8', '1 x 16 x 16')
    """
    words = [f"{number:.3g}" for number in numbers]
    return words[0] if len(set(words)) == 1 else " x ".join(words)


def _field_row(field: ReceptiveField, geometry: Geometry) -> Heat:
    said = ", ".join(f"{100 * s:g} % in {in_words(field.radius(s))}" for s in SHARES)
    title = f"Map {field.level}, stride {in_words(field.stride)}: {said} voxels"
    i, j, k = field.centre
    return Heat(title, Volume(field.mass[None], geometry), (i, j, k))


def _field_table(fields: Sequence[ReceptiveField], spacing: Triple | None) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    axes = ("i", "j", "k")
    table.writerow(["map", "channels", *(f"stride_{a}" for a in axes), "share",
                    *(f"radius_{a}_voxels" for a in axes), *(f"radius_{a}_mm" for a in axes),
                    *(f"extent_{a}_voxels" for a in axes)])  # fmt: skip
    for field in fields:
        for share in SHARES:
            radius = field.radius(share)
            mm = ["", "", ""] if spacing is None else _times(radius, spacing)
            table.writerow(
                [field.level, field.channels, *field.stride, share, *radius, *mm, *field.extent]
            )
    return text.getvalue()


def _times(voxels: Sequence[float], spacing: Triple) -> list[float]:
    return [round(n * mm, 3) for n, mm in zip(voxels, spacing, strict=True)]


def _on_window(
    values: NDArray[np.float32], window: Window, geometry: Geometry
) -> NDArray[np.float32]:
    """Values of cells over the window at each voxel of its part inside the image."""
    here = cell_geometry(window.geometry, values.shape)
    return resample_array(values, here, geometry, order=0)


def _write_volume(path: Path, values: NDArray[Any], geometry: Geometry) -> None:
    with replacing(path) as part:
        nifti.write(np.asarray(values, dtype=np.float32), geometry, part)


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with replacing(path) as part:
        np.savez_compressed(part, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
