"""Segments: how a SEG describes its labels, one item each (PS3.3 C.8.20.4)."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid

from unetr_app.io.dicom.codes import LOCAL_SCHEME, code_in, codes_of, item_of
from unetr_app.io.dicom.heading import MAKER
from unetr_app.io.dicom.slice import numbers_of, text_of
from unetr_app.labels import Code, Colour, Label, LabelSet
from unetr_app.version import __version__

_FAMILY = Code("DCM", "123110", "Artificial Intelligence")  # CID 7162
_VALUE = "Label value {}"
_BACKGROUND = Code("DCM", "125040", "Background")
_RELATION = Code("SCT", "309825002", "Spatial and Relational Concept")


@dataclass(frozen=True)
class Algorithm:
    """What made the labels.

    Args:
        name: At most 64 characters.
        version: At most 64 characters.
        parameters: Name and value of what decided the result; nothing of a patient.
        edited: Did a person change the result?
    """

    name: str = MAKER
    version: str = __version__
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    edited: bool = False

    @classmethod
    def of(cls, provenance: Mapping[str, Any], *, edited: bool) -> Algorithm:
        """From what a `Segmentation` says of itself."""
        kept = ("weights_hash", "software", "backend")
        return cls(
            str(provenance.get("bundle") or provenance.get("algorithm") or MAKER)[:64],
            str(provenance.get("bundle_version") or __version__)[:64],
            {key: str(provenance[key]) for key in kept if provenance.get(key)},
            edited,
        )


def segment_items(
    labels: LabelSet,
    numbers: Sequence[int],
    algorithm: Algorithm,
    tracked: Mapping[str, tuple[str, str]],
) -> list[Dataset]:
    """The items of the Segment Sequence.

    Args:
        labels: One segment each.
        numbers: Their segment numbers.
        algorithm: What made them.
        tracked: Tracking id and UID of segments that go on under the same label, by that label.
    """
    return [
        _segment(label, number, algorithm, tracked.get(_label_text(label)))
        for label, number in zip(labels, numbers, strict=True)
    ]


def _segment(
    label: Label, number: int, algorithm: Algorithm, tracked: tuple[str, str] | None
) -> Dataset:
    from highdicom.color import CIELabColor

    item = Dataset()
    codes = codes_of(label)
    item.SegmentNumber = number
    item.SegmentLabel = _label_text(label)
    item.SegmentDescription = _VALUE.format(label.value)
    item.SegmentedPropertyCategoryCodeSequence = [item_of(codes.category)]
    item.SegmentedPropertyTypeCodeSequence = [item_of(codes.type)]
    if codes.modifier is not None:
        item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            item_of(codes.modifier)
        ]
    item.SegmentAlgorithmType = "SEMIAUTOMATIC" if algorithm.edited else "AUTOMATIC"
    item.SegmentAlgorithmName = algorithm.name
    item.SegmentationAlgorithmIdentificationSequence = [algorithm_item(algorithm)]
    item.RecommendedDisplayCIELabValue = list(CIELabColor.from_rgb(*label.colour).value)
    item.TrackingID, item.TrackingUID = tracked or (_label_text(label), generate_uid())
    return item


def background_item() -> Dataset:
    """The segment 0 of a label map, whose every value needs a description (PS3.3 C.8.20.2.3.3)."""
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = 0, "Background"
    item.SegmentedPropertyCategoryCodeSequence = [item_of(_RELATION)]
    item.SegmentedPropertyTypeCodeSequence = [item_of(_BACKGROUND)]
    item.SegmentAlgorithmType = "MANUAL"  # needs no algorithm
    item.RecommendedDisplayCIELabValue = [0, 32896, 32896]  # black
    return item


def algorithm_item(algorithm: Algorithm) -> Dataset:
    """The item of an Algorithm Identification Sequence (PS3.3 10.16)."""
    item = Dataset()
    item.AlgorithmFamilyCodeSequence = [item_of(_FAMILY)]
    item.AlgorithmName, item.AlgorithmVersion = algorithm.name, algorithm.version
    item.AlgorithmSource = MAKER
    if algorithm.parameters:
        pairs = (f"{key}={value}" for key, value in algorithm.parameters.items())
        item.AlgorithmParameters = ",".join(pairs)
    return item


def _label_text(label: Label) -> str:
    return label.name.replace("\\", "/").strip()[:64]


def tracked_in(seg: Dataset) -> dict[str, tuple[str, str]]:
    """Tracking id and UID of each segment of a SEG, by its label."""
    found: dict[str, tuple[str, str]] = {}
    for item in seg.get("SegmentSequence") or ():
        name, uid = text_of(item, "TrackingID"), text_of(item, "TrackingUID")
        if name and uid:
            found[text_of(item, "SegmentLabel")] = name, uid
    return found


def _number(item: Dataset) -> int:
    return int(item.SegmentNumber)


def _is_background(item: Dataset, padding: int | None) -> bool:
    """Does a segment stand for what no label is: the padding value's, or one that says so?"""
    code = code_in(item, "SegmentedPropertyTypeCodeSequence")
    named = code is not None and (code.scheme, code.value) == (
        _BACKGROUND.scheme, _BACKGROUND.value,
    )  # fmt: skip
    return named or _number(item) == padding


