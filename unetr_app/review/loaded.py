"""LoadedCase: everything that is shown of a case, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unetr_app.cases import Case
from unetr_app.geometry import Geometry
from unetr_app.review.version import Version
from unetr_app.volume import Segmentation, Volume


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case in memory; nothing of it is ever changed.

    Args:
        case_id: The case.
        prediction: What is reviewed, on the image's grid.
        volume: The image; None where it is not to be had, or lies on another grid.
        version: The newest version that is whole and on this grid; None where there is none.
        saved: Its labels.
        uncertainty: A map of it, 0 to 1; None where there is none.
        second: A second reader's labels on the same grid; None where there are none.
        image: The image's files; None where there are none.
        source_hash: `unetr_app.batch.inputs.input_hash` of them; empty where there are none.
        prediction_hash: Of the prediction's files.
        stamp: Of all these files, see `unetr_app.review.stamps.stamp_of`.
        numbers: Of all versions there were, damaged ones too.
        bundle: Name, version and hashes of what made the prediction.
        seg: The DICOM SEG that holds the prediction too.
        warnings: What the reviewer should know.
    """

    case_id: str
    prediction: Segmentation
    volume: Volume | None = None
    version: Version | None = None
    saved: Segmentation | None = None
    uncertainty: Volume | None = None
    second: Segmentation | None = None
    image: Case | None = None
    source_hash: str = ""
    prediction_hash: str = ""
    stamp: str = ""
    numbers: tuple[int, ...] = ()
    bundle: Mapping[str, str] = field(default_factory=dict[str, str])
    seg: Path | None = None
    warnings: tuple[str, ...] = ()

    @property
    def geometry(self) -> Geometry:
        """The grid of all of it."""
        return self.prediction.geometry

    @property
    def labels(self) -> Segmentation:
        """What a reviewer begins with: the newest version, or the prediction."""
        return self.prediction if self.saved is None else self.saved
