"""FinetuneOptions: what a user decides about a fine-tuning."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from unetr_app.errors import InvalidRequest

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
Stage = Literal["checking", "before", "training", "after"]


@dataclass(frozen=True)
class FinetuneOptions:
    """What a user decides about a fine-tuning, beside bundle and data.

    Args:
        epochs: Passes over the training cases.
        learning_rate: Of the optimiser at its highest.
        fold: The data set's fold to hold out; None takes fold 0 where the folds allow it, else a
            fifth of the subjects.
        rename: Labels of the data set as the bundle names them: ``"Leber=liver"``.
        seed: Of the training, and of what is held out where no fold says it.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Raises:
        InvalidRequest: If a value is out of its range.
    """

    epochs: int = 10
    learning_rate: float = 1e-4
    fold: int | None = None
    rename: str = ""
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.epochs <= 10_000:
            raise InvalidRequest(f"{self.epochs} epochs are none", cure="Choose 1 to 10000.")
        if not (math.isfinite(self.learning_rate) and 0 < self.learning_rate <= 1):
            raise InvalidRequest(
                f"a learning rate of {self.learning_rate:g} cannot be used",
                cure="Choose one above 0, such as 1e-4.",
            )
        if not _DEVICE.fullmatch(self.device):
            raise InvalidRequest(
                f"there is no device {self.device!r}", cure="Choose auto, cpu, cuda or cuda:1."
            )
        if not 0 <= self.seed < 2**32:
            raise InvalidRequest(f"the seed {self.seed} is not 0 to 4294967295")

    @property
    def decisive(self) -> dict[str, Any]:
        """Those that change the result by more than rounding."""
        return {key: value for key, value in asdict(self).items() if key != "device"}


@dataclass(frozen=True)
class FinetuneProgress:
    """How far a fine-tuning is.

    Args:
        stage: ``checking`` the data, scoring ``before``, ``training``, scoring ``after``.
        done: Cases, or steps of training, that are done.
        of: Of so many.
        epoch: Epochs that are complete, while training.
        epochs: Of so many.
        loss: Of the newest step, while training; None where it is not known.
        seconds_left: Of this stage, as it went so far; None where that is not known yet.
    """

    stage: Stage
    done: int
    of: int
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    seconds_left: float | None = None
