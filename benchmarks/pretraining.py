"""Do published image weights help with few labelled volumes? Measured on the hippocampus set.

Trains one network three ways with several numbers of labelled cases, every run with the same
budget and the same optimiser settings, and scores each on fold 0:

* ``random``: encoder and decoder start at random, all of it is trained;
* ``frozen``: the encoder is the checkpoint's and stays as it is, the decoder is trained;
* ``fine-tuned``: the encoder starts as the checkpoint's, all of it is trained.

Each run is one `python -m monai.bundle run` of the hippocampus bundle with overrides. Runs that
are done are not done again, a run that was stopped goes on from its last epoch:

    python benchmarks/pretraining.py --dataset-dir Task04_Hippocampus --checkpoint dinov2_small
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
BUNDLE = REPOSITORY / "bundles" / "hippocampus_mr_unetr_segmentation"
SHARED = Path(os.environ.get("UNETR_SHARED", REPOSITORY.parent / "shared"))
WAYS = ("random", "frozen", "fine-tuned")
STEPS_PER_EPOCH = 60

# One table of sizes for all three ways: those of a ViT-S/14 with a class token and layer scale.
ENCODERS: dict[str, dict[str, Any]] = {
    "vit": {"patch_size": 8, "num_heads": 6, "embed_dim": 384, "depth": 12, "class_token": True},
    "timesformer": {
        "patch_size": [8, 8, 8], "num_heads": 6, "embed_dim": 384, "depth": 12, "class_token": True,
    },
}  # fmt: skip


def network(encoder: str, way: str, checkpoint: Path | None) -> dict[str, Any]:
    """The bundle's ``network_def`` for one way; without a checkpoint for reading weights back."""
    block: dict[str, Any] = {
        "_target_": "unetr_app.networks.build_network",
        "encoder": encoder,
        "decoder": "unetr",
        "in_channels": 1,
        "out_channels": 3,
        "roi_size": "@roi_size",
        **ENCODERS[encoder],
        "layer_scale": 1.0,
        "taps": [4, 8, 12],
        "drop_path": 0.1,
        "feature_size": 8,
        "conv_block": False,
        "deep_supervision": 2,
    }
    if checkpoint is not None and way != "random":
        block |= {"pretrained": str(checkpoint), "freeze_encoder": way == "frozen"}
    return block


def run_bundle(files: list[str], folder: Path, options: dict[str, Any], threads: int) -> None:
    """One command of `python -m monai.bundle run`, its output in the folder's log."""
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "monai.bundle", "run", f"--config_file={files}", *words]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    with (folder / "log.txt").open("a") as log:
        subprocess.run(command, cwd=BUNDLE, env=environment, stdout=log, stderr=log, check=True)


def epochs_of(given: argparse.Namespace) -> int:
    """Epochs that the steps make."""
    return max(1, round(given.steps / STEPS_PER_EPOCH))


def told(encoder: str, way: str, given: argparse.Namespace) -> str:
    """All that a run's training is told beside its cases, as JSON."""
    epochs = epochs_of(given)
    overrides = {
        "network_def": network(encoder, way, given.checkpoint),
        "train#trainer#epoch_length": STEPS_PER_EPOCH,
        "steps_per_epoch": STEPS_PER_EPOCH,
        "warmup_epochs": 1,
        "learning_rate": given.learning_rate,
        "ema_momentum": 0.02,
        "val_interval": 10 * epochs,  # scored once, at the end, by the evaluation below
        "early_stop_epochs": 100 * epochs,
    }
    return json.dumps(overrides, indent=1)


def train(folder: Path, encoder: str, way: str, cases: int, given: argparse.Namespace) -> float:
    """Train one network; the seconds it took, added up over interruptions."""
    epochs = epochs_of(given)
    (folder / "train.json").write_text(told(encoder, way, given))
    clock = folder / "seconds.txt"
    spent = float(clock.read_text()) if clock.is_file() else 0.0
    start = time.monotonic()
    options = {
        "bundle_root": ".",
        "dataset_dir": given.dataset_dir,
        "output_dir": folder,
        "train_cases": cases,
        "val_cases": 1,
        "max_epochs": epochs,
        "resume": (folder / "last.pt").is_file(),
    }
    try:
        run_bundle(
            ["configs/train.yaml", str(folder / "train.json")], folder, options, given.threads
        )
    finally:
        clock.write_text(f"{spent + time.monotonic() - start:.1f}")
    return float(clock.read_text())


