"""EpochSeed: randomness as a function of seed and epoch, so that a resumed run is the same run."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.transforms.compose import Compose
from monai.transforms.transform import Randomizable


class EpochSeed:
    """Seeds every generator at the start of each epoch from the seed and the epoch's number.

    A run that stopped after epoch n and resumed then draws the same crops, augmentation, order
    and dropped paths in epoch n + 1 as one that never stopped. Processes of one run differ.

    Args:
        seed: The run's seed.
        transform: The training transforms, which hold generators of their own.
    """

    def __init__(self, seed: int, transform: Compose | None = None):
        self.seed = seed
        self.transform = transform

    def attach(self, engine: Engine) -> None:
        """Run at the start of each epoch of ``engine``."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed for the epoch that starts."""
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        state = np.random.SeedSequence([self.seed, engine.state.epoch, rank]).generate_state(4)
        random.seed(int(state[0]))
        np.random.seed(int(state[1]))  # noqa: NPY002  third-party transforms draw from it
        torch.manual_seed(int(state[2]))
        sampler: Any = getattr(engine.state.dataloader, "sampler", None)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(engine.state.epoch)
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed=int(state[3]))
