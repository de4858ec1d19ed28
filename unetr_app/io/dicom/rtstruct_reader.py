"""Reading of RTSTRUCT: the contours of a structure set as labels on a grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.filling import fill
from unetr_app.io.dicom.structure_set import Roi, StructureSet, names_of, read_structure_set
from unetr_app.labels import Label, LabelSet
from unetr_app.volume import Segmentation

_OTHER_SERIES = (
    "The structure set was drawn on another series: give the images that it refers to, all of them."
)
_FLAT = 0.2  # how far the points of one contour may lie apart along the normal, in slices or mm
_OFF_PLANE = 0.1  # in slices; contours further from their slice are reported
_SAME_PLANE = 0.05  # in slices
_EDGE = 0.1  # pixels beyond the outermost ones that need no word
_MOST_BYTES = 2**33  # of masks that overlap
_MOST_LABEL = 65535

Mask = NDArray[np.bool_]


def read_rtstruct(
    path: PathLike, grid: Geometry, *, names: Sequence[str] = (), frame_uid: str = ""
) -> Segmentation:
    """Read the closed contours of a structure set as labels on the grid of its images.

    A voxel belongs to a region where its centre is inside a contour of its slice or on the line
    (see `unetr_app.io.dicom.filling`); slices between contours are not made up. Contours that lie
    between slices go to the nearest one.

    Args:
        path: An RTSTRUCT file of any maker.
        grid: The grid of the series that it was drawn on, k from slice to slice, as
            `unetr_app.io.read_geometry` gives it.
        names: The regions wanted, in any case; all that enclose something where empty.
        frame_uid: Frame of Reference UID of the images; regions of another are left out. Not
            looked at where empty.

    Returns:
        A label map, or masks where regions overlap. A label's value is the ROI number, its name
        and colour are the ROI's. What was left out is listed in ``provenance["warnings"]``.

    Raises:
        UnreadableInput: If the file is damaged, no structure set, or holds no closed contour.
        UnsafeGeometry: If a contour does not lie on the slices of the grid.
        InvalidRequest: If a region is wanted that is not there, or masks would need too much
            memory.
    """
    found = read_structure_set(path)
    notes: list[str] = []
    rois = _chosen(found, names, frame_uid, notes)
    planes = [_on_grid(roi, grid, path) for roi in rois]
    _require_inside(planes, grid, path)
    label_map, overlapping = _mapped(planes, grid)
    labels = _labels(rois)
    order = sorted(range(len(labels)), key=lambda n: labels[n].value)
    if not overlapping:
        values = np.array([0, *(label.value for label in labels)], np.uint16)
        data = values[label_map]
    else:
        data = _masks([planes[n] for n in order], grid, path)
    for name, drawn in zip((label.name for label in labels), planes, strict=True):
        notes += drawn.notes(name)
    return Segmentation(data, grid, LabelSet(tuple(labels)), {"warnings": tuple(notes)})


def drawn_names(path: PathLike) -> tuple[str, ...]:
    """The names of the regions that enclose something, as `read_rtstruct` calls them.

    Raises:
        UnreadableInput: If the file is damaged, no structure set, or holds no closed contour.
    """
    rois = read_structure_set(path).rois
    called = names_of(rois)
    drawn = tuple(called[n] for n, roi in enumerate(rois) if roi.contours)
    if not drawn:
        raise _nothing_drawn(path)
    return drawn


def _nothing_drawn(path: PathLike) -> UnreadableInput:
    return UnreadableInput(
        "the structure set holds no closed contour", cure="Draw some, or leave the file out.",
        path=path,
    )  # fmt: skip


@dataclass(eq=False)
class _Drawn:
    """The contours of a region by slice.

    Args:
        lines: (N, 2) index coordinates (i, j), by k.
        exclusive: Whether they cancel each other.
        off: Largest distance of a contour from its slice, in slices.
        left: Contours of planes that share their slice with one nearer to it.
        cut: Contours that reach beyond the images.
    """

    lines: dict[int, list[NDArray[np.float64]]]
    exclusive: bool
    off: float = 0.0
    left: int = 0
    cut: int = 0
    found: Counter[str] = field(default_factory=Counter[str])

    def mask(self, k: int, shape: tuple[int, int]) -> Mask:
        """(I, J): the region in slice k."""
        done = fill(self.lines[k], shape, exclusive=self.exclusive)
        self.found.update(copies=done.copies, overlaps=done.overlaps, voxels=int(done.mask.sum()))
        return done.mask

    def notes(self, name: str) -> list[str]:
        """What the user should know."""
        said: list[str] = []
        if self.off > _OFF_PLANE:
            said.append(f"contours lie up to {self.off:.2g} slices off their slice: each was taken "
                        "to the nearest")  # fmt: skip
        if self.left:
            said.append(f"{self.left} contours were left out: others lie nearer to their slice")
        if self.cut:
            said.append(f"{self.cut} contours reach beyond the images, and were cut off there")
        if self.found["copies"]:
            said.append(f"{self.found['copies']} contours were left out: they repeat others")
        if self.found["overlaps"]:
            said.append("contours of one slice overlap in part: they were joined")
        ks = sorted(self.lines)
        step = min(np.diff(ks).tolist(), default=1)
        if step > 1 and len(ks) > 2:
            said.append(f"contours lie on every {step}th slice at most: those between stay empty")
        if not self.found["voxels"]:
            said.append("the contours enclose no voxel's centre")
        return [f"{name}: {words}" for words in said]


def _chosen(
    found: StructureSet, names: Sequence[str], frame_uid: str, notes: list[str]
) -> list[Roi]:
    """The regions to read, with names that are unique."""
    called = names_of(found.rois)
    wanted = {name.strip().casefold() for name in names}
    unknown = wanted - {name.casefold() for name in called.values()}
    if unknown:
        raise InvalidRequest(
            f"the structure set has no region {', '.join(sorted(unknown))}",
            cure=f"It has {', '.join(called.values())}.", path=found.path,
        )  # fmt: skip
    chosen: list[Roi] = []
    for n, roi in enumerate(found.rois):
        name = called[n]
        if wanted and name.casefold() not in wanted:
            continue
        elsewhere = frame_uid and roi.frame_uid and roi.frame_uid != frame_uid
        if roi.set_aside:
            notes.append(f"{name}: {roi.set_aside} points or open contours were left out")
        if not roi.contours:
            notes.append(f"{name}: has no closed contour and was left out")
        elif elsewhere:
            notes.append(f"{name}: lies in another frame of reference and was left out")
        else:
            chosen.append(replace(roi, name=name))
    if chosen:
        return chosen
    if any(roi.contours for roi in found.rois):
        raise UnsafeGeometry(
            "no region lies in the frame of reference of the images", cure=_OTHER_SERIES,
            path=found.path,
        )  # fmt: skip
    raise _nothing_drawn(found.path)


def _labels(rois: Sequence[Roi]) -> list[Label]:
    """One for each region; its value is the ROI number where all of them can be one."""
    numbers = [roi.number for roi in rois]
    if min(numbers) < 1 or max(numbers) > _MOST_LABEL or len(set(numbers)) < len(numbers):
        numbers = list(range(1, len(rois) + 1))
    return [
        Label(value, roi.name, roi.colour, roi.type)
        for value, roi in zip(numbers, rois, strict=True)
    ]


def _on_grid(roi: Roi, grid: Geometry, path: PathLike) -> _Drawn:
    """The contours by slice.

    Raises:
        UnsafeGeometry: If one is not parallel to the slices, or lies on none of them.
    """
    affine = grid.affine_lps
    inverse = np.linalg.inv(affine[:3, :3])
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    gap = abs(float(normal @ affine[:3, 2])) / float(np.linalg.norm(normal))
    flat = max(_FLAT, _FLAT / gap)
    planes: dict[int, list[tuple[float, NDArray[np.float64]]]] = {}
    for points in roi.contours:
        index = (points - affine[:3, 3]) @ inverse.T  # (N, 3) i, j, k
        k = float(index[:, 2].mean())
        if np.ptp(index[:, 2]) > flat:
            raise UnsafeGeometry(
                f"a contour of ROI {roi.number} is not parallel to the slices of the images",
                cure=_OTHER_SERIES, path=path,
            )  # fmt: skip
        if not -0.5 <= k <= grid.shape[2] - 0.5:
            raise UnsafeGeometry(
                f"a contour of ROI {roi.number} lies {_beyond(k, grid) * gap:.1f} mm beyond the "
                "images", cure=_OTHER_SERIES, path=path,
            )  # fmt: skip
        at = min(max(round(k), 0), grid.shape[2] - 1)
        planes.setdefault(at, []).append((k - at, index[:, :2]))
    drawn = _Drawn({}, roi.exclusive)
    high = np.array(grid.shape[:2]) - 0.5
    for at, lines in planes.items():
        nearest = min((off for off, _ in lines), key=abs)
        kept = [line for off, line in lines if abs(off - nearest) <= _SAME_PLANE]
        drawn.lines[at] = kept
        drawn.left += len(lines) - len(kept)
        drawn.off = max(drawn.off, abs(nearest))
        drawn.cut += sum(
            bool((line < -0.5 - _EDGE).any() or (line > high + _EDGE).any()) for line in kept
        )
    return drawn


def _beyond(k: float, grid: Geometry) -> float:
    return -k if k < 0 else k - (grid.shape[2] - 1)


def _require_inside(planes: Sequence[_Drawn], grid: Geometry, path: PathLike) -> None:
    """Refuse where all contours lie beside the images."""
    high = np.array(grid.shape[:2]) - 0.5
    for drawn in planes:
        for lines in drawn.lines.values():
            if any((line.max(axis=0) > -0.5).all() and (line.min(axis=0) < high).all()
                   for line in lines):  # fmt: skip
                return
    raise UnsafeGeometry("all contours lie beside the images", cure=_OTHER_SERIES, path=path)


def _mapped(planes: Sequence[_Drawn], grid: Geometry) -> tuple[NDArray[np.uint16], bool]:
    """(I, J, K): the place of the region counted from 1; and whether regions overlap."""
    data = np.zeros(grid.shape, np.uint16)
    for n, drawn in enumerate(planes, start=1):
        for k in drawn.lines:
            mask = drawn.mask(k, grid.shape[:2])
            if data[..., k][mask].any():
                return data, True
            data[..., k][mask] = n
    return data, False


def _masks(planes: Sequence[_Drawn], grid: Geometry, path: PathLike) -> Mask:
    """(L, I, J, K) masks of regions that overlap."""
    shape = (len(planes), *grid.shape)
    if np.prod(shape, dtype=np.int64) > _MOST_BYTES:
        raise InvalidRequest(
            f"{len(planes)} regions overlap, and their masks would take "
            f"{np.prod(shape, dtype=np.int64) / 2**30:.0f} GiB",
            cure="Choose some of the regions by name.", path=path,
        )  # fmt: skip
    masks = np.zeros(shape, np.bool_)
    for n, drawn in enumerate(planes):
        drawn.found.clear()
        for k in drawn.lines:
            masks[n, ..., k] = drawn.mask(k, grid.shape[:2])
    return masks
