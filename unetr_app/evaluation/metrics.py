"""Metric: the numbers that a prediction is judged by, each with unit and definition."""

from __future__ import annotations

from dataclasses import dataclass

from unetr_app.evaluation.bootstrap import CONFIDENCE, DRAWS, SEED


@dataclass(frozen=True)
class Metric:
    """One number a case and label.

    Args:
        key: Attribute of `LabelComparison`, column of the CSV file, key in the JSON file.
        title: Short heading.
        unit: Unit; empty for a plain number.
        digits: Digits shown after the point.
        definition: One sentence that says exactly how it is computed.
    """

    key: str
    title: str
    unit: str
    digits: int
    definition: str

    @property
    def heading(self) -> str:
        """Title with unit, as in ``"HD95 (mm)"``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def format(self, value: float | None) -> str:
        """``value`` with this metric's digits; a dash where there is none."""
        return "–" if value is None else f"{value:.{self.digits}f}"  # noqa: RUF001 (en dash)


DICE = Metric("dice", "Dice", "", 3, "2 |P and R| / (|P| + |R|), P the predicted voxels, R the "
              "reference's.")  # fmt: skip
HD95 = Metric("hd95_mm", "HD95", "mm", 2, "The larger of the two directions' 95th percentiles of "
              "surface distance.")  # fmt: skip
ASSD = Metric("assd_mm", "ASSD", "mm", 2, "Average symmetric surface distance: the mean surface "
              "distance over both directions together.")  # fmt: skip
SURFACE_DICE = Metric("surface_dice", "Surface Dice", "", 3, "The share of both surfaces that lies "
                      "within the tolerance of the other.")  # fmt: skip
VOLUME_ML = Metric("volume_difference_ml", "Volume diff.", "ml", 3,
                   "Predicted minus reference volume.")  # fmt: skip
VOLUME_PERCENT = Metric("volume_difference_percent", "Volume diff.", "%", 1, "Predicted minus "
                        "reference volume, in percent of the reference's.")  # fmt: skip

METRICS = (DICE, HD95, ASSD, SURFACE_DICE, VOLUME_ML, VOLUME_PERCENT)

CONVENTIONS = {
    "surface": "Voxels of a mask that touch the outside by a face; beyond the grid's edge is "
    "outside. Surface distance: mm from a surface voxel's centre to the nearest of the other "
    "mask's.",
    "missed or spurious": "Where only the reference (missed) or only the prediction (spurious) has "
    "a label, Dice and surface Dice are 0, and HD95 and ASSD are set to the diagonal of the case's "
    "grid in mm, so that a failure makes every mean worse.",
    "absent": "Where neither has the label, the case is counted as absent and left out of that "
    "label's means.",
    "all labels": "Each case's mean over its labels that are not absent; then the mean, median and "
    "interval over cases.",
    "interval": f"{CONFIDENCE:.0%} percentile bootstrap of the mean over cases, {DRAWS} draws, "
    f"seed {SEED}; none for fewer than two cases.",
}


def definitions(tolerance_mm: float) -> dict[str, str]:
    """Every metric's definition and the conventions, by name.

    Args:
        tolerance_mm: Tolerance of the surface Dice, mm.
    """
    said = {metric.key: metric.definition for metric in METRICS}
    said[SURFACE_DICE.key] += f" Tolerance here: {tolerance_mm:g} mm."
    return {**said, **CONVENTIONS}
