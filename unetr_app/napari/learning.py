"""Learning: a fine-tuning that the window starts; its networks run in processes of their own."""

from __future__ import annotations

from pathlib import Path

from unetr_app.finetuning import FinetuneOptions, finetune
from unetr_app.napari.background.task import Task


class Learner:
    """Runs one fine-tuning in a thread, which waits for child processes."""

    def __init__(self) -> None:
        self.task = Task()

    def start(self, dataset: Path, bundle: str, out: Path, options: FinetuneOptions) -> None:
        """Fine-tune; events are `FinetuneProgress`, and `Done` with `Finetuned`.

        Raises:
            InvalidRequest: If a fine-tuning is under way.
        """
        self.task.start(
            lambda post, should_stop: finetune(
                dataset, bundle, out, options, progress=post, should_stop=should_stop
            ),
            "unetr-learn",
        )
