"""What the bundles' training configs name: data lists, handlers, checkpoints."""

from __future__ import annotations

from unetr_app.training.batch import prepare_batch
from unetr_app.training.best_weights import SaveBest
from unetr_app.training.channels_last import channels_last
from unetr_app.training.checkpoint import SaveWeights, TrainingState, save_weights
from unetr_app.training.dataset import list_images, read_msd, require_images
from unetr_app.training.device import (
    device_ids,
    handlers_of_this_process,
    is_first_process,
    join_processes,
    pick_device,
)
from unetr_app.training.early_stop import EarlyStop
from unetr_app.training.gradient_guard import GradientGuard
from unetr_app.training.initial_weights import start_from
from unetr_app.training.progress_file import ProgressFile
from unetr_app.training.reporting import (
    batch_names,
    case_names,
    is_last_of_epoch,
    loss_value,
    validation_dice,
)
from unetr_app.training.seeding import EpochSeed

__all__ = [
    "EarlyStop",
    "EpochSeed",
    "GradientGuard",
    "ProgressFile",
    "SaveBest",
    "SaveWeights",
    "TrainingState",
    "batch_names",
    "case_names",
    "channels_last",
    "device_ids",
    "handlers_of_this_process",
    "is_first_process",
    "is_last_of_epoch",
    "join_processes",
    "list_images",
    "loss_value",
    "pick_device",
    "prepare_batch",
    "read_msd",
    "require_images",
    "save_weights",
    "start_from",
    "validation_dice",
]
