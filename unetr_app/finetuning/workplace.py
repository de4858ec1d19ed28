"""Workplace: where a fine-tuning works until its bundle is whole.

::

    NEW_BUNDLE/
    ├── configs/ docs/ models/ ...   the bundle, put here when all is done
    ├── finetuning.json              how it came about; written last
    └── unfinished/                  gone when all is done
        ├── run.json                 what makes this run this run
        ├── lock                     of the process that works here
        ├── bundle/                  the bundle to be
        ├── data/                    dataset.json of this run, labels with the bundle's values
        ├── train/                   training state, so that a stopped run goes on
        ├── before.json after.json   scores of the held-out cases
        └── log.txt                  what the child processes said
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from unetr_app.errors import InvalidRequest, UnwritableOutput
from unetr_app.io.atomic import write_json

FOLDER = "unfinished"
ELSEWHERE = "Name a new folder for the new bundle."
RECORD = "finetuning.json"  # written last: a folder that has it is finished


class Workplace:
    """Paths of a run.

    Args:
        out: The new bundle's folder.
    """

    def __init__(self, out: Path):
        self.out = out
        self.root = out / FOLDER
        self.identity = self.root / "run.json"
        self.lock = self.root / "lock"
        self.bundle = self.root / "bundle"
        self.data = self.root / "data"
        self.labels = self.data / "labelsTr"
        self.train = self.root / "train"
        self.log = self.root / "log.txt"

    def scores(self, when: str) -> Path:
        """The scores ``before`` or ``after``."""
        return self.root / f"{when}.json"

    def require_new_or_unfinished(self) -> None:
        """Refuse a folder that holds anything but an unfinished run.

        Raises:
            InvalidRequest: If it does.
        """
        if self.out.exists() and not self.out.is_dir():
            raise InvalidRequest(
                "the new bundle's name is taken by a file", cure=ELSEWHERE, path=self.out
            )
        taken = self.out.is_dir() and any(self.out.iterdir()) and not self.root.is_dir()
        if taken or (self.out / RECORD).exists():
            raise InvalidRequest(
                "there is something already, and weights are never written over others",
                cure=ELSEWHERE, path=self.out,
            )  # fmt: skip

    def begin(self, identity: dict[str, Any]) -> bool:
        """Take up an unfinished run, or start one.

        Args:
            identity: What decides the result.

        Returns:
            Whether it is taken up.

        Raises:
            InvalidRequest: If another run is unfinished here.
        """
        try:
            found = json.loads(self.identity.read_text(encoding="utf-8"))
        except FileNotFoundError:
            write_json(self.identity, identity)
            return False
        except (OSError, ValueError):
            found = None
        if found != json.loads(json.dumps(identity)):
            raise InvalidRequest(
                "an unfinished run with another bundle, other data or other options is there",
                cure="Name a new folder for the new bundle, or remove this one.", path=self.out,
            )  # fmt: skip
        return True

    def publish(self) -> None:
        """Put the finished bundle in its place; what makes it a bundle comes last.

        Raises:
            UnwritableOutput: If the operating system refuses.
        """
        try:
            there = sorted(self.bundle.iterdir(), key=lambda p: (p.name == "configs", p.name))
            for path in there:
                path.replace(self.out / path.name)
        except OSError as error:
            raise UnwritableOutput(
                f"the new bundle could not be put in place: {error.strerror}",
                cure="Run the same command again.", path=self.out,
            ) from error  # fmt: skip

    def clear(self) -> None:
        """Remove what a finished run no longer needs."""
        shutil.rmtree(self.root, ignore_errors=True)
