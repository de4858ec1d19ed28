"""CaseFolder: where the review of one case lies.

::

    reviews/
    ├── .unetr-reviews            marks the folder: nothing in it is an input
    └── <case_id>/
        ├── log.jsonl             everything that was decided and done, append-only
        ├── versions/0001/        labels as they were saved, never changed again
        ├── strokes/              edits that are in no version yet
        ├── findings.json         what was measured: quality flags, uncertainty
        ├── hashes.json           of image and prediction, with the stamps of their files
        ├── lock                  held while a reviewer has the case open
        └── holder.json           who that is
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unetr_app.errors import UnwritableOutput
from unetr_app.outputs import REVIEWS_MARK


@dataclass(frozen=True)
class CaseFolder:
    """The folder of one case's review; it need not exist.

    Args:
        root: ``reviews/<case_id>``.
    """

    root: Path

    @property
    def log(self) -> Path:
        """What was decided and done."""
        return self.root / "log.jsonl"

    @property
    def versions(self) -> Path:
        """What was saved."""
        return self.root / "versions"

    @property
    def strokes(self) -> Path:
        """The journal of edits that are in no version yet."""
        return self.root / "strokes" / "strokes.journal"

    @property
    def findings(self) -> Path:
        """What was measured."""
        return self.root / "findings.json"

    @property
    def hashes(self) -> Path:
        """Hashes of image and prediction."""
        return self.root / "hashes.json"

    @property
    def lock(self) -> Path:
        """Held while a reviewer has the case open."""
        return self.root / "lock"

    @property
    def holder(self) -> Path:
        """Who holds the lock."""
        return self.root / "holder.json"

    def make(self) -> None:
        """Make the folder and mark that it is one of reviews.

        Raises:
            UnwritableOutput: If that is not possible; says how to choose another place.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            mark = self.root.parent / REVIEWS_MARK
            if not mark.exists():  # it may be another reviewer's, who alone may touch it
                mark.touch()
        except OSError as error:
            raise UnwritableOutput(
                "the folder of reviews cannot be written to: "
                f"{error.strerror or type(error).__name__}",
                cure="Choose a place for reviews that you may write to (--reviews FOLDER), or look "
                "at the case without changing it (read-only).",
                path=self.root.parent,
            ) from error
