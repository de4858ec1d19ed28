"""OutputFolder: the cases of a folder that ``unetr segment`` wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from unetr_app.batch.formats import split_names
from unetr_app.cases import Case
from unetr_app.errors import InvalidRequest, UnetrError, UnreadableInput
from unetr_app.io import read_label_map
from unetr_app.io.formats import claimed_format
from unetr_app.labels import Label, LabelSet
from unetr_app.outputs import (
    FORMATS,
    LABEL_MAP,
    MANIFEST,
    MAPS,
    REVIEWS,
    SPLIT_LABELS,
    read_manifest,
)
from unetr_app.review import results
from unetr_app.review.sources.entry import Entry, Listed
from unetr_app.review.sources.files_of_labels import FilesOfLabels
from unetr_app.review.sources.ids import identified
from unetr_app.review.stamps import stamp_of
from unetr_app.volume import Segmentation, Volume

_SEG, _NRRD = FORMATS["dicom-seg"], FORMATS["nrrd"]
_ENDINGS = (".nii.gz", ".nrrd")


def read_output_folder(out: Path) -> Listed:
    """The cases of an output folder; those that failed are shown as such.

    Raises:
        InvalidRequest: If it names no case.
    """
    manifest = out / MANIFEST
    stamp = stamp_of([manifest])
    rows = read_manifest(out)
    if not rows:
        raise InvalidRequest(
            "the output folder names no case", cure="Run unetr segment on some images first.",
            path=out,
        )  # fmt: skip
    entries = [_entry(case_id, row, out) for case_id, row in rows.items()]
    named = identified(entries, list(rows))
    return Listed(out.resolve().name, named, out / REVIEWS, (), (manifest,), stamp)


def _entry(case_id: str, row: Mapping[str, Any], out: Path) -> Entry:
    folder = out / case_id
    labels = LabelsOfResult(folder)
    problem: UnetrError | None = None
    if os.path.basename(case_id) != case_id or case_id in ("", ".", ".."):
        return Entry("case", FilesOfLabels(()), problem=UnreadableInput(
            "a row of the manifest names no case of this folder", path=out / MANIFEST))  # fmt: skip
    if not labels.paths:
        problem = _failure(row, folder)
    entry = Entry(case_id, labels, partial(results.image_of, row, out), problem=problem)
    outdated = results.outdated(row)
    kind = claimed_format(str(row.get("input") or ""))
    seg, uncertainty = folder / _SEG, folder / MAPS["uncertainty"]
    bundle = row.get("bundle")
    told = cast("dict[str, Any]", bundle) if isinstance(bundle, dict) else {}
    return replace(
        entry,
        kind=str(kind) if kind else "",
        uncertainty=uncertainty if uncertainty.is_file() else None,
        bundle={str(k): str(v) for k, v in told.items()},
        seg=seg if seg.is_file() else None,
        source_hash=str(row.get("input_hash") or ""),
        warnings=outdated,
    )


def _failure(row: Mapping[str, Any], folder: Path) -> UnetrError:
    """Why a case has no labels."""
    error = row.get("error")
    if row.get("status") == "failed" and isinstance(error, dict):
        said = cast("dict[str, Any]", error)
        return UnreadableInput(
            f"its segmentation failed: {said.get('cause')}", cure=str(said.get("cure") or "")
        )
    return UnreadableInput(
        "its results are not there", cure="Run unetr segment on it again.", path=folder
    )


@dataclass(frozen=True)
class LabelsOfResult:
    """The labels of ``OUT/<case_id>``, in whichever format they were written.

    Args:
        folder: The case's folder.
    """

    folder: Path

    @property
    def paths(self) -> tuple[str, ...]:
        """The label map; else masks; else the SEG; none where there are none."""
        for name in (LABEL_MAP, _NRRD):
            if (self.folder / name).is_file():
                return (os.fspath(self.folder / name),)
        masks = self.folder / SPLIT_LABELS
        if masks.is_dir() and (found := sorted(masks.iterdir())):
            return tuple(os.fspath(p) for p in found if p.name.endswith(_ENDINGS))
        seg = self.folder / _SEG
        return (os.fspath(seg),) if seg.is_file() else ()

    def read(self, case: Case | None, volume: Volume | None) -> Segmentation:
        """Read them; see `unetr_app.review.sources.entry.Labels`."""
        paths = self.paths
        if not paths:
            raise UnreadableInput("its results are not there", path=self.folder)
        first = Path(paths[0])
        if first.name == LABEL_MAP:
            return results.read_labels(first)
        if first.name == _NRRD:
            return read_label_map(first)
        if first.name == _SEG:
            return FilesOfLabels(paths).read(case, volume)
        return self._masks(paths)

    def _masks(self, paths: tuple[str, ...]) -> Segmentation:
        """Labels that overlap, from a mask for each."""
        files = {Path(path).name.split(".")[0]: path for path in paths}
        known = results.measured_labels(self.folder)
        labels = LabelSet(tuple(known.values())) if known else _numbered(list(files))
        names = split_names(labels)
        missing = [name for name in names if name not in files]
        if missing:
            raise UnreadableInput(
                f"the mask of {missing[0]} is not there", cure="Run unetr segment on it again.",
                path=self.folder,
            )  # fmt: skip
        parts = [read_label_map(files[name]) for name in names]
        grid = parts[0].geometry
        if not all(part.geometry.is_close(grid) for part in parts):
            raise UnreadableInput("the masks lie on different grids", path=self.folder)
        return Segmentation(np.stack([part.data != 0 for part in parts]), grid, labels)


def _numbered(names: list[str]) -> LabelSet:
    return LabelSet(tuple(Label(n, name) for n, name in enumerate(names, start=1)))
