"""Pairs of files: an image and its label map, told to belong together by their names."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence

from unetr_app.cases import Case
from unetr_app.datasets.label_file import LabelFile
from unetr_app.datasets.pair import Pair, Unmatched
from unetr_app.errors import InvalidRequest
from unetr_app.io.formats import image_ending

# Folders that stand beside each other: imagesTr and labelsTr, images and masks, ...
_IMAGE_FOLDER = re.compile(r"(images?|imgs?|volumes?|scans?)(?=$|tr$|ts$|val$|[_-])", re.IGNORECASE)
_LABEL_FOLDER = re.compile(
    r"(labels?|masks?|segs?|segmentations?|gts?)(?=$|tr$|ts$|val$|[_-])", re.IGNORECASE
)
# Words at the end of a file's own name, such as case_7_seg.nii.gz, or the whole of it.
_LABEL_NAME = re.compile(
    r"(?:^|[._-])(labels?|labelmap|mask|seg|segmentation|gt|ground[_-]?truth)$", re.IGNORECASE
)
_IMAGE_NAME = re.compile(
    r"(?:^|[._-])(image|img|volume|scan|ct|mri?|t1w?|t2w?|flair|pet|0000)$", re.IGNORECASE
)


def pair_files(cases: Sequence[Case]) -> tuple[list[Pair], list[Unmatched], int]:
    """Match label maps with images.

    Args:
        cases: Files of one image each, some of which are label maps.

    Returns:
        Pairs without an id yet (it is that of the file); label maps without an image; how many
        images have no labels.
    """
    images: defaultdict[tuple[str, str], list[Case]] = defaultdict(list)
    labels: defaultdict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in cases:
        (labels if is_label(case.input) else images)[_key(case.input)].append(case)
    pairs: list[Pair] = []
    unmatched: list[Unmatched] = []
    for key, found in labels.items():
        there = images.pop(key, [])
        if len(there) == len(found) == 1:
            label = LabelFile(found[0].input, "map")
            problem = there[0].problem or found[0].problem
            pairs.append(Pair(there[0].id, there[0], (label,), "", problem))
            continue
        unmatched += [
            Unmatched(case.input, _no_image(len(there), len(found), case)) for case in found
        ]
    return pairs, unmatched, sum(map(len, images.values()))


def is_label(path: str) -> bool:
    """Is a file a label map, by the name of its folder or its own?"""
    folder = os.path.basename(os.path.dirname(os.path.abspath(path)))
    return bool(_LABEL_FOLDER.match(folder) or _LABEL_NAME.search(_stem(path)))


def _key(path: str) -> tuple[str, str]:
    """What an image shares with its label map: a folder, and what is left of the name."""
    folder, name = os.path.dirname(os.path.abspath(path)), _stem(path)
    parent, last = os.path.split(folder)
    kind = _IMAGE_FOLDER.match(last) or _LABEL_FOLDER.match(last)
    if kind:
        folder = os.path.join(parent, "*" + last[kind.end() :])
    for words in (_LABEL_NAME, _IMAGE_NAME):
        name = words.sub("", name)
    return folder.casefold(), name.casefold()


def _stem(path: str) -> str:
    name = os.path.basename(path)
    return name[: len(name) - len(image_ending(name))]


def _no_image(images: int, labels: int, case: Case) -> InvalidRequest:
    if images and labels > 1:
        what = f"{labels} label maps would belong to one image"
    elif images:
        what = f"{images} images would belong to this label map"
    else:
        what = "there is no image for this label map"
    return InvalidRequest(
        what,
        cure="Name both alike in imagesTr and labelsTr, or side by side as a.nii.gz and "
        "a_seg.nii.gz; or list them in a CSV file with the columns image and label.",
        path=case.input,
    )