def evaluate(folder: Path, encoder: str, given: argparse.Namespace) -> dict[str, float]:
    """Score one network on fold 0: mean Dice, of each label, and HD95 in millimetres."""
    (folder / "network.json").write_text(
        json.dumps({"network_def": network(encoder, "random", None)}, indent=1)
    )
    options = {
        "bundle_root": ".",
        "dataset_dir": given.dataset_dir,
        "output_dir": folder / "evaluation",
        "weights": folder / "model.pt",
    }
    if given.val_cases:
        options["cases"] = given.val_cases
    files = ["configs/inference.yaml", "configs/evaluate.yaml", str(folder / "network.json")]
    run_bundle(files, folder, options, given.threads)
    dice = _class_means(folder / "evaluation" / "mean_dice_raw.csv")
    hd95 = _class_means(folder / "evaluation" / "hd95_raw.csv")
    return {
        "dice": sum(dice) / 2,
        "anterior": dice[0],
        "posterior": dice[1],
        "hd95_mm": sum(hd95) / 2,
    }


def _class_means(path: Path) -> list[float]:
    """Mean over cases of each label's column, cases without a figure left out."""
    with path.open() as file:
        rows = [row for row in csv.reader(file) if row]
    columns = zip(*(row[1:3] for row in rows[1:]), strict=True)
    means: list[float] = []
    for column in columns:
        values = [float(word) for word in column]
        finite = [value for value in values if value == value and value not in (float("inf"),)]
        means.append(sum(finite) / len(finite))
    return means


def results(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every run's row, made now where it is not there yet."""
    for encoder in given.encoders:
        for cases in given.cases:
            for way in WAYS:
                folder = (given.output / f"{encoder}_{way}_{cases}").resolve()
                folder.mkdir(parents=True, exist_ok=True)
                done = folder / "result.json"
                settings = folder / "train.json"
                if settings.is_file() and settings.read_text() != told(encoder, way, given):
                    sys.exit(f"{folder.name} was run with other settings: name another --output")
                if not done.is_file():
                    seconds = train(folder, encoder, way, cases, given)
                    row = {"encoder": encoder, "cases": cases, "way": way, "seconds": seconds}
                    done.write_text(json.dumps(row | evaluate(folder, encoder, given)))
                yield json.loads(done.read_text())


def show(rows: list[dict[str, Any]], output: Path) -> None:
    """Print the table, and write it as CSV."""
    columns = ["encoder", "cases", "way", "dice", "anterior", "posterior", "hd95_mm", "seconds"]
    with (output / "pretraining.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    print("| encoder | cases | start | Dice | anterior | posterior | HD95 mm | training s |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        figures = [f"{row[name]:.3f}" for name in ("dice", "anterior", "posterior")]
        words = [row["encoder"], str(row["cases"]), row["way"], *figures]
        print("| " + " | ".join([*words, f"{row['hd95_mm']:.2f}", f"{row['seconds']:.0f}"]) + " |")


def main() -> None:
    """Parse the command line, run what is missing, show the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset-dir", type=Path, default=SHARED / "data/Task04_Hippocampus")
    parser.add_argument(
        "--checkpoint", type=Path, default=SHARED / "weights/dinov2_vit_small_patch14"
    )
    parser.add_argument("--output", type=Path, default=REPOSITORY / "runs" / "pretraining")
    parser.add_argument("--encoders", nargs="+", default=["vit"], choices=sorted(ENCODERS))
    parser.add_argument("--cases", nargs="+", type=int, default=[10, 25, 160])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--val-cases", type=int, help="score so few cases, for a trial")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    for path in (given.dataset_dir, given.checkpoint):
        if not path.exists():
            sys.exit(f"skipped: there is no {path.name} (see data/README.md, or set UNETR_SHARED)")
    given.dataset_dir, given.checkpoint = given.dataset_dir.resolve(), given.checkpoint.resolve()
    given.output.mkdir(parents=True, exist_ok=True)
    show(list(results(given)), given.output)


if __name__ == "__main__":
    main()
