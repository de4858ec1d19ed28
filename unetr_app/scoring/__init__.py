"""Scoring: folders of predictions held against folders of references, and the report of it."""

from unetr_app.scoring.images import find_image
from unetr_app.scoring.labels import find_labels, parse_labels
from unetr_app.scoring.pairs import Pair, Pairs, find_pairs
from unetr_app.scoring.report import REPORT_FILES, write_report
from unetr_app.scoring.runner import Failure, Score, score

__all__ = [
    "REPORT_FILES",
    "Failure",
    "Pair",
    "Pairs",
    "Score",
    "find_image",
    "find_labels",
    "find_pairs",
    "parse_labels",
    "score",
    "write_report",
]
