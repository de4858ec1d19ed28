"""Making of a data set in the layout of the Medical Segmentation Decathlon.

::

    OUT/
    ├── dataset.json        labels, cases, folds; written last
    ├── imagesTr/<id>.nii.gz
    ├── labelsTr/<id>.nii.gz
    ├── pictures/<id>.png
    ├── sheet.html          all pictures on a page
    ├── report.json         shape, spacing, voxels of each label, warnings
    └── manifest.jsonl      where each case came from: keep it to yourself

A case is written whole or not at all; one that is there already, from the same inputs and options,
is left as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unetr_app.datasets.case_files import CaseFiles, content_of, write_case
from unetr_app.datasets.folds import deal
from unetr_app.datasets.label_file import is_a_number
from unetr_app.datasets.label_names import LabelNames, agree_on, parse_labels, parse_synonyms
from unetr_app.datasets.pair import Pair
from unetr_app.datasets.sheet import write_sheet
from unetr_app.errors import (
    Cancelled,
    InvalidRequest,
    UnetrError,
    UnreadableInput,
    UnwritableOutput,
)
from unetr_app.io import write_json
from unetr_app.io.names import safe_name
from unetr_app.outputs import MANIFEST, read_manifest
from unetr_app.version import __version__

DATASET, REPORT = "dataset.json", "report.json"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DatasetOptions:
    """How a data set is made.

    Args:
        name: Of the data set.
        labels: Names, or values and names, see `unetr_app.datasets.label_names.parse_labels`;
            empty for those that most cases have.
        rename: Other names of labels, as in ``"Leber=liver"``.
        folds: Number of folds, 2 or more.
        seed: Of the folds.
        later_wins: Whether, of labels that overlap, the later one is kept.

    Raises:
        InvalidRequest: If there are fewer than two folds.
    """

    name: str = "dataset"
    labels: str = ""
    rename: str = ""
    folds: int = 5
    seed: int = 0
    later_wins: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.folds <= 100:
            raise InvalidRequest(f"{self.folds} folds are none", cure="Choose 2 to 100.")


@dataclass(frozen=True)
class Made:
    """What became of the cases.

    Args:
        names: The labels of the data set.
        reports: What is known of each case that is in it.
        folds: Its fold.
        failures: Cases that are not, and why.
        resumed: Number of cases that were there already.
        warnings: What concerns the whole.
    """

    names: LabelNames
    reports: tuple[dict[str, Any], ...]
    folds: Mapping[str, int]
    failures: tuple[tuple[Pair, UnetrError], ...]
    resumed: int
    warnings: tuple[str, ...]


def make_dataset(
    pairs: Sequence[Pair],
    out: Path,
    options: DatasetOptions | None = None,
    *,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Made:
    """Write a data set; one bad case does not end it.

    Args:
        pairs: Images with their labels.
        out: A folder that is empty, or that an earlier call began.
        options: How it is made.
        progress: Called with cases done and cases in all.
        should_stop: Asked before each case.

    Raises:
        InvalidRequest: If the folder holds something else, or the cases agree on no label.
        UnwritableOutput: If the disk is full or the folder cannot be written to.
        Cancelled: If ``should_stop`` said so; cases that are done stay.
    """
    options = options or DatasetOptions()
    _require_ours(out)
    failures: list[tuple[Pair, UnetrError]] = []
    names, usable = _names(pairs, options, failures)
    before = read_manifest(out)
    reports: list[dict[str, Any]] = []
    resumed = 0
    for done, pair in enumerate(usable, start=1):
        if should_stop():
            raise Cancelled("stopped; run the same command again to go on")
        try:
            report, was_there = _one(pair, names, out, before.get(pair.id, {}), options)
            reports.append(report)
            resumed += was_there
        except UnwritableOutput:
            raise
        except UnetrError as error:
            failures.append((pair, error))
            _note(
                out, pair, {"status": "failed", "error": {"code": error.code, "said": str(error)}}
            )
        if progress is not None:
            progress(done, len(usable))
    return _finish(
        pairs, out, options, Made(names, tuple(reports), {}, tuple(failures), resumed, ())
    )


def _require_ours(out: Path) -> None:
    if out.is_file():
        raise InvalidRequest("the output is a file, and a folder is needed", path=out)
    if not out.is_dir():
        return
    if (out / MANIFEST).exists() and all("labels" in row for row in read_manifest(out).values()):
        return  # a manifest of `unetr segment` names no labels
    if any(not item.name.startswith(".") for item in out.iterdir()):
        raise InvalidRequest(
            "the output folder holds something else already", cure="Name a new folder.", path=out
        )


def _names(
    pairs: Sequence[Pair], options: DatasetOptions, failures: list[tuple[Pair, UnetrError]]
) -> tuple[LabelNames, list[Pair]]:
    """The labels of the data set, and the cases that can be read so far."""
    wanted, known = parse_labels(options.labels)
    synonyms = parse_synonyms(options.rename)
    if wanted:
        return LabelNames(wanted, synonyms, known), list(pairs)
    usable: list[Pair] = []
    found: list[list[str]] = []
    for pair in pairs:
        try:
            if pair.problem is not None:
                raise pair.problem
            found.append([name for file in pair.labels for name in file.names(None)])
            usable.append(pair)
        except UnetrError as error:
            failures.append((pair, error))
    if not usable:
        return LabelNames((), synonyms), []
    numbered = {name for names in found for name in names if is_a_number(name)}
    return agree_on(found, synonyms, kept=numbered), usable


def _one(
    pair: Pair, names: LabelNames, out: Path, before: Mapping[str, Any], options: DatasetOptions
) -> tuple[dict[str, Any], bool]:
    """The report of a case, and whether it was there already."""
    try:
        fingerprint = _fingerprint(pair, names, options)
    except OSError as error:
        raise UnreadableInput(
            f"a file cannot be read: {error.strerror or type(error).__name__}",
            cure="Check that it exists and that you may read it.",
        ) from error
    files = CaseFiles(pair.id)
    report = before.get("report")
    same = before.get("status") == "done" and before.get("fingerprint") == fingerprint
    if same and isinstance(report, dict) and before.get("outputs") == files.hashes(out):
        return report, True
    report = write_case(pair, names, out, later_wins=options.later_wins)
    _note(out, pair, {
        "status": "done", "fingerprint": fingerprint, "outputs": files.hashes(out),
        "report": report,
    })  # fmt: skip
    return report, False


def _fingerprint(pair: Pair, names: LabelNames, options: DatasetOptions) -> str:
    """A hash of everything that decides what a case's files hold."""
    known = None if names.known is None else {v.value: v.name for v in names.known}
    recipe = [
        content_of(pair), [file.form for file in pair.labels], names.names, dict(names.synonyms),
        known, options.later_wins, __version__,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _note(out: Path, pair: Pair, row: Mapping[str, Any]) -> None:
    """Add a line to the manifest, the only file that holds paths."""
    whole = {"case_id": pair.id, "input": pair.image.input,
             "labels": [file.path for file in pair.labels], **row}  # fmt: skip
    line = json.dumps(whole, ensure_ascii=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (out / MANIFEST).open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"  # a killed process left part of a line
                file.write(b"\n" * torn)
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UnwritableOutput(
            f"could not be written: {error.strerror or 'the operating system refused'}",
            cure="Check that there is space and that you may write there; then run again.",
            path=out / MANIFEST,
        ) from error


def _finish(pairs: Sequence[Pair], out: Path, options: DatasetOptions, made: Made) -> Made:
    """Deal the folds and write what concerns all cases, ``dataset.json`` last."""
    if not made.reports:
        return made
    subject_of = {pair.id: pair.subject for pair in pairs}
    subjects = {str(row["case_id"]): subject_of[str(row["case_id"])] for row in made.reports}
    folds = deal(subjects, folds=options.folds, seed=options.seed)
    first: dict[str, str] = {}  # a subject goes by the id of its first case
    for case_id in sorted(subjects):
        first.setdefault(subjects[case_id], case_id)
    rows = [
        {"image": f"./{CaseFiles(case_id).image}", "label": f"./{CaseFiles(case_id).label}",
         "fold": folds[case_id], "subject": first[subjects[case_id]]}
        for case_id in (str(row["case_id"]) for row in made.reports)
    ]  # fmt: skip
    warnings = _warnings(made, subjects, options)
    write_json(out / REPORT, {
        "cases": [{**row, "fold": folds[str(row["case_id"])]} for row in made.reports],
        "failed": [{"case_id": pair.id, "code": error.code} for pair, error in made.failures],
        "labels_left_out": dict(made.names.left_out or {}),
        "warnings": warnings,
    })  # fmt: skip
    write_sheet(out, options.name, [
        (row, folds[str(row["case_id"])], CaseFiles(str(row["case_id"])).picture)
        for row in made.reports
    ])  # fmt: skip
    write_json(out / DATASET, _table(made, options, rows))
    return replace(made, folds=folds, warnings=tuple(warnings))


def _table(made: Made, options: DatasetOptions, rows: list[dict[str, Any]]) -> dict[str, Any]:
    common = Counter(str(row["modality"]) for row in made.reports).most_common(1)[0][0]
    names = {"MR": "MRI", "": "unknown"}
    return {
        "name": safe_name(options.name),
        "description": "Made by unetr dataset",
        "reference": "",
        "licence": "",
        "tensorImageSize": "3D",
        "modality": {"0": names.get(common, common)},
        "labels": {"0": "background"} | {str(v.value): v.name for v in made.names.labels},
        "numTraining": len(rows),
        "numTest": 0,
        "training": rows,
        "test": [],
    }


def _warnings(made: Made, subjects: Mapping[str, str], options: DatasetOptions) -> list[str]:
    said: list[str] = []
    people = len(set(subjects.values()))
    if people < options.folds:
        said.append(
            f"{len(subjects)} cases of {people} subjects do not fill {options.folds} folds: choose "
            "fewer with --folds; where an anonymiser gave all one patient id, list the cases in a "
            "CSV file with a column subject"
        )
    for name in made.names.names:
        empty = sum(name in row["empty"] for row in made.reports)
        if empty:
            said.append(f"{name} has no voxel in {empty} of {len(made.reports)} cases")
    modalities = Counter(str(row["modality"]) or "unknown" for row in made.reports)
    if len(modalities) > 1:
        mixed = ", ".join(f"{n} {name}" for name, n in modalities.items())
        said.append(f"modalities are mixed: {mixed}")
    for name, count in (made.names.left_out or {}).items():
        said.append(f"label {name} was left out: {count} of the cases have it")
    return said
