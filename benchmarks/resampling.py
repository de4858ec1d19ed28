"""Seconds of one way home: logits of several channels on a coarser grid to a finer one, linearly.

python benchmarks/resampling.py --channels 14
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from torch import Tensor
from torch.nn import functional

from unetr_app.geometry import Geometry
from unetr_app.inference.blending import Block
from unetr_app.inference.homecoming import Homecoming
from unetr_app.inference.way_home import WayHome

Shape = tuple[int, int, int]


def by_blocks(logits: Tensor, model: Geometry, native: Geometry) -> Tensor:
    """Ours, as inference does it: one axis after the other, piece by piece."""
    out = torch.zeros(len(logits), *native.shape)
    home = Homecoming(WayHome.plain(model, native), (0, 1, 2))
    for piece in home.pieces(Block((0, 0, 0), logits)):
        for channel, values in enumerate(piece.logits.numpy()):
            piece.write(values, out[channel].numpy())
    return out


def by_grid_sample(logits: Tensor, model: Geometry, native: Geometry) -> Tensor:
    """Torch, as MONAI's Spacingd and Invertd use it."""
    to_model = np.linalg.inv(model.affine) @ native.affine
    scale = np.array(native.shape) * np.diag(to_model)[:3] / np.array(model.shape)
    theta = torch.zeros(1, 3, 4, dtype=torch.float32)
    first = to_model[:3, 3]
    for axis in range(3):
        size = model.shape[axis]
        middle = first[axis] + to_model[axis, axis] * (native.shape[axis] - 1) / 2
        theta[0, 2 - axis, 2 - axis] = float(scale[axis])
        theta[0, 2 - axis, 3] = float((2 * middle + 1) / size - 1)
    grid = functional.affine_grid(theta, [1, 1, *native.shape], align_corners=False)
    return functional.grid_sample(
        logits[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )[0]


def by_simpleitk(logits: Tensor, model: Geometry, native: Geometry) -> Tensor:
    """SimpleITK, channel by channel."""
    out = torch.zeros(len(logits), *native.shape)
    like = _image(np.zeros(native.shape, np.float32), native)
    for channel, values in enumerate(logits.numpy()):
        done = sitk.Resample(
            _image(values, model), like, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32
        )
        out[channel] = torch.from_numpy(sitk.GetArrayFromImage(done).T.copy())
    return out


def _image(values: np.ndarray, geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.T))
    image.SetSpacing([float(n) for n in geometry.spacing])
    image.SetOrigin([float(n) for n in geometry.affine[:3, 3]])
    return image


WAYS: dict[str, Callable[[Tensor, Geometry, Geometry], Tensor]] = {
    "ours: axis by axis, by products of matrices": by_blocks,
    "torch grid_sample": by_grid_sample,
    "SimpleITK": by_simpleitk,
}


def main() -> None:
    """Parse the command line, run in turn, show the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--channels", type=int, default=14)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(given.threads)
    size: Shape = (given.size,) * 3
    finer: Shape = (given.size * 3 // 2,) * 3
    model = Geometry(size, np.diag([1.5, 1.5, 1.5, 1.0]))
    native = Geometry(finer, np.diag([1.0, 1.0, 1.0, 1.0]))
    logits = torch.randn(given.channels, *size)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    results: dict[str, Tensor] = {}
    for turn in range(4):
        for name, way in WAYS.items():
            start = time.perf_counter()
            results[name] = way(logits, model, native)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    reference = results["torch grid_sample"]
    inner = (slice(None), *(slice(3, -3),) * 3)
    print(f"{given.channels} channels, {size} to {finer}, {given.threads} threads")
    print("| way | seconds | largest difference from torch |\n|---|---|---|")
    for name, found in results.items():
        apart = float((found[inner] - reference[inner]).abs().max())
        print(f"| {name} | {statistics.median(seconds[name]):.2f} | {apart:.1e} |")


if __name__ == "__main__":
    main()
