"""Reviewed: the labels of a case as they leave a review."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unetr_app.review.desk import Desk
from unetr_app.review.loaded import LoadedCase
from unetr_app.review.version import Version
from unetr_app.volume import Segmentation


@dataclass(frozen=True, eq=False)
class Reviewed:
    """The labels of a case as they leave a review.

    Args:
        loaded: The case.
        labels: The newest version, or the prediction where nobody changed it.
        version: The version that they are; None for the prediction.
        warnings: What the reviewer should know.
    """

    loaded: LoadedCase
    labels: Segmentation
    version: Version | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, what: Desk | LoadedCase | Reviewed) -> Reviewed:
        """The labels of an open case, saved first where they were edited, or of a loaded one.

        Args:
            what: A desk; what `Worklist.load` gives, for its newest version; or the answer itself.

        Raises:
            UnwritableOutput: If edits cannot be saved.
        """
        if isinstance(what, Reviewed):
            return what
        if isinstance(what, LoadedCase):
            return cls(what, what.labels, what.version, what.warnings)
        what.check_files()
        if what.is_read_only:
            return cls(what.loaded, what.start, what.loaded.version, what.warnings)
        what.save("exported")
        found = what.versions.get(what.base) if what.base else None
        version = found if isinstance(found, Version) else None
        return cls(what.loaded, what.start, version, what.warnings)

    @property
    def is_edited(self) -> bool:
        """Did a person change what was predicted?"""
        prediction = self.loaded.prediction
        return self.labels.labels != prediction.labels or not np.array_equal(
            self.labels.data, prediction.data
        )

    @property
    def whole(self) -> Segmentation:
        """The labels with where they come from, the review included."""
        said = {**self.loaded.prediction.provenance}
        if self.version is not None:
            said["reviewed_version"] = self.version.number
        return self.labels.described(provenance=said)
