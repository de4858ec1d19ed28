"""One case by other software, or by ours stage by stage; run by `inference.py`, a process each.

python benchmarks/peers.py monai BUNDLE IMAGE OUT
python benchmarks/peers.py nnunet BUNDLE IMAGE OUT
python benchmarks/peers.py stages BUNDLE IMAGE OUT --backend openvino
python benchmarks/peers.py window BUNDLE IMAGE OUT
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

GIB = 2**30


def by_monai(bundle: Path, image: Path, out: Path) -> None:
    """MONAI's transforms, inferer and Invertd in a script, without its engine."""
    import torch

    parser = _config(bundle)
    parser["output_dir"] = str(out)
    network = _network(parser, bundle)
    data = parser.get_parsed_content("preprocessing")({"image": str(image)})
    inferer = parser.get_parsed_content("inferer")
    with torch.inference_mode():
        data["pred"] = inferer(data["image"][None], network)[0]
    parser.get_parsed_content("postprocessing")(data)


def by_nnunet(bundle: Path, image: Path, out: Path) -> None:
    """nnU-Net's sliding window around the same network; no resampling, so for equal grids alone."""
    import nibabel
    import numpy as np
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    parser = _config(bundle)
    data = parser.get_parsed_content("preprocessing")({"image": str(image)})["image"]
    predictor: Any = nnUNetPredictor(
        tile_step_size=0.75, use_gaussian=True, use_mirroring=False,
        perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False,
    )  # fmt: skip
    predictor.network = _network(parser, bundle)
    predictor.list_of_parameters = [predictor.network.state_dict()]
    predictor.configuration_manager = SimpleNamespace(patch_size=[96, 96, 96])
    heads = parser.config["network_def"]["out_channels"]
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=heads)
    logits = predictor.predict_sliding_window_return_logits(data.as_tensor())
    labels = logits.argmax(0).numpy().astype(np.uint8)
    out.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, np.asarray(data.affine)), out / "labels.nii.gz")


def by_stages(bundle: Path, image: Path, out: Path, backend: str) -> None:
    """Ours, with the seconds and the largest resident size of each stage, as JSON."""
    watch = _Watch()
    import torch

    from unetr_app.inference import InferenceOptions, Segmenter
    from unetr_app.io import nifti, read_volume

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    watch.end("import")
    segmenter = Segmenter.open(bundle, options=InferenceOptions(backend=backend))
    watch.end("open the bundle")
    volume = read_volume(image)
    watch.end("read")
    prepared = segmenter.prepare(volume)
    watch.end("preprocess")
    found = segmenter.segment(prepared, on_plan=lambda _: watch.end("open the backend"))
    watch.end("windows, blending, way home, labels")
    out.mkdir(parents=True, exist_ok=True)
    nifti.write(found.label_map, volume.geometry, out / "labels.nii.gz")
    watch.end("write")
    print("STAGES " + json.dumps(watch.stages))


def one_window(bundle: Path, image: Path, out: Path) -> None:
    """Seconds of one window: torch eager and each backend, in turn, medians of five, as JSON."""
    import torch

    from unetr_app.inference.backends import LIBRARIES, open_backend

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    network = _network(_config(bundle), bundle)
    shape = (1, 1, 96, 96, 96)
    window = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    work: dict[str, tuple[Callable[[Any], Any], int]] = {"torch eager": (network, 1)}
    for name in LIBRARIES:
        found = open_backend(name, network, window=shape, weights_hash=f"benchmark {bundle}")
        work[name] = (found.run, found.streams)
    seconds: dict[str, list[float]] = {name: [] for name in work}
    with torch.inference_mode():
        for turn in range(6):
            for name, (run, streams) in work.items():
                taken = _timed(run, window, streams)
                if turn:
                    seconds[name].append(taken)
    print("STAGES " + json.dumps([(n, statistics.median(s), 0.0) for n, s in seconds.items()]))


def _timed(run: Callable[[Any], Any], window: Any, streams: int) -> float:
    """Seconds a window, of four; as many at a time as the backend takes."""
    from concurrent.futures import ThreadPoolExecutor

    start = time.perf_counter()
    if streams == 1:
        for _ in range(4):
            run(window)
    else:
        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(run, [window] * 4))
    return (time.perf_counter() - start) / 4


class _Watch:
    """Seconds and largest resident size since the last stage's end."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float, float]] = []
        self._since, self._most = time.perf_counter(), 0
        threading.Thread(target=self._look, daemon=True).start()

    def end(self, stage: str) -> None:
        now = time.perf_counter()
        self.stages.append((stage, round(now - self._since, 2), round(self._most / GIB, 2)))
        self._since, self._most = now, 0

    def _look(self) -> None:
        while True:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self._most = max(self._most, pages * os.sysconf("SC_PAGE_SIZE"))
            time.sleep(0.01)


def _config(bundle: Path) -> Any:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(next((bundle / "configs").glob("inference.[jy]*")))
    parser["bundle_root"] = str(bundle)
    return parser


def _network(parser: Any, bundle: Path) -> Any:
    import torch

    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    return network.eval()


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("who", choices=["monai", "nnunet", "stages", "window"])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--backend", default="auto")
    given = parser.parse_args()
    where = (given.bundle, given.image, given.out)
    if given.who == "stages":
        by_stages(*where, given.backend)
    else:
        {"monai": by_monai, "nnunet": by_nnunet, "window": one_window}[given.who](*where)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
