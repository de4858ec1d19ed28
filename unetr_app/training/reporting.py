"""What training and evaluation configs hand to MONAI's reporting handlers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine


def loss_value(output: Mapping[str, Any]) -> float:
    """The loss of a training step as a number, from the trainer's output."""
    return float(output["loss"].item())


def is_last_of_epoch(engine: Engine, step: int) -> bool:
    """Is it an epoch's last step? ``step`` counts from 1 on, over all epochs."""
    return step % int(engine.state.epoch_length or 1) == 0


def validation_dice(engine: Engine) -> float:
    """The evaluator's ``mean_dice``; higher is better."""
    return float(engine.state.metrics["mean_dice"])


def case_names(batch: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The file names of a decollated batch, without their folders, for `MetricsSaver`."""
    paths = (item["image"].meta["filename_or_obj"] for item in batch)
    return [{"filename_or_obj": Path(path).name} for path in paths]


def batch_names(batch: Any) -> list[str]:
    """The file names of a collated batch, without their folders; empty where it has none."""
    image = batch.get("image") if isinstance(batch, Mapping) else None
    paths = getattr(image, "meta", {}).get("filename_or_obj", ())
    return [Path(path).name for path in ([paths] if isinstance(paths, str) else paths)]
