"""How long a reviewer waits: the next case of a large CT, and a hundred case changes of small ones.

    python benchmarks/review.py [--cases 3] [--changes 100] [--json FILE]

Needs a display; on a machine without one: ``xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX"
python benchmarks/review.py``. The large CTs are made up (512 x 512 x 300, 13 labels, uncompressed
NIfTI); the small ones are 20 hippocampi of the Medical Segmentation Decathlon where UNETR_SHARED
names them, else made up too.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data.phantom_files import write_nifti
from tests.review_stage import Hands, make_output_folder
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation

SHAPE = (512, 512, 300)
LABELS = 13


def large_case(folder: Path, name: str, seed: int) -> None:
    """A CT and its labels as ``name.nii`` and ``name_seg.nii``."""
    from unetr_app.io import write_segmentation

    rng = np.random.default_rng(seed)
    grid = Geometry(SHAPE, np.diag([-0.8, -0.8, 1.0, 1.0]))
    data = rng.integers(-1000, 200, SHAPE, dtype=np.int16)
    label_map = np.zeros(SHAPE, np.uint8)
    at = [np.linspace(-1, 1, n) for n in SHAPE]
    for value in range(1, LABELS + 1):
        centre, radius = rng.uniform(-0.6, 0.6, 3), rng.uniform(0.08, 0.3)
        distance = sum(
            ((axis - c) ** 2).reshape([-1 if n == k else 1 for k in range(3)])
            for n, (axis, c) in enumerate(zip(at, centre, strict=True))
        )
        label_map[distance < radius**2] = value
    data[label_map > 0] += 800
    write_nifti(data, grid, folder / f"{name}.nii")
    names = LabelSet.from_names({v: f"organ {v}" for v in range(1, LABELS + 1)})
    write_segmentation(Segmentation(label_map, grid, names), folder / f"{name}_seg.nii")


def small_cases(folder: Path) -> Path:
    """Twenty hippocampi as a list, or made-up cases."""
    shared = Path(os.environ.get("UNETR_SHARED", "../shared")) / "data/Task04_Hippocampus"
    images = sorted(shared.glob("imagesTr/*.nii.gz"))[:20]
    if not images:
        return make_output_folder(folder, 20)
    rows = [f"{image},{shared / 'labelsTr' / image.name}" for image in images]
    listed = folder / "hippocampi.csv"
    listed.write_text("\n".join(["image,labels", *rows]) + "\n")
    return listed


def resident_mib() -> float:
    """What the process holds of memory."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def opened(path: Path) -> tuple[Any, Hands]:
    """A review window on a worklist, and hands on it."""
    from unetr_app.napari.reviewing.program import open_window

    window = open_window(path, reviewer="benchmark")
    return window, Hands(window)


def next_case(cases: int) -> dict[str, Any]:
    """Seconds from the key to the next CT on the screen, read ahead before."""
    with tempfile.TemporaryDirectory() as folder:
        for n in range(cases):
            large_case(Path(folder), f"ct_{n}", n)
        begin = time.perf_counter()
        window, hands = opened(Path(folder))
        hands.wait_for_case("ct_0")
        found: dict[str, Any] = {"first_s": time.perf_counter() - begin, "next_s": []}
        for n in range(1, cases):
            hands.wait(lambda: all(job.done() for job in window.cases.ahead), "reading ahead", 300)
            begin = time.perf_counter()
            hands.key("N")
            hands.wait_for_case(f"ct_{n}")
            found["next_s"].append(time.perf_counter() - begin)
        found["resident_mib"] = resident_mib()
        window.bench.viewer.close()
    return found


def changes(count: int) -> dict[str, Any]:
    """Growth of memory, layers and threads over many case changes, by keyboard."""
    with tempfile.TemporaryDirectory() as folder:
        window, hands = opened(small_cases(Path(folder)))
        hands.wait(lambda: window.bench.shown is not None, "the first case")
        seconds: list[float] = []
        seen: list[tuple[float, int, int]] = []
        for n in range(count + 20):  # the first round warms up
            forth = (n // 19) % 2 == 0
            before = window.bench.shown
            begin = time.perf_counter()
            hands.key("A" if n % 3 == 0 else "F")
            hands.key("N" if forth else "P")
            hands.wait(lambda last=before: window.bench.shown is not last, f"change {n}")
            seconds.append(time.perf_counter() - begin)
            if n >= 19:
                gc.collect()
                layers = len(window.bench.viewer.layers)
                seen.append((resident_mib(), layers, threading.active_count()))
        window.bench.viewer.close()
    first, last = seen[0], seen[-1]
    return {
        "median_s": float(np.median(seconds)), "worst_s": max(seconds),
        "resident_mib": [first[0], last[0]], "growth_percent": 100 * (last[0] / first[0] - 1),
        "layers": [first[1], last[1]], "threads": [first[2], last[2]],
    }  # fmt: skip


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=3, help="large CTs; 0 leaves them out")
    parser.add_argument("--changes", type=int, default=100, help="0 leaves them out")
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    chosen = parser.parse_args()
    os.environ.setdefault("NAPARI_CONFIG", str(Path(tempfile.mkdtemp()) / "settings.yaml"))
    found: dict[str, Any] = {}
    if chosen.cases:
        found["next case"] = next_case(chosen.cases)
    if chosen.changes:
        found["changes"] = changes(chosen.changes)
    for name, figures in found.items():
        print(name)
        for key, value in figures.items():
            shown = [round(v, 2) for v in value] if isinstance(value, list) else round(value, 2)
            print(f"  {key:16} {shown}")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
