"""Phantoms: made-up anatomy whose truth is known in patient millimetres, on any grid.

Bodies are ellipsoids in RAS+ mm. They are asymmetric along every axis, so that a flip or a swap of
axes cannot hide, and they never overlap, so that volume and centroid of each are known exactly.

    python data/phantom.py OUT --kind mr --cases 12
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.phantom_files import write_dicom_series, write_nifti
from unetr_app.geometry import Geometry
from unetr_app.labels import Label, LabelSet
from unetr_app.volume import Segmentation, Volume

__all__ = [
    "KINDS", "Ellipsoid", "labels_of", "make_bodies", "oblique_geometry", "phantom",
    "write_dicom_series", "write_msd_dataset",
]  # fmt: skip

KINDS = ("mr", "ct")
_FILL = 0.92  # share of the field of view that bodies may reach
_NOISE = {"mr": 12.0, "ct": 10.0}  # standard deviation; units of the image (ct: HU)
_OUTSIDE = {"mr": 60.0, "ct": -1000.0}

# Each row: label value (0 is unlabelled tissue), name, centre, semi-axes (RAS+ mm from the middle
# of the anatomy), intensity. Later rows lie on top of unlabelled ones before them.
_Row = tuple[int, str, tuple[float, float, float], tuple[float, float, float], float]
_MR: tuple[_Row, ...] = (
    (0, "white matter", (1, 2, 1), (24, 34, 25), 900.0),
    (0, "cerebrospinal fluid", (6.5, -1, 8), (2.5, 12, 3), 250.0),
    (1, "Anterior", (1.0, 8.7, -3.5), (6.6, 8.4, 6.4), 620.0),
    (2, "Posterior", (-2.0, -9.9, 2.5), (5.8, 9.4, 5.9), 560.0),
)
# Values and names follow the multi-atlas abdomen set (BTCV): thirteen organs beside background.
_CT: tuple[_Row, ...] = (
    (0, "body wall", (4, 3, 2), (165, 115, 190), 30.0),
    (0, "vertebral bone", (3, -88, -10), (20, 18, 160), 500.0),
    (1, "spleen", (-106, -28, 52), (24, 34, 42), 118.0),
    (2, "right kidney", (68, -52, -50), (24, 24, 48), 165.0),
    (3, "left kidney", (-70, -50, -38), (22, 23, 50), 172.0),
    (4, "gallbladder", (58, 48, -30), (17, 22, 18), 8.0),
    (5, "esophagus", (-10, -28, 135), (12, 12, 34), 55.0),
    (6, "liver", (82, 15, 58), (60, 70, 52), 104.0),
    (7, "stomach", (-58, 40, 62), (40, 32, 42), 45.0),
    (8, "aorta", (-14, -48, -30), (13, 13, 95), 210.0),
    (9, "inferior vena cava", (22, -44, -62), (14, 12, 70), 150.0),
    (10, "portal vein and splenic vein", (10, 10, 12), (16, 14, 14), 185.0),
    (11, "pancreas", (-22, 18, -14), (34, 17, 13), 92.0),
    (12, "right adrenal gland", (34, -40, 26), (13, 15, 12), 78.0),
    (13, "left adrenal gland", (-42, -26, 14), (13, 12, 15), 80.0),
)
_TABLE = {"mr": _MR, "ct": _CT}


@dataclass(frozen=True)
class Ellipsoid:
    """A solid body in the patient.

    Args:
        value: Value in the label map; 0 where it is unlabelled tissue.
        name: What it stands for.
        centre_mm: RAS+ mm.
        radii_mm: Semi-axes along x, y, z.
        intensity: Intensity of the voxels inside.
    """

    value: int
    name: str
    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    intensity: float

    @property
    def volume_ml(self) -> float:
        """Exact volume."""
        return float(4 / 3 * np.pi * np.prod(self.radii_mm) / 1000)

    def contains(self, points_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the (..., 3) RAS+ mm points lie inside."""
        away = (points_mm - np.asarray(self.centre_mm)) / np.asarray(self.radii_mm)
        return np.einsum("...n,...n->...", away, away) <= 1.0

    def scaled(self, factor: float, middle_mm: NDArray[np.float64]) -> Ellipsoid:
        """Moved from the anatomy's middle to ``middle_mm``, all lengths times ``factor``."""
        x, y, z = np.asarray(self.centre_mm) * factor + middle_mm
        a, b, c = np.asarray(self.radii_mm) * factor
        return replace(self, centre_mm=(x, y, z), radii_mm=(a, b, c))


