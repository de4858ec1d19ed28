"""Conversion: one SEG, RTSTRUCT, label map or image as NIfTI, NRRD or MetaImage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetr_app.cases import Case, survey
from unetr_app.datasets.dicom_pairs import frame_uid_of
from unetr_app.datasets.label_file import told_beside
from unetr_app.errors import (
    InvalidRequest,
    UnetrError,
    UnevenSlices,
    UnreadableInput,
    UnsafeGeometry,
)
from unetr_app.geometry import Geometry
from unetr_app.io import (
    read_geometry,
    read_label_map,
    read_volume,
    write_json,
    write_segmentation,
)
from unetr_app.io.files import find_files
from unetr_app.io.formats import Format, detect, require_format
from unetr_app.io.names import safe_name
from unetr_app.io.volume_writer import ENDINGS, write_volume
from unetr_app.labels import Label, LabelSet
from unetr_app.volume import Segmentation

_MOST_LABELS = 256  # of a file that does not say whether it holds labels


@dataclass(frozen=True)
class Converted:
    """What was written.

    Args:
        files: In order.
        labels: Names of the labels; empty for an image.
        warnings: What was left out, and what else the user should know.
    """

    files: tuple[Path, ...]
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def convert(
    path: str, out: str, *, reference: str = "", case_id: str = "", as_image: bool = False,
    regularise: bool = False, overwrite: bool = False,
) -> Converted:  # fmt: skip
    """Convert one file, or the one series of a folder.

    Args:
        path: A SEG or RTSTRUCT, a label map, an image, or the folder of a DICOM series.
        out: A file whose ending chooses the format, or a folder, which gets ``labels.nii.gz`` or
            ``image.nii.gz``.
        reference: The images that labels were drawn on: their grid is used. An RTSTRUCT needs
            them; without it they are looked for in its own folder and those below.
        case_id: Which image it is, where the path or the reference holds several.
        as_image: Whether a NIfTI, NRRD or MetaImage file is an image whatever its values.
        regularise: Resample DICOM slices at uneven distances rather than refuse them.
        overwrite: Whether files that are there are replaced.

    Raises:
        UnreadableInput: If a file is damaged or nothing that is converted.
        UnsafeGeometry: If labels do not lie on the grid of the images.
        InvalidRequest: If an RTSTRUCT's images are not there, the folder holds several things, or
            a file is in the way.
        UnwritableOutput: If a file could not be written whole.
    """
    from unetr_app.io.dicom.label_object import label_kind

    choice = _Choice(case_id, regularise=regularise)
    source = _only(path, choice) if os.path.isdir(path) else path
    if isinstance(source, Case):
        return _convert_image(source, choice, _Target(out, "image", overwrite=overwrite))
    is_dicom = require_format(source) is Format.DICOM
    kind = label_kind(source) if is_dicom else None
    if is_dicom and kind is None:
        case = _only_case(source, choice)
        return _convert_image(case, choice, _Target(out, "image", overwrite=overwrite))
    target = _Target(out, "labels", overwrite=overwrite)
    if kind is not None:
        return _convert_labels(_read_object(source, kind, reference, choice), target)
    if not as_image:
        try:
            labels = _with_names(read_label_map(source), source)
            if len(labels.labels) <= _MOST_LABELS:
                return _convert_labels(labels, target)
        except UnreadableInput as error:
            if "label map holds" not in error.what:
                raise
    case = _only_case(source, choice)
    return _convert_image(case, choice, _Target(out, "image", overwrite=overwrite))


@dataclass(frozen=True)
class _Choice:
    """Which of several images is meant, and how it is read."""

    case_id: str
    _: KW_ONLY
    regularise: bool

    def of(self, cases: Sequence[Case]) -> Sequence[Case]:
        """The case that is meant; all where none is named.

        Raises:
            InvalidRequest: If there is none of that id.
        """
        if not self.case_id:
            return cases
        if found := [case for case in cases if case.id == self.case_id]:
            return found
        raise InvalidRequest(
            f"there is no case {self.case_id!r}", cure=f"There are: {_ids(cases) or 'none'}."
        )

    def grid(self, case: Case) -> Geometry:
        """Its geometry."""
        if self.regularise and isinstance(case.problem, UnevenSlices):
            return read_volume(case, regularise=True).geometry
        if case.problem is not None:
            raise case.problem
        return case.geometry or read_geometry(case)


def _ids(cases: Sequence[Case]) -> str:
    return ", ".join(case.id for case in cases)


class _Target:
    """Where files go."""

    def __init__(self, out: str, stem: str, *, overwrite: bool):
        lower = os.path.basename(out).lower()
        self.ending = next((e for e in (".seg.nrrd", *ENDINGS) if lower.endswith(e)), "")
        if not self.ending and os.path.splitext(lower)[1] and not os.path.isdir(out):
            raise InvalidRequest(
                "the ending of the output says no format that is written",
                cure=f"Use {', '.join(ENDINGS)}, or name a folder.", path=out,
            )  # fmt: skip
        self.is_file = bool(self.ending) and not os.path.isdir(out)
        base = out[: len(out) - len(self.ending)] if self.is_file else os.path.join(out, stem)
        self._base, self._overwrite = base, overwrite
        self.ending = self.ending if self.is_file else ".nii.gz"

    @property
    def whole(self) -> Path:
        """The one file."""
        return Path(self._base + self.ending)

    @property
    def table(self) -> Path:
        """What the labels are."""
        return Path(self._base + ".json")

    def parts(self, names: Sequence[str]) -> list[Path]:
        """A file for each label: in a folder beside, or with the name at the end."""
        found: list[Path] = []
        for name in names:
            slug = safe_name(name.casefold())
            start = f"{self._base}_" if self.is_file else f"{self._base}{os.sep}"
            path = Path(f"{start}{slug}{self.ending}")
            while path in found:
                slug += "_"
                path = Path(f"{start}{slug}{self.ending}")
            found.append(path)
        return found

    def require_free(self, paths: Sequence[Path]) -> None:
        """Refuse to replace what is there."""
        there = next((path for path in paths if path.exists()), None)
        if there is not None and not self._overwrite:
            raise InvalidRequest(
                "the file is there already", cure="Add --overwrite, or name another.", path=there
            )


def _convert_image(case: Case, choice: _Choice, target: _Target) -> Converted:
    target.require_free([target.whole])
    volume = read_volume(case, regularise=choice.regularise)
    return Converted((write_volume(volume, target.whole),), (), (*case.warnings, *volume.warnings))


def _convert_labels(found: Segmentation, target: _Target) -> Converted:
    """One label map, or a binary mask for each label where they overlap; and what they are."""
    names = found.labels.names
    paths = target.parts(names) if found.is_overlapping else [target.whole]
    target.require_free([*paths, target.table])
    warnings = [str(words) for words in found.provenance.get("warnings", ())]
    if found.is_overlapping:
        warnings.append("the labels overlap: each is a file of its own")
        for label, path in zip(found.labels, paths, strict=True):
            one = LabelSet((Label(1, label.name, label.colour, label.type, label.category,
                                  label.modifier),))  # fmt: skip
            mask = found.mask(label.value).astype(np.uint8)
            write_segmentation(Segmentation(mask, found.geometry, one), path)
    else:
        write_segmentation(found, target.whole)
    rows = [
        _row(label, path.name, 1 if found.is_overlapping else label.value)
        for label, path in zip(
            found.labels, paths if found.is_overlapping else paths * len(names), strict=True
        )
    ]
    write_json(target.table, {"labels": rows})
    return Converted((*paths, target.table), names, tuple(warnings))


def _row(label: Label, file: str, value: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "file": file, "value": value, "name": label.name, "colour": list(label.colour),
    }  # fmt: skip
    for what in ("type", "category", "modifier"):
        code = getattr(label, what)
        if code is not None:
            row[what] = {"scheme": code.scheme, "value": code.value, "meaning": code.meaning}
    return row


def _with_names(found: Segmentation, path: str) -> Segmentation:
    """The labels with the names that a table beside the file gives all of them."""
    told = told_beside(path)
    if told is None or not set(found.labels.values) <= set(told.values):
        return found
    return Segmentation(found.label_map, found.geometry, told.subset(found.labels.values))


def _read_object(path: str, kind: str, reference: str, choice: _Choice) -> Segmentation:
    """A SEG or RTSTRUCT, on the grid of its images where they are named or needed."""
    if kind == "seg":
        from unetr_app.io.dicom.seg_reader import read_seg

        if not reference:
            return read_seg(path)
        case = _named(reference, path, choice)
        return read_seg(path, choice.grid(case), frame_uid=frame_uid_of(case))
    from unetr_app.io.dicom.rtstruct_reader import read_rtstruct

    case = _named(reference, path, choice) if reference else _images_near(path)
    return read_rtstruct(path, choice.grid(case), frame_uid=frame_uid_of(case))


def _named(reference: str, path: str, choice: _Choice) -> Case:
    """The image of a reference; of several the one that the labels of a file were drawn on."""
    from unetr_app.datasets.dicom_pairs import pair_dicom

    cases = choice.of(survey([reference]).cases)
    series = [case for case in cases if case.kind == "dicom-series"]
    if len(cases) > 1 and series:
        pairs, _ = pair_dicom(series, [path])
        if len(pairs) == 1:
            return pairs[0].image
    return _one_of(cases, reference)


def _images_near(path: str) -> Case:
    """The series that an RTSTRUCT refers to, in its folder or below."""
    from unetr_app.datasets.dicom_pairs import pair_dicom

    folder = os.path.dirname(os.path.abspath(path))
    series = [case for case in survey([folder]).cases if case.kind == "dicom-series"]
    pairs, _ = pair_dicom(series, [path])
    if not pairs:
        raise InvalidRequest(
            "a structure set holds contours and no grid: the images that it was drawn on are "
            "needed, and are not beside it",
            cure="Add --reference with the folder of that series.", path=path,
        )  # fmt: skip
    return pairs[0].image


def _only(folder: str, choice: _Choice) -> Case | str:
    """The one thing that a folder holds: a series or image, or a SEG or RTSTRUCT."""
    from unetr_app.io.dicom.label_object import label_kind

    objects: list[str] = []
    for file in find_files([folder]):
        try:
            if detect(file.path) is Format.DICOM and label_kind(file.path) is not None:
                objects.append(file.path)
        except UnetrError:
            continue
    cases = choice.of(survey([folder]).cases)
    if choice.case_id or (len(cases) == 1 and not objects):
        return cases[0]
    if len(objects) == 1 and not cases:
        return objects[0]
    if not objects and not cases:
        raise UnreadableInput("the folder holds nothing that is converted", path=folder)
    if not objects:
        _raise_if_all_are_bad(cases)
    raise InvalidRequest(
        f"the folder holds {len(cases)} images and {len(objects)} files of labels",
        cure=f"Name a file of labels, or an image with --case ({_ids(cases)}); for many, use "
        "unetr dataset.",
        path=folder,
    )


def _only_case(path: str, choice: _Choice) -> Case:
    return _one_of(choice.of(survey([path]).cases), path)


def _one_of(cases: Sequence[Case], path: str) -> Case:
    if len(cases) == 1:
        return cases[0]
    _raise_if_all_are_bad(cases)
    raise UnsafeGeometry(
        f"{len(cases) or 'no'} images are there, where one is needed",
        cure=f"Name one with --case: {_ids(cases)}." if cases else "Name a file of one.",
        path=path,
    )


def _raise_if_all_are_bad(cases: Sequence[Case]) -> None:
    """What is wrong with images of which none can be read, a series before single files."""
    bad = sorted((case for case in cases if case.problem), key=lambda c: c.kind != "dicom-series")
    if bad and len(bad) == len(cases) and bad[0].problem is not None:
        raise bad[0].problem
