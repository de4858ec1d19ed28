"""Seconds and peak memory of whole cases: ours and peers in turn, same weights, same windows.

Every run is a process of its own; its peak is the largest resident size that the system saw. A peer
that cannot is run under a limit of its address space and recorded as out of memory. Networks have
random weights: what is measured does not depend on them. Results are kept, and tasks that are done
are not done again:

    python benchmarks/inference.py --only case256 folder

nnU-Net's rows need nnunetv2, in this Python or, with --nnunet, in another that has MONAI too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("UNETR_SHARED", REPOSITORY.parent / "shared"))
HIPPOCAMPUS = REPOSITORY / "bundles" / "hippocampus_mr_unetr_segmentation"
CROPS = SHARED / "data" / "Task04_Hippocampus" / "imagesTr"
PEERS = Path(__file__).with_name("peers.py")
GIB = 2**30
Shape = tuple[int, int, int]

UNETR = {
    "_target_": "UNETR", "in_channels": 1, "out_channels": 14, "img_size": [96, 96, 96],
    "feature_size": 16, "hidden_size": 768, "mlp_dim": 3072, "num_heads": 12,
}  # fmt: skip
SMALL = {
    "_target_": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 105,
    "features": [8, 8, 16, 16, 16, 8],
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One run.

    Args:
        task: What was to be done.
        who: By what.
        seconds: Wall clock.
        peak_gib: Largest resident size.
        note: How it ended, where that is not well.
    """

    task: str
    who: str
    seconds: float
    peak_gib: float
    note: str = ""


def bundle(folder: Path, network: dict[str, Any]) -> Path:
    """A bundle as the model zoo has them, with random weights."""
    from monai.bundle import ConfigParser

    if (folder / "models" / "model.pt").is_file():
        return folder
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "models").mkdir(exist_ok=True)
    classes = network["out_channels"]
    channel_def = {str(n): "background" if n == 0 else f"label {n}" for n in range(classes)}
    image = {"type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1,
             "spatial_shape": [96, 96, 96], "dtype": "float32", "value_range": [0, 1],
             "is_patch_data": True, "channel_def": {"0": "image"}}  # fmt: skip
    pred = image | {"num_channels": classes, "channel_def": channel_def, "format": "segmentation"}
    metadata = {
        "version": "0.1.0", "monai_version": "1.6.1", "pytorch_version": "2.13.0",
        "numpy_version": "2", "task": "benchmark", "description": "Random weights.",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }  # fmt: skip
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata, indent=1))
    (folder / "configs" / "inference.json").write_text(json.dumps(_inference(network), indent=1))
    torch.manual_seed(0)
    parser = ConfigParser({"network_def": network})
    torch.save(parser.get_parsed_content("network_def").state_dict(), folder / "models/model.pt")
    return folder


def _inference(network: dict[str, Any]) -> dict[str, Any]:
    """The configuration: preprocess, infer, restore and save as MONAI's tutorials do."""
    save = {
        "_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "resample": False,
        "output_dtype": "$np.uint8",
    }  # fmt: skip
    return {
        "imports": ["$import glob", "$import numpy as np"],
        "bundle_root": ".", "dataset_dir": ".", "output_dir": ".", "device": "$torch.device('cpu')",
        "network_def": network, "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 1.5],
             "mode": "bilinear"},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -175, "a_max": 250,
             "b_min": 0.0, "b_max": 1.0, "clip": True},
            {"_target_": "EnsureTyped", "keys": "image"},
        ]},
        "dataset": {"_target_": "Dataset",
                    "data": "$[{'image': i} for i in glob.glob(@dataset_dir + '/*.nii.gz')]",
                    "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1,
                       "shuffle": False, "num_workers": 0},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 96],
                    "sw_batch_size": 1, "overlap": 0.25, "mode": "gaussian"},
        "postprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing",
             "orig_keys": "image", "nearest_interp": False, "to_tensor": True},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            save,
        ]},
        "handlers": [{"_target_": "CheckpointLoader",
                      "load_path": "$@bundle_root + '/models/model.pt'",
                      "load_dict": {"model": "@network"}}],
        "evaluator": {"_target_": "SupervisedEvaluator", "device": "@device",
                      "val_data_loader": "@dataloader", "network": "@network",
                      "inferer": "@inferer", "postprocessing": "@postprocessing",
                      "val_handlers": "@handlers"},
        "run": ["$@evaluator.run()"],
    }  # fmt: skip


