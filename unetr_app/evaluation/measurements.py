"""Measurements: volume, intensity and place of each label of a segmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnsafeGeometry
from unetr_app.geometry import Triple
from unetr_app.volume import Segmentation, Volume


@dataclass(frozen=True)
class LabelMeasurement:
    """What one label of a segmentation measures.

    Args:
        value: The label's integer.
        name: The label's name.
        voxels: Number of voxels.
        millilitres: Voxels times the volume of one.
        mean: Mean intensity of the volume's first channel within the label; None where empty.
        standard_deviation: Of that intensity, over all the label's voxels (divisor n); None where
            empty.
        centroid_mm: RAS+ mm of the mean of the label's voxel centres; None where empty.
    """

    value: int
    name: str
    voxels: int
    millilitres: float
    mean: float | None
    standard_deviation: float | None
    centroid_mm: Triple | None

    def to_dict(self) -> dict[str, Any]:
        """The measurement as JSON can hold it; lengths and volumes to 6 digits after the point."""
        centroid = None if self.centroid_mm is None else [round(c, 6) for c in self.centroid_mm]
        return {
            "value": self.value,
            "name": self.name,
            "voxels": self.voxels,
            "millilitres": round(self.millilitres, 6),
            "mean": self.mean,
            "standard_deviation": self.standard_deviation,
            "centroid_mm": centroid,
        }


@dataclass(frozen=True, eq=False)
class Moments:
    """What voxels of each value have in common.

    Args:
        count: (n,) voxels of values 0 to n - 1; background is not counted.
        mean: (n,) their mean intensity; 0 without an image, or where there are none.
        deviation: (n,) standard deviation of it (divisor n).
        index: (n, 3) their mean index.
    """

    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    index: NDArray[np.float64]


def _slabs(label_map: NDArray[Any], image: NDArray[np.float32] | None) -> Any:
    """The labelled voxels of each slab i: values, positions within the slab, intensities."""
    for i in range(label_map.shape[0]):
        flat = label_map[i].ravel()
        there = np.flatnonzero(flat)
        if there.size:
            found = None if image is None else image[i].ravel()[there].astype(np.float64)
            yield i, flat[there], there, found


def moments(label_map: NDArray[Any], image: NDArray[np.float32] | None, n: int) -> Moments:
    """Moments of voxels of each value, slab by slab, so that memory stays that of one slab.

    Args:
        label_map: (I, J, K) values below ``n``; 0 is background.
        image: (I, J, K) intensities; None where there are none.
        n: How many values there may be.
    """
    count, total, squares = np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros(n)
    index = np.zeros((n, 3))
    width = label_map.shape[2]
    for i, values, there, intensity in _slabs(label_map, image):
        here = np.bincount(values, minlength=n)
        count += here
        if intensity is not None:
            total += np.bincount(values, weights=intensity, minlength=n)
        index[:, 0] += i * here
        index[:, 1] += np.bincount(values, weights=there // width, minlength=n)
        index[:, 2] += np.bincount(values, weights=there % width, minlength=n)
    present = np.maximum(count, 1)
    mean = total / present
    for _, values, _, intensity in () if image is None else _slabs(label_map, image):
        squares += np.bincount(values, weights=(intensity - mean[values]) ** 2, minlength=n)
    return Moments(count, mean, np.sqrt(squares / present), index / present[:, None])


def measure(segmentation: Segmentation, volume: Volume) -> list[LabelMeasurement]:
    """Measure each label of a segmentation, in order of value; labels without voxels too.

    Args:
        segmentation: Exclusive or overlapping labels.
        volume: The volume that was segmented; intensities are taken from its first channel.

    Raises:
        UnsafeGeometry: If the two lie on different grids.

    Example:
        >>> from unetr_app.geometry import Geometry
        >>> from unetr_app.labels import LabelSet
        >>> grid = Geometry((2, 2, 2), np.diag([1.0, 1.0, 2.5, 1.0]))
        >>> ones = Segmentation(np.ones((2, 2, 2), int), grid, LabelSet.from_names({1: "all"}))
        >>> measure(ones, Volume(np.full((1, 2, 2, 2), 7.0), grid))[0].centroid_mm
        (0.5, 0.5, 1.25)
    """
    if not segmentation.geometry.is_close(volume.geometry):
        raise UnsafeGeometry("the segmentation and the volume lie on different grids")
    image = volume.data[0]
    if segmentation.is_overlapping:
        masks = (segmentation.mask(v).view(np.uint8) for v in segmentation.labels.values)
        found = [(moments(mask, image, 2), 1) for mask in masks]
    else:
        n = max(segmentation.labels.values, default=0) + 1
        all_labels = moments(segmentation.label_map, image, n)
        found = [(all_labels, value) for value in segmentation.labels.values]
    return [
        _measurement(segmentation, label.value, label.name, row)
        for label, row in zip(segmentation.labels, found, strict=True)
    ]


def _measurement(
    segmentation: Segmentation, value: int, name: str, row: tuple[Moments, int]
) -> LabelMeasurement:
    found, n = row
    voxels = int(found.count[n])
    millilitres = voxels * segmentation.geometry.voxel_ml
    if voxels == 0:
        return LabelMeasurement(value, name, 0, 0.0, None, None, None)
    x, y, z = (float(c) for c in segmentation.geometry.index_to_world(found.index[n]))
    return LabelMeasurement(
        value, name, voxels, millilitres,
        float(found.mean[n]), float(found.deviation[n]), (x, y, z),
    )  # fmt: skip
