"""From a volume to labels on its own grid."""

from __future__ import annotations

from unetr_app.inference.exact_writer import ExactWriter
from unetr_app.inference.flips import FlipInferer
from unetr_app.inference.restore import RestoreLabelsd, ResultFolders
from unetr_app.inference.segmenter import Segmenter

__all__ = ["ExactWriter", "FlipInferer", "RestoreLabelsd", "ResultFolders", "Segmenter"]
