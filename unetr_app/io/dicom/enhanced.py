"""Frame: a slice that shares its file with others (enhanced multi-frame CT, MR and PET).

What one file a slice says in its headers, such a file says in functional groups: once for all
frames, or frame by frame (DICOM PS3.3 C.7.6.16). Where frames lie at the same places they are told
apart by what the groups say of them: stack, echo, time point, b-value and so on.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import keyword_for_tag

from unetr_app.errors import UnreadableInput
from unetr_app.io.dicom.deflated import open_dicom
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, Slice, numbers_of, text_of
from unetr_app.io.dicom.stack import SAME_PLACE_MM, normal_of

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_LEGACY = "UnassignedPerFrameConvertedAttributesSequence"  # what a conversion found in the headers
_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")

# What may tell frames apart, weightiest first: a word, and the places where it may be said.
_DIMENSIONS: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    ("stack", (("FrameContentSequence", "StackID"),)),
    ("frame type", tuple((group, "FrameType") for group in _TYPES)),
    ("complex component", (("MRImageFrameTypeSequence", "ComplexImageComponent"),)),
    ("echo", (("MREchoSequence", "EffectiveEchoTime"), (_LEGACY, "EchoTime"),
              (_LEGACY, "EchoNumbers"))),
    ("b-value", (("MRDiffusionSequence", "DiffusionBValue"), (_LEGACY, "DiffusionBValue"))),
    ("diffusion directionality", (("MRDiffusionSequence", "DiffusionDirectionality"),)),
    ("gradient direction", (("MRDiffusionSequence", "DiffusionGradientDirectionSequence",
                             "DiffusionGradientOrientation"),)),
    ("inversion time", (("MRModifierSequence", "InversionTimes"),)),
    ("flip angle", (("MRTimingAndRelatedParametersSequence", "FlipAngle"),)),
    ("velocity encoding", (("MRVelocityEncodingSequence", "VelocityEncodingDirection"),)),
    ("time point", (("FrameContentSequence", "TemporalPositionIndex"),
                    (_LEGACY, "TemporalPositionIdentifier"))),
    ("time offset", (("TemporalPositionSequence", "TemporalPositionTimeOffset"),)),
    ("cardiac phase", (("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase"),
                       ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
                       (_LEGACY, "TriggerTime"))),
    ("respiratory phase", (("RespiratorySynchronizationSequence",
                            "NominalPercentageOfRespiratoryPhase"),)),
    ("tube voltage", (("CTXRayDetailsSequence", "KVP"),)),
    ("reconstruction kernel", (("CTReconstructionSequence", "ConvolutionKernel"),)),
    ("frame label", (("FrameContentSequence", "FrameLabel"),)),
    ("acquisition", (("FrameContentSequence", "FrameAcquisitionNumber"),
                     (_LEGACY, "AcquisitionNumber"))),
)  # fmt: skip
_PLACES = {"StackID", "InStackPositionNumber", "ImagePositionPatient", "ImageOrientationPatient"}


@dataclass(frozen=True, eq=False)
class Group:
    """Frames that make one volume, or that should but do not.

    Args:
        frames: At least one.
        values: Dimensions by which they were told apart from others at the same place.
    """

    frames: tuple[Slice, ...]
    values: tuple[tuple[str, str], ...] = ()


def frames_of(file: Slice) -> list[Slice]:
    """The frames of an enhanced file, each with its own place; pixels are not read.

    Args:
        file: What `unetr_app.io.dicom.slice.read_slice` found.

    Raises:
        UnreadableInput: If the file does not say where each of its frames lies.
    """
    header = _header(file)
    try:
        items = list(header.get(_PER_FRAME) or ())
        indices = _dimension_names(header)
        if len(items) == file.frames:
            return [_frame(file, header, n, indices) for n in range(len(items))]
    except PYDICOM_ERRORS as error:
        raise UnreadableInput(
            "the functional groups of its frames are damaged",
            cure="Copy or export the file again.", path=file.path,
        ) from error  # fmt: skip
    raise UnreadableInput(
        "the file holds several frames, and its headers do not say where each of them lies"
        if not items else
        f"the file promises {file.frames} frames, and its headers describe {len(items)}",
        cure="Export the series again, as enhanced CT, MR or PET or with one file a slice.",
        path=file.path,
    )  # fmt: skip


def group_of(header: pydicom.Dataset, frame: int, keyword: str) -> pydicom.Dataset | None:
    """A functional group of a frame, its own or the one that all share; None where absent.

    Args:
        header: Headers of the file.
        frame: Number of the frame, from 0.
        keyword: The group's sequence, such as ``"PixelMeasuresSequence"``.
    """
    for groups, number in ((header.get(_PER_FRAME), frame), (header.get(_SHARED), 0)):
        if groups and number < len(groups):
            group = groups[number].get(keyword)
            if group:
                return group[0]
    return None


def tell_apart(frames: Sequence[Slice]) -> list[Group]:
    """Frames of one orientation, matrix and spacing as the volumes that they make.

    Stacks are apart where each has two frames or more. For the rest a dimension counts if it tells
    frames at one place apart and leaves none alone; running numbers do not.

    Args:
        frames: At least one, each with position and orientation.
    """
    places = _places(frames)
    groups = [Group(tuple(frames))]
    names = dict.fromkeys(name for frame in frames for name, _ in frame.dimensions)
    for name in names:
        split = [_split(group, name) for group in groups]
        if any(len(parts) > 1 and _counts(group, parts, name, places)
               for group, parts in zip(groups, split, strict=True)):  # fmt: skip
            groups = [
                part
                for group, parts in zip(groups, split, strict=True)
                for part in (parts if _counts(group, parts, name, places) else [group])
            ]
    return groups


def _split(group: Group, name: str) -> list[Group]:
    parts: dict[str, list[Slice]] = defaultdict(list)
    for frame in group.frames:
        parts[dict(frame.dimensions).get(name, "")].append(frame)
    return [Group(tuple(parts[value]), (*group.values, (name, value))) for value in sorted(parts)]


def _counts(
    group: Group, parts: Sequence[Group], name: str, places: dict[tuple[str, int], int]
) -> bool:
    """Is it right to split a group into these parts?"""
    if len(parts) < 2 or min(len(part.frames) for part in parts) < 2:
        return False
    return name == "stack" or _crowd(parts, places) < _crowd([group], places)


def _crowd(groups: Iterable[Group], places: dict[tuple[str, int], int]) -> int:
    """How many frames lie where another of their group does."""
    return sum(
        len(group.frames) - len({places[frame.path, frame.frame] for frame in group.frames})
        for group in groups
    )


def _places(frames: Sequence[Slice]) -> dict[tuple[str, int], int]:
    """A number for each frame; frames at one place have the same."""
    normal = normal_of(frames[0])
    at = {(f.path, f.frame): f.position for f in frames if f.position is not None}
    numbers: dict[tuple[str, int], int] = {}
    number, before = 0, None
    for key in sorted(at, key=lambda k: (round(float(at[k] @ normal) / SAME_PLACE_MM), *at[k], k)):
        if before is not None and np.abs(at[key] - before).max() >= SAME_PLACE_MM:
            number += 1
        numbers[key], before = number, at[key]
    return numbers


def _header(file: Slice) -> pydicom.Dataset:
    with open_dicom(file.path) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(stream, stop_before_pixels=True, force=True)
        except PYDICOM_ERRORS as error:
            raise UnreadableInput(
                "the DICOM headers are damaged", cure="Copy or export the file again.",
                path=file.path,
            ) from error  # fmt: skip


def _frame(file: Slice, header: pydicom.Dataset, n: int, indices: Sequence[str]) -> Slice:
    """One frame; whatever its groups do not say, the file may say once."""
    position, orientation, measures, values = (
        group_of(header, n, name) or header
        for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence",
                     "PixelValueTransformationSequence")
    )  # fmt: skip
    slope = numbers_of(values, "RescaleSlope", 1)
    return replace(
        file,
        frame=n,
        dimensions=_dimensions(file, header, n, indices),
        position=numbers_of(position, "ImagePositionPatient", 3),
        orientation=numbers_of(orientation, "ImageOrientationPatient", 6),
        spacing=numbers_of(measures, "PixelSpacing", 2),
        instance=None,
        slope=1.0 if not text_of(values, "RescaleSlope") else (
            None if slope is None else float(slope[0])
        ),
    )  # fmt: skip


def _dimensions(
    file: Slice, header: pydicom.Dataset, n: int, indices: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for word, places in _DIMENSIONS:
        texts = (_text(header, n, place) for place in places)
        found.append((word, next((text for text in texts if text), "")))
    found.append(("file", file.sop_uid or file.path))
    content = group_of(header, n, "FrameContentSequence")
    numbers = [] if content is None else content.get("DimensionIndexValues")
    listed: list[Any] = list(numbers) if isinstance(numbers, Iterable) else [numbers]
    found += [
        (f"dimension {keyword or k + 1}", str(listed[k]))
        for k, keyword in enumerate(indices) if k < len(listed) and keyword not in _PLACES
    ]  # fmt: skip
    return tuple(found)


def _text(header: pydicom.Dataset, n: int, place: Sequence[str]) -> str:
    here = group_of(header, n, place[0])
    for keyword in place[1:-1]:
        below = None if here is None else here.get(keyword)
        here = below[0] if below else None
    return "" if here is None else text_of(here, place[-1])


def _dimension_names(header: pydicom.Dataset) -> list[str]:
    """Keywords of the tags that the dimension index values stand for."""
    rows = header.get("DimensionIndexSequence") or ()
    pointers = [row.get("DimensionIndexPointer") for row in rows]
    return ["" if p is None else keyword_for_tag(p) for p in pointers]