def labels_of(kind: str) -> LabelSet:
    """The labels of a kind of phantom, ``"mr"`` (two) or ``"ct"`` (thirteen)."""
    return LabelSet(tuple(Label(row[0], row[1]) for row in _TABLE[kind] if row[0]))


def oblique_geometry(
    shape: Sequence[int],
    spacing: Sequence[float] = (0.9, 1.1, 2.5),
    angles_deg: Sequence[float] = (11.0, -7.0, 19.0),
    origin: Sequence[float] = (-21.0, 13.0, -37.0),
) -> Geometry:
    """A grid turned about x, then y, then z, such as a scanner's oblique plan gives.

    Args:
        shape: Voxels along i, j, k.
        spacing: Millimetres along i, j, k.
        angles_deg: Right-handed turns about the RAS+ axes x, y, z.
        origin: RAS+ mm of voxel (0, 0, 0).
    """
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(np.asarray(angles_deg, dtype=float))):
        one = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one[a, a] = one[b, b] = np.cos(angle)
        one[b, a], one[a, b] = np.sin(angle), -np.sin(angle)
        turn = one @ turn
    return Geometry.from_parts(shape, spacing, turn, origin)


def make_bodies(geometry: Geometry, kind: str = "mr", seed: int = 0) -> tuple[Ellipsoid, ...]:
    """The anatomy of one made-up person, in the middle of a grid, true to size where it fits.

    Args:
        geometry: Grid in whose field of view all bodies lie whole; on a small one the anatomy
            shrinks evenly.
        kind: ``"mr"``, the two labels of a hippocampus; ``"ct"``, thirteen abdominal organs.
        seed: The person: sizes and intensities vary by some per cent with it.
    """
    middle = geometry.index_to_world((np.asarray(geometry.shape) - 1) / 2)
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    bodies = [Ellipsoid(*row) for row in _TABLE[kind]]
    wobble = [(rng.uniform(0.9, 1.0, 3), rng.uniform(0.97, 1.03)) for _ in bodies]
    size = min(rng.uniform(0.9, 1.05), _largest_scale(bodies, geometry))
    varied: list[Ellipsoid] = []
    for body, (shrink, brightness) in zip(bodies, wobble, strict=True):
        a, b, c = np.asarray(body.radii_mm) * shrink
        person = replace(body, radii_mm=(a, b, c), intensity=body.intensity * brightness)
        varied.append(person.scaled(size, middle))
    return tuple(varied)


def _largest_scale(bodies: Sequence[Ellipsoid], geometry: Geometry) -> float:
    """The factor at which the first body to do so reaches the border of the field of view."""
    rows = np.linalg.inv(geometry.affine[:3, :3])  # mm to voxels; (3, 3)
    half = np.asarray(geometry.shape) / 2 * _FILL
    reach = [
        np.abs(rows @ np.asarray(b.centre_mm)) + np.linalg.norm(rows * b.radii_mm, axis=1)
        for b in bodies
        if b.value
    ]
    return float((half / np.max(reach, axis=0)).min())


