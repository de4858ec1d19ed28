"""Agreement of `unetr segment --localise` with a segmentation of the whole image, on a real CT.

A small network learns both kidneys and the gallbladder at sizes from half to whole on one crop of a
CT (some minutes; kept in the output folder), and finds them in the whole CT, both ways:

    python benchmarks/localise.py
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.losses.dice import DiceCELoss
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unetr_app.evaluation.overlap import dice
from unetr_app.inference import Segmenter
from unetr_app.inference.options import InferenceOptions
from unetr_app.io import read_volume

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("UNETR_SHARED", REPOSITORY.parent / "shared"))
ORGANS = {2: "right kidney", 3: "left kidney", 4: "gallbladder"}  # values in the label map
SIDE = 32  # voxels of a window
LOW, HIGH = -175, 250  # Hounsfield units
NETWORK = {
    "_target_": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 1 + len(ORGANS),
    "features": [8, 16, 32, 32, 32, 16],
}  # fmt: skip


def bundle(folder: Path, network: torch.nn.Module) -> Path:
    """A bundle around the network."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    names = dict(enumerate(["background", *ORGANS.values()]))
    image = {"num_channels": 1, "spatial_shape": [SIDE] * 3, "channel_def": {"0": "CT"}}
    pred = {"num_channels": len(names), "channel_def": {str(n): name for n, name in names.items()}}
    metadata = {"version": "0.1.0", "network_data_format": {
        "inputs": {"image": image}, "outputs": {"pred": pred},
    }}  # fmt: skip
    config = {
        "network_def": NETWORK,
        "preprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": LOW, "a_max": HIGH,
             "b_min": 0.0, "b_max": 1.0, "clip": True},
        ]},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [SIDE] * 3, "overlap": 0.5,
                    "mode": "gaussian"},
        "postprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        ]},
    }  # fmt: skip
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata, indent=1))
    (folder / "configs" / "inference.json").write_text(json.dumps(config, indent=1))
    return folder


def trained(image: NDArray[Any], labels: NDArray[Any], steps: int) -> torch.nn.Module:
    """The network after so many steps of two windows at a random size each."""
    torch.manual_seed(0)
    network: Any = ConfigParser({"n": NETWORK}).get_parsed_content("n")
    values = torch.from_numpy(np.clip((image - LOW) / (HIGH - LOW), 0, 1)).float()
    classes = sum((n * (labels == value) for n, value in enumerate(ORGANS, 1)), labels * 0)
    target = torch.from_numpy(classes.astype(np.int64))
    loss = DiceCELoss(
        to_onehot_y=True, softmax=True, batch=True, include_background=False,
        weight=torch.tensor([0.2, *[1.0] * len(ORGANS)]),
    )  # fmt: skip
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for step in range(steps):
        x, y = zip(*(window(values, target) for _ in range(2)), strict=True)
        optimiser.zero_grad()
        value = loss(network(torch.stack(x)), torch.stack(y))
        value.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step} of {steps}: loss {float(value):.3f}", flush=True)
    return network.eval()


def window(image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(1, SIDE...) of both at a random size, around an organ in two of three."""
    scale = float(torch.empty(1).uniform_(0.45, 1.05))
    shape = [max(1, round(n * scale)) for n in image.shape]
    x = functional.interpolate(image[None, None], shape, mode="trilinear", antialias=False)[0]
    y = functional.interpolate(labels[None, None].float(), shape, mode="nearest")[0]
    more = [m for n in reversed(shape) for m in (SIDE // 2, SIDE // 2 + max(0, SIDE - n))]
    x, y = functional.pad(x, more), functional.pad(y, more)
    organs = torch.nonzero(y[0])
    if len(organs) and float(torch.rand(1)) < 2 / 3:
        middle = organs[int(torch.randint(len(organs), (1,)))] - SIDE // 2
        middle = middle + torch.randint(-8, 9, (3,))
    else:
        middle = (torch.rand(3) * (torch.tensor(y.shape[1:]) - SIDE)).long()
    room = (np.array(y.shape[1:]) - SIDE).tolist()
    i, j, k = (slice(s, s + SIDE) for s in np.clip(middle.tolist(), 0, room))
    return x[:, i, j, k] + 0.02 * torch.randn(1, SIDE, SIDE, SIDE), y[:, i, j, k]


def main() -> None:
    """Train where that was not done, segment both ways, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=REPOSITORY / "runs" / "localise")
    parser.add_argument("--steps", type=int, default=600)
    given = parser.parse_args()
    folder, data = given.output, SHARED / "data" / "ct_example"
    crop, truth = (
        np.asarray(nibabel.load(data / f"{name}.nii.gz").dataobj)  # pyright: ignore
        for name in ("example_ct_sm", "example_seg_fast")
    )
    if not (folder / "models" / "model.pt").is_file():
        bundle(folder, trained(crop, truth, given.steps))
    whole = read_volume(data / "example_ct.nii.gz")
    found, seconds = {}, {}
    for localise in (False, True):
        options = InferenceOptions(backend="auto", localise=localise)
        segmenter = Segmenter.open(folder, options=options)
        segmenter.segment(read_volume(data / "example_ct_sm.nii.gz"))  # opens the backend
        begun = time.monotonic()
        found[localise] = segmenter.segment(whole).label_map
        seconds[localise] = time.monotonic() - begun
    print(f"whole: {seconds[False]:.1f} s, localised: {seconds[True]:.1f} s, "
          f"equal voxels: {(found[False] == found[True]).mean():.5%}")  # fmt: skip
    print("| organ | Dice of the two | in the learnt slices | whole, truth | localised, truth |")
    print("|---|---|---|---|---|")
    depth, image = truth.shape[2], whole.data[0]
    first = next(
        k for k in range(image.shape[2] - depth + 1)
        if np.allclose(image[..., k : k + depth], crop, atol=1)
    )  # fmt: skip
    for n, (value, organ) in enumerate(ORGANS.items(), 1):
        both = [found[localise] == n for localise in (False, True)]
        learnt = [one[..., first : first + depth] for one in both]
        scores = [dice(*both), dice(*learnt), *(dice(one, truth == value) for one in learnt)]
        print(f"| {organ} | {' | '.join(f'{score:.3f}' for score in scores)} |")


if __name__ == "__main__":
    main()
