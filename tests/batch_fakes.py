"""A bundle that is a threshold, and images whose right answer is known; for tests of batches.

Run as a module, this is the ``unetr`` command with the threshold in place of a network, so that
what signals and kills do to it can be seen without torch:

    python -m tests.batch_fakes DELAY ARGUMENT...
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from unetr_app.errors import Cancelled, UnfitInput
from unetr_app.geometry import Geometry
from unetr_app.inference.prepared import Prepared
from unetr_app.io import nifti
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation, Volume

LABELS = LabelSet.from_names({1: "Dim body", 2: "Bright body"})
SHAPE = (12, 15, 18)
WINDOWS = 4


def body(seed: int) -> np.ndarray:
    """(12, 15, 18) int16: an asymmetric dim body of 100 around a bright core of 200, in noise."""
    random = np.random.default_rng(seed)
    data = random.integers(0, 40, SHAPE).astype(np.int16)
    i = 2 + seed % 3
    data[i : i + 5, 3:9, 4:15] = 100
    data[i + 1 : i + 3, 4:7, 5 : 9 + seed % 4] = 200
    return data


def truth(seed: int) -> np.ndarray:
    """The label map of `body`."""
    data = body(seed)
    return np.where(data >= 200, 2, np.where(data >= 100, 1, 0)).astype(np.uint8)


def write_case(path: Path, seed: int) -> Path:
    """Write `body` on an oblique, anisotropic grid."""
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    geometry = Geometry.from_parts(SHAPE, (1.0, 1.5, 2.5), turn, (-10.0, 4.0 + seed, 7.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    nifti.write(body(seed), geometry, path)
    return path


def write_cases(folder: Path, count: int) -> list[Path]:
    """``case_00.nii.gz`` and so on."""
    return [write_case(folder / f"case_{n:02d}.nii.gz", n) for n in range(count)]


def write_bundle(folder: Path, *, weights: bytes = b"weights") -> Path:
    """A bundle folder with a card and weights that are none."""
    metadata = {
        "version": "0.3.0",
        "description": "a threshold",
        "network_data_format": {
            "inputs": {"image": {"modality": "MR", "channel_def": {"0": "any"}}},
            "outputs": {"pred": {"channel_def": {"1": "Dim body", "2": "Bright body"}}},
        },
        "weights_advice": "Ask the weaver for a new threshold.",
    }
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "models").mkdir(exist_ok=True)
    (folder / "configs/metadata.json").write_text(json.dumps(metadata))
    (folder / "configs/inference.yaml").write_text("network_def: a threshold\n")
    (folder / "models/model.pt").write_bytes(weights)
    return folder


class Limit:
    """A training range: the first axis may have at most so many voxels."""

    def __init__(self, voxels: int):
        self.voxels = voxels

    def check(self, volume: Volume, *, force: bool = False) -> list[str]:
        if volume.geometry.shape[0] <= self.voxels:
            return []
        if not force:
            raise UnfitInput("the image is too long", cure="Add --force.")
        return ["the image is too long"]


@dataclass(frozen=True)
class FakeCard:
    """What a batch reads of a bundle."""

    path: Path
    name: str = "threshold"
    version: str = "0.3.0"
    labels: LabelSet = LABELS
    weights_hash: str = hashlib.sha256(b"weights").hexdigest()
    training_range: Limit | None = None


@dataclass
class FakeSegmenter:
    """A threshold in place of a network."""

    card: FakeCard
    delay: float = 0.0  # seconds a window
    seen: list[str] = field(default_factory=list)
    fails: dict[str, BaseException] = field(default_factory=dict)  # by the input's file name

    def prepare(self, volume: Volume) -> Volume:
        return volume

    def segment(
        self,
        volume: Volume | Prepared,
        *,
        maps: Mapping[str, Path] | None = None,
        on_plan: Callable[[Any], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Segmentation:
        assert isinstance(volume, Volume)  # as `prepare` gives it
        name = Path(volume.source).name
        self.seen.append(name)
        if name in self.fails:
            raise self.fails[name]
        for window in range(WINDOWS):
            if should_stop is not None and should_stop():
                raise Cancelled("asked to stop")
            time.sleep(self.delay)
            if progress is not None:
                progress(window + 1, WINDOWS)
        data = volume.data[0]
        for path in (maps or {}).values():
            np.save(path, np.asfortranarray(data.astype(np.float32)))
        labels = np.where(data >= 200, 2, np.where(data >= 100, 1, 0))
        return Segmentation(labels, volume.geometry, self.card.labels)


def results_of(out: Path) -> dict[str, bytes]:
    """Every file below ``out`` but the manifest, whose seconds differ from run to run."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "manifest.jsonl"
    }


def manifest_of(out: Path) -> list[dict[str, object]]:
    """The rows of the manifest."""
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def run_command(delay: float, arguments: list[str]) -> int:
    """The ``unetr`` command with the threshold in place of any bundle's network."""
    from unetr_app import cli
    from unetr_app.bundle import read_card

    class Segmenter:
        @classmethod
        def open(
            cls, bundle: Path, *, device: str = "auto", options: Any = None, ask_trust: bool = False
        ) -> FakeSegmenter:
            return FakeSegmenter(read_card(bundle), delay)  # pyright: ignore

    fake = ModuleType("unetr_app.inference.segmenter")
    fake.Segmenter = Segmenter  # pyright: ignore
    sys.modules[fake.__name__] = fake
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(run_command(float(sys.argv[1]), sys.argv[2:]))