def labels_in(seg: Dataset) -> dict[int, Label]:
    """The label of each segment of a SEG by anybody, by segment number; backgrounds left out.

    A label's value is its segment's number; in our own SEGs, the value that it was written from.
    A segment 0 that is no background gets the first value after all others.
    """
    padding = numbers_of(seg, "PixelPaddingValue", 1)
    unused = None if padding is None else int(padding[0])
    every = seg.get("SegmentSequence") or ()
    items = [item for item in every if not _is_background(item, unused)]
    numbers = [_number(item) for item in items]
    highest = max(numbers, default=0)
    values = _own_values(seg, items) or [number or highest + 1 for number in numbers]
    names: list[str] = []
    for item, number in zip(items, numbers, strict=True):
        code = code_in(item, "SegmentedPropertyTypeCodeSequence")
        name = text_of(item, "SegmentLabel") or (code.meaning if code else "")
        name = name or f"segment {number}"
        taken = {other.casefold() for other in names}
        names.append(f"{name} {number}" if name.casefold() in taken else name)
    return {
        number: _label(item, value, name)
        for item, number, value, name in zip(items, numbers, values, names, strict=True)
    }


def _own_values(seg: Dataset, items: Sequence[Dataset]) -> list[int]:
    """The label values that our own SEG was written from; empty for SEGs of others."""
    if text_of(seg, "ManufacturerModelName") != MAKER:
        return []
    pattern = re.compile(_VALUE.format(r"(\d+)"))
    found = [pattern.fullmatch(text_of(item, "SegmentDescription")) for item in items]
    values = [int(match[1]) for match in found if match]
    valid = len(values) == len(items) == len(set(values)) and all(0 < v < 65536 for v in values)
    return values if valid else []


def _label(item: Dataset, value: int, name: str) -> Label:
    types: Any = item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()]
    modifier = _standard_code(types[0], "SegmentedPropertyTypeModifierCodeSequence")
    return Label(
        value, name, _colour(item),
        _standard_code(item, "SegmentedPropertyTypeCodeSequence"),
        _standard_code(item, "SegmentedPropertyCategoryCodeSequence"),
        modifier or _standard_code(item, "SegmentedPropertyTypeModifierCodeSequence"),
    )  # fmt: skip


def _standard_code(dataset: Dataset, keyword: str) -> Code | None:
    """A code of anybody's but those that we made up for want of one."""
    code = code_in(dataset, keyword)
    return None if code is None or code.scheme == LOCAL_SCHEME else code


def _colour(item: Dataset) -> Colour:
    """The recommended colour; (0, 0, 0), which asks for one of the palette, where there is none."""
    from highdicom.color import CIELabColor

    lab = numbers_of(item, "RecommendedDisplayCIELabValue", 3)
    if lab is None or lab.min() < 0 or lab.max() > 65535:
        return 0, 0, 0
    shown = CIELabColor.from_dicom_value([int(v) for v in lab]).to_rgb(clip=True)
    red, green, blue = (round(v) for v in shown)
    return red, green, blue