def phantom(
    geometry: Geometry,
    kind: str = "mr",
    seed: int = 0,
    *,
    bodies: Sequence[Ellipsoid] | None = None,
    noise: float | None = None,
) -> tuple[Volume, Segmentation]:
    """Image and truth on a grid.

    Args:
        geometry: Any grid: oblique, anisotropic, sheared.
        kind: ``"mr"`` (arbitrary units, uneven coil brightness) or ``"ct"`` (HU).
        seed: The person and the noise.
        bodies: The anatomy; ``make_bodies(geometry, kind, seed)`` where absent. Give the same
            bodies with two grids for two scans of one person.
        noise: Standard deviation of the noise; a value usual for the kind where absent.

    Returns:
        Volume of one channel with whole-number intensities, and its label map. A voxel belongs to
        the body that its centre lies in.

    Example:
        >>> volume, truth = phantom(oblique_geometry((32, 40, 24)))
        >>> volume.data.shape, truth.labels.names
        ((1, 32, 40, 24), ('Anterior', 'Posterior'))
    """
    if bodies is None:
        bodies = make_bodies(geometry, kind, seed)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in geometry.shape], indexing="ij"), axis=-1)
    world = geometry.index_to_world(index)  # (I, J, K, 3) mm
    image = np.full(geometry.shape, _OUTSIDE[kind])
    label_map = np.zeros(geometry.shape, dtype=np.uint8)
    for body in bodies:
        inside = body.contains(world)
        image[inside] = body.intensity
        label_map[inside] = body.value
    if kind == "mr":  # brighter towards right, front and head, differently each
        middle = geometry.index_to_world((np.asarray(geometry.shape) - 1) / 2)
        image *= 1 + (world - middle) @ (0.002, 0.001, 0.0015)
    rng = np.random.default_rng((seed, 1 + KINDS.index(kind)))
    image += rng.normal(0, _NOISE[kind] if noise is None else noise, geometry.shape)
    if kind == "mr":
        image = np.abs(image)
    image = np.clip(np.rint(image), -1024, 32767)
    volume = Volume(image[None].astype(np.float32), geometry, modality=kind.upper())
    return volume, Segmentation(label_map, geometry, labels_of(kind))


def write_msd_dataset(
    folder: Path,
    cases: int = 12,
    *,
    kind: str = "mr",
    shape: Sequence[int] | None = None,
    seed: int = 0,
    folds: int = 5,
) -> Path:
    """Write a data set in the Medical Segmentation Decathlon's layout.

    Args:
        folder: Made where absent; gets ``imagesTr``, ``labelsTr`` and ``dataset.json``.
        cases: Number of people.
        kind: ``"mr"``: hippocampus-like crops, 1 mm, each of its own size and brightness, as in
            the real set; ``"ct"``: abdomen-like, 3 x 3 x 4 mm.
        shape: Voxels along i, j, k of the mean case; usual for the kind where absent.
        seed: Decides everything.
        folds: Cases are dealt to this many folds in turn.

    Returns:
        ``folder``.
    """
    rng = np.random.default_rng(seed)
    mean_shape = np.asarray(shape or ((35, 51, 35) if kind == "mr" else (96, 80, 72)))
    spacing = (1.0, 1.0, 1.0) if kind == "mr" else (3.0, 3.0, 4.0)
    name = "hippocampus" if kind == "mr" else "abdomen"
    rows: list[dict[str, str | int]] = []
    for number in range(cases):
        around = np.maximum(mean_shape + rng.integers(-2, 3, 3), 8)
        grid = Geometry.from_parts(around.tolist(), spacing, np.eye(3), (1.0, 1.0, 1.0))
        volume, truth = phantom(grid, kind, seed=1000 * seed + number)
        image = volume.data[0]
        if kind == "mr":
            image = np.rint(image * 10 ** rng.uniform(-0.7, 2.5))  # MR has no unit
        file = f"{name}_{number + 1:03d}.nii.gz"
        write_nifti(image.astype(np.float32), grid, Path(folder) / "imagesTr" / file)
        write_nifti(truth.label_map, grid, Path(folder) / "labelsTr" / file)
        rows.append(
            {"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}", "fold": number % folds}
        )
    about = {
        "name": f"Phantom {name}",
        "description": "Made-up anatomy from data/phantom.py",
        "reference": "none",
        "licence": "CC0-1.0",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI" if kind == "mr" else "CT"},
        "labels": {"0": "background"} | {str(v.value): v.name for v in labels_of(kind)},
        "numTraining": cases,
        "numTest": 0,
        "training": rows,
        "test": [],
    }
    (Path(folder) / "dataset.json").write_text(json.dumps(about, indent=2) + "\n")
    return Path(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a data set of phantoms; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write an MSD-style data set of phantoms.")
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("--kind", choices=KINDS, default="mr")
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    folder = write_msd_dataset(
        options.out, cases=options.cases, kind=options.kind, seed=options.seed
    )
    sys.stdout.write(f"{options.cases} {options.kind} phantoms in {folder}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