def volume(folder: Path, shape: Shape, spacing: tuple[float, float, float]) -> Path:
    """A folder with one CT: an ellipsoid of noise in air that fills 0.8 of each axis."""
    path = folder / "ct.nii.gz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        axes = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
        body = sum(axis**2 for axis in axes) < 0.8**2
        noise = np.random.default_rng(0).normal(40, 60, shape).astype(np.int16)
        data = np.where(body, noise, np.int16(-1000))
        nibabel.save(nibabel.Nifti1Image(data, np.diag([*spacing, 1])), path)
    return folder


def measure(
    task: str, who: str, command: Sequence[str], given: argparse.Namespace, *, times: int = 1,
    limit_gib: float | None = None, cwd: Path | None = None,
) -> Row:  # fmt: skip
    """Run a command, perhaps several times in turn, and see what it takes."""
    log = given.output / f"{task}_{re.sub('[^a-z]+', '-', who.lower())}.log"
    environment = environment_of(given)

    def limit() -> None:
        if limit_gib:
            resource.setrlimit(resource.RLIMIT_AS, (int(limit_gib * GIB),) * 2)

    start, peak, note = time.monotonic(), 0, ""
    with log.open("w") as file:
        for _ in range(times):
            process = subprocess.Popen(
                command, stdout=file, stderr=file, env=environment, cwd=cwd, preexec_fn=limit
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            peak = max(peak, usage.ru_maxrss * 1024)
            if process.returncode:
                short = re.search(
                    "MemoryError|not enough memory|bad_alloc|t allocate memory", log.read_text()
                )
                of = f" at {limit_gib:g} GiB" if limit_gib else ""
                note = f"out of memory{of}" if short else f"ended with {process.returncode}"
                break
    return Row(task, who, round(time.monotonic() - start, 2), round(peak / GIB, 2), note)


def environment_of(given: argparse.Namespace) -> dict[str, str]:
    """Of every run: its threads, and a cache of its own for converted networks."""
    cache = str(given.output / "cache")
    return os.environ | {"OMP_NUM_THREADS": str(given.threads), "UNETR_CACHE": cache}


def ours(folder: Path, images: Path, out: Path, *more: str) -> list[str]:
    """Our command over a folder of images; a run that was done before is forgotten."""
    out = out / "-".join(["ours", *more])
    shutil.rmtree(out, ignore_errors=True)
    return [
        str(Path(sys.executable).with_name("unetr")), "segment", str(images), "-o", str(out),
        "-b", str(folder), "--trust", "--no-preview", *more,
    ]  # fmt: skip


def stock(folder: Path, images: Path, out: Path) -> list[str]:
    """MONAI's own command over the same."""
    file = next((folder / "configs").glob("inference.[jy]*"))
    return [
        sys.executable, "-m", "monai.bundle", "run", "--config_file", str(file), "--bundle_root",
        str(folder), "--dataset_dir", str(images), "--output_dir", str(out),
    ]  # fmt: skip


def peer(
    who: str, folder: Path, images: Path, out: Path, python: str = sys.executable
) -> list[str]:
    """A case by one of `peers.py`."""
    return [python, str(PEERS), who, str(folder), str(images / "ct.nii.gz"), str(out)]


def whole_case(
    name: str, shape: Shape, network: dict[str, Any], *, spacing: tuple[float, float, float],
    limit_gib: float | None = None, whole_table: bool = False,
) -> Callable[[argparse.Namespace], list[Row]]:  # fmt: skip
    """One volume, ours in several ways and peers.

    Args:
        name: Of the task.
        shape: Of the volume.
        network: Of the bundle.
        spacing: Of the volume in mm; the network's is 1.5.
        limit_gib: Of the peers' address space.
        whole_table: By torch alone, by MONAI in a script and by nnU-Net's predictor, too; that one
            does not resample.
    """

    def run(given: argparse.Namespace) -> list[Row]:
        folder = bundle(given.output / f"bundle_{network['out_channels']}", network)
        images = volume(given.output / f"volume_{name}", shape, spacing)
        out = given.output / f"out_{name}"
        shutil.rmtree(out, ignore_errors=True)
        if whole_table:
            shutil.rmtree(given.output / "cache", ignore_errors=True)
        ways: list[tuple[str, list[str], float | None]] = [
            ("unetr segment, best backend", ours(folder, images, out), None),
            ("monai.bundle run", stock(folder, images, out), limit_gib),
        ]
        if whole_table:
            first = ours(folder, images, out / "first")
            ways.insert(0, ("unetr segment, the first time", first, None))
            torch_alone = ours(folder, images, out, "--backend", "torch")
            in_python = peer("monai", folder, images, out / "script")
            ways.insert(2, ("unetr segment, torch", torch_alone, None))
            ways.append(("MONAI in a script", in_python, limit_gib))
        if whole_table and has_nnunet(given.nnunet):
            command = peer("nnunet", folder, images, out, given.nnunet)
            ways.append(("nnU-Net's predictor", command, limit_gib))
        return [measure(name, who, way, given, limit_gib=limit) for who, way, limit in ways]

    return run


def has_nnunet(python: str) -> bool:
    """Is nnunetv2 there? Else say so."""
    probe = "import nnunetv2.inference.predict_from_raw_data"
    found = subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0
    if not found:
        print("nnU-Net's row is left out: nnunetv2 is not installed (see --nnunet)")
    return found


def stages(given: argparse.Namespace) -> list[Row]:
    """Where the time and the memory of the case of 256^3 go."""
    folder = bundle(given.output / "bundle_14", UNETR)
    images = volume(given.output / f"volume_{CASE}", (256, 256, 256), (1.5, 1.5, 1.5))
    command = peer("stages", folder, images, given.output / "out_stages")
    return parts("stages of " + CASE, command, given)


def window(given: argparse.Namespace) -> list[Row]:
    """One window of 96^3, by torch and by each backend."""
    folder = bundle(given.output / "bundle_14", UNETR)
    command = peer("window", folder, given.output, given.output / "out_window")
    return parts("one window of 96^3", command, given)


def parts(task: str, command: list[str], given: argparse.Namespace) -> list[Row]:
    """What one process says of its parts."""
    environment = environment_of(given)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("STAGES "))
    found: list[tuple[str, float, float]] = json.loads(line.removeprefix("STAGES "))
    return [Row(task, who, round(seconds, 2), peak) for who, seconds, peak in found]


