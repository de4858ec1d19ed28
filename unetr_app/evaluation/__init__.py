"""Evaluation: how well a segmentation agrees with a reference, and what a segmentation measures.

Pure functions on masks, segmentations and numbers: nothing here reads or writes a file, and neither
torch nor MONAI is imported.
"""

from unetr_app.evaluation.bootstrap import bootstrap_interval
from unetr_app.evaluation.comparison import CaseComparison, LabelComparison, compare, completed
from unetr_app.evaluation.measurements import LabelMeasurement, measure
from unetr_app.evaluation.overlap import dice, volume_difference_ml, volume_difference_percent
from unetr_app.evaluation.summary import LabelSummary, Statistic, summarise
from unetr_app.evaluation.surface import (
    SurfaceDistances,
    average_surface_distance,
    hd95,
    surface_dice,
    surface_distances,
)

__all__ = [
    "CaseComparison",
    "LabelComparison",
    "LabelMeasurement",
    "LabelSummary",
    "Statistic",
    "SurfaceDistances",
    "average_surface_distance",
    "bootstrap_interval",
    "compare",
    "completed",
    "dice",
    "hd95",
    "measure",
    "summarise",
    "surface_dice",
    "surface_distances",
    "volume_difference_ml",
    "volume_difference_percent",
]
