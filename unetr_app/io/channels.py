"""Channels: the images of a case, one a channel, put together on one grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.image import read_header, read_image
from unetr_app.io.raster import Raster
from unetr_app.resample import resample_to
from unetr_app.volume import Volume

_TOLERANCE_MM = 1e-3
_LATTICE = 24  # points along each axis
_LEAST_SHARED = 0.5


def read_channels(
    parts: Sequence[tuple[str, ...]], names: Sequence[str], source: str, *,
    only: int | None = None, resample: bool = False, regularise: bool = False,
) -> Volume:  # fmt: skip
    """Read the channels of a case, one image at a time.

    Args:
        parts: Files of each channel; one file, again and again, where it holds all channels.
        names: Of the channels.
        source: The input as it was given.
        only: The number of the only channel wanted, on its own grid.
        resample: Whether channels on other grids are put onto the first one's, linearly.
        regularise: Resample DICOM slices at uneven distances rather than refuse them.

    Raises:
        UnreadableInput: If a file is damaged, or not one volume of real numbers a channel.
        UnsafeGeometry: If a channel lies on another grid than the first, or nobody knows where.
        InvalidRequest: If there is no channel of that number, or a part holds several volumes.
    """
    if only is None:
        return _stack(_read_each(parts, regularise), names, source, resample=resample)
    if not 0 <= only < len(parts):
        raise InvalidRequest(
            f"there is no channel {only}", cure=f"Choose 0 to {len(parts) - 1}.", path=source
        )
    image = read_image(
        parts[only], channel=only if _is_one_file(parts) else None, regularise=regularise
    )
    return _stack([image], names[only : only + 1], source)


def read_grid(
    parts: Sequence[tuple[str, ...]], names: Sequence[str], *, resample: bool = False
) -> Geometry:
    """The geometry that all channels share, from headers alone.

    Args:
        parts: As for `read_channels`.
        names: As for `read_channels`.
        resample: As for `read_channels`.

    Raises:
        UnreadableInput: If a header is damaged or states no volume.
        UnsafeGeometry: If a channel lies on another grid than the first, or nobody knows where.
        InvalidRequest: If a part holds several volumes.
    """
    if _is_one_file(parts):
        return read_header(parts[0], channel=0)
    first = read_header(parts[0])
    for name, part in zip(names[1:], parts[1:], strict=True):
        geometry = read_header(part)
        if resample:
            _shared_part(first, geometry, (names[0], name), part[0])
        else:
            _require_one_grid(first, geometry, (names[0], name), part[0])
    return first


def _is_one_file(parts: Sequence[tuple[str, ...]]) -> bool:
    return len(set(parts)) == 1 < len(parts)


def _read_each(parts: Sequence[tuple[str, ...]], regularise: bool) -> Iterator[Raster]:
    if not _is_one_file(parts):
        return (read_image(part, regularise=regularise) for part in parts)
    from unetr_app.io.nifti import read_each

    return read_each(parts[0][0], len(parts))


def _stack(
    images: Iterable[Raster], names: Sequence[str], source: str, *, resample: bool = False
) -> Volume:
    """(C, I, J, K), on the first image's grid."""
    data: NDArray[np.float32] | None = None
    volumes: list[tuple[Geometry, str, tuple[str, ...]]] = []
    for n, image in enumerate(images):
        volume = image.to_volume(source)
        if data is None:
            data = np.empty((len(names), *volume.geometry.shape), np.float32)
        elif resample:
            volume = _on_grid(volume, volumes[0][0], (names[0], names[n]), image.path)
        else:
            _require_one_grid(volumes[0][0], volume.geometry, (names[0], names[n]), image.path)
        data[n] = volume.data[0]
        volumes.append((volume.geometry, volume.modality, volume.warnings))
    assert data is not None
    assert len(volumes) == len(names)
    modalities = {modality for _, modality, _ in volumes}
    return Volume(
        data, volumes[0][0], tuple(names), modalities.pop() if len(modalities) == 1 else "", source,
        tuple(dict.fromkeys(warning for *_, warnings in volumes for warning in warnings)),
    )  # fmt: skip


def _on_grid(volume: Volume, grid: Geometry, names: tuple[str, str], path: PathLike) -> Volume:
    """The volume on the first channel's grid, and a warning that says so."""
    if volume.geometry.is_close(grid, _TOLERANCE_MM):
        return volume
    shared = _shared_part(grid, volume.geometry, names, path)
    moved = resample_to(volume, grid, outside=float(volume.data.min()))
    said = f"channel {names[1]} was resampled onto the grid of channel {names[0]}"
    if shared < 1:
        said += f", {100 * (1 - shared):.0f} % of which lies outside it"
    return replace(moved, warnings=(*moved.warnings, said))


def _shared_part(first: Geometry, other: Geometry, names: tuple[str, str], path: PathLike) -> float:
    """The share of a grid that lies inside another, by a lattice of points.

    Raises:
        UnsafeGeometry: If it is less than half.
    """
    axes = [np.linspace(0, n - 1, min(n, _LATTICE)) for n in first.shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    index = other.world_to_index(first.index_to_world(points))
    inside = ((index > -0.5) & (index < np.asarray(other.shape) - 0.5)).all(axis=-1)
    shared = float(inside.mean())
    if shared < _LEAST_SHARED:
        raise UnsafeGeometry(
            f"channel {names[1]} covers only {100 * shared:.0f} % of the grid of channel "
            f"{names[0]}",
            cure="Check that they show the same part of the same patient.", path=path,
        )  # fmt: skip
    return shared


def _require_one_grid(
    first: Geometry, other: Geometry, names: tuple[str, str], path: PathLike
) -> None:
    if other.is_close(first, _TOLERANCE_MM):
        return
    raise UnsafeGeometry(
        f"channel {names[1]} does not lie on the grid of channel {names[0]}: "
        f"{_difference(first, other)}",
        cure=f"Resample it onto the image of {names[0]}, and give the result.",
        path=path,
    )


def _difference(first: Geometry, other: Geometry) -> str:
    if first.shape != other.shape:
        return f"its shape is {_words(other.shape)} rather than {_words(first.shape)}"
    if first.orientation != other.orientation:
        return f"its axes run {other.orientation} rather than {first.orientation}"
    if not np.allclose(first.spacing, other.spacing, rtol=1e-3, atol=0):
        return f"its spacing is {_words(other.spacing)} mm rather than {_words(first.spacing)} mm"
    last = np.asarray(first.shape) - 1
    corners = [np.where(bits, last, 0) for bits in np.ndindex(2, 2, 2)]
    apart = first.index_to_world(corners) - other.index_to_world(corners)
    return f"its voxels lie up to {np.linalg.norm(apart, axis=-1).max():.3g} mm away"


def _words(numbers: Sequence[float]) -> str:
    return " x ".join(f"{n:.6g}" for n in numbers)
