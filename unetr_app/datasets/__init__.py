"""Data sets: labels of any form brought onto their images, as files that a bundle trains on.

`convert` turns one SEG, RTSTRUCT, label map or image into NIfTI, NRRD or MetaImage. `find_pairs`
looks for images with their labels, and `make_dataset` writes them in the layout of the Medical
Segmentation Decathlon, checked, with folds split by patient.
"""

from unetr_app.datasets.conversion import Converted, convert
from unetr_app.datasets.maker import DatasetOptions, Made, make_dataset
from unetr_app.datasets.pair import FoundPairs, Pair, Unmatched
from unetr_app.datasets.search import find_pairs

__all__ = [
    "Converted", "DatasetOptions", "FoundPairs", "Made", "Pair", "Unmatched", "convert",
    "find_pairs", "make_dataset",
]  # fmt: skip
