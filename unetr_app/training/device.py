"""Which device a process trains on, and how several processes of one run find each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed


def pick_device() -> torch.device:
    """This process's GPU where there is CUDA (``LOCAL_RANK`` chooses it), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def join_processes() -> None:
    """Connect the processes that ``torchrun`` started: NCCL with CUDA, Gloo without."""
    device = pick_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def is_first_process() -> bool:
    """Is this the only process of the run, or the first of several?"""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def device_ids(device: torch.device) -> list[torch.device] | None:
    """What `DistributedDataParallel` takes as ``device_ids``: None on a CPU."""
    return [device] if device.type == "cuda" else None


def handlers_of_this_process(handlers: Sequence[Any], of_all: int) -> list[Any]:
    """All handlers for the first process, the first ``of_all`` of them for the others."""
    return list(handlers if is_first_process() else handlers[:of_all])
