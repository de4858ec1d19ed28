"""Draws the curve of a training run: loss of each epoch, and validation Dice.

Reads the TensorBoard files that a bundle's training writes to its output folder:

    python docs/pictures/training_curve.py RUN_DIR curve.png

Writes the picture, and the points as CSV beside it.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Points = dict[int, float]


def read_scalars(run_dir: Path) -> dict[str, Points]:
    """Value by step of every scalar in a run, all its event files together."""
    scalars: dict[str, Points] = {}
    for path in sorted(run_dir.glob("events.out.tfevents.*")):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            points = scalars.setdefault(tag, {})
            points.update({event.step: event.value for event in events.Scalars(tag)})
    return scalars


def mean_by_epoch(points: Points, steps_per_epoch: int) -> Points:
    """The mean over each epoch's steps."""
    epochs: dict[int, list[float]] = {}
    for step, value in points.items():
        epochs.setdefault((step - 1) // steps_per_epoch + 1, []).append(value)
    return {epoch: sum(values) / len(values) for epoch, values in sorted(epochs.items())}


def main() -> None:
    """Read the arguments, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path, help="output_dir of a training run")
    parser.add_argument("picture", type=Path, help="PNG to write; the points go beside it as CSV")
    parser.add_argument("--steps-per-epoch", type=int, default=80)
    arguments = parser.parse_args()

    scalars = read_scalars(arguments.run_dir)
    loss = next(points for tag, points in scalars.items() if "loss" in tag)
    dice = next(points for tag, points in scalars.items() if "dice" in tag)
    loss = mean_by_epoch(loss, arguments.steps_per_epoch)

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    left = figure.add_subplot()
    left.plot(list(loss), list(loss.values()), color="0.5", label="training loss")
    left.set(xlabel="epoch", ylabel="training loss")
    right = left.twinx()
    right.plot(list(dice), list(dice.values()), "o-", color="#0072b2", label="validation Dice")
    right.set(ylabel="mean Dice on fold 0", ylim=(0.7, 0.9))
    figure.savefig(arguments.picture, dpi=110)

    with arguments.picture.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "training_loss", "validation_dice"])
        for epoch in sorted(loss.keys() | dice.keys()):
            writer.writerow([epoch, loss.get(epoch, ""), dice.get(epoch, "")])


if __name__ == "__main__":
    main()