def help_page(given: argparse.Namespace) -> list[Row]:
    """The command's help, the fastest of five."""
    unetr = str(Path(sys.executable).with_name("unetr"))
    rows = [measure("unetr --help", "unetr", [unetr, "--help"], given) for _ in range(5)]
    return [min(rows, key=lambda row: row.seconds)]


def crops(given: argparse.Namespace) -> list[Row]:
    """Twenty hippocampus crops: one command of ours, one stock run a case."""
    found = sorted(CROPS.glob("*.nii.gz"))[:20]
    if len(found) < 20:
        print("skipped: there is no Task04_Hippocampus (see data/README.md, or set UNETR_SHARED)")
        return []
    images = given.output / "crops"
    images.mkdir(exist_ok=True)
    for path in found:
        shutil.copyfile(path, images / path.name)
    out = given.output / "out_crops"
    one = given.output / "crop"
    one.mkdir(exist_ok=True)
    shutil.copyfile(found[0], one / found[0].name)
    return [
        measure("20 crops", "unetr segment, best backend", ours(HIPPOCAMPUS, images, out), given),
        measure("20 crops", "unetr segment, torch",
                ours(HIPPOCAMPUS, images, out, "--backend", "torch"), given),
        measure("20 crops", "monai.bundle run, once a case", stock(HIPPOCAMPUS, one, out), given,
                times=20, cwd=HIPPOCAMPUS),
    ]  # fmt: skip


CASE = "256x256x256, 14 classes"
EVEN = (1.5, 1.5, 1.5)
TASKS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "help": help_page,
    "window": window,
    "folder": crops,
    "case256": whole_case(CASE, (256, 256, 256), UNETR, spacing=EVEN, whole_table=True),
    "resampled": whole_case(
        "256x256x256 resampled, 14 classes", (256, 256, 256), UNETR, spacing=(1.2, 1.2, 1.8)
    ),
    "stages": stages,
    "case300": whole_case(
        "512x512x300, 14 classes", (512, 512, 300), UNETR, spacing=EVEN, limit_gib=22
    ),
    "case105": whole_case(
        "512x512x400, 105 classes", (512, 512, 400), SMALL, spacing=EVEN, limit_gib=22
    ),
}


def main() -> None:
    """Parse the command line, run what is missing, show the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--output", type=Path, default=REPOSITORY / "runs" / "inference")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nnunet", metavar="PYTHON", default=sys.executable)
    given = parser.parse_args()
    given.output = given.output.resolve()
    given.output.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for name in given.only:
        kept = given.output / f"{name}.json"
        if not kept.is_file():
            kept.write_text(json.dumps([asdict(row) for row in TASKS[name](given)], indent=1))
        rows += [Row(**row) for row in json.loads(kept.read_text())]
    print(f"{platform.machine()}, {given.threads} threads, torch {torch.__version__}")
    print("| task | by | seconds | peak GiB | |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.task} | {row.who} | {row.seconds} | {row.peak_gib} | {row.note} |")


if __name__ == "__main__":
    main()
