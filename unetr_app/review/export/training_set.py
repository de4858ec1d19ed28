"""TrainingSet: accepted cases as a data set that a bundle is trained on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from unetr_app.batch.formats import split_names, write_split_labels
from unetr_app.cases import Case, find_cases
from unetr_app.datasets import DatasetOptions, Made, Pair, make_dataset
from unetr_app.datasets.dicom_pairs import subject_of
from unetr_app.datasets.label_file import LabelFile
from unetr_app.errors import Cancelled, InvalidRequest, UnetrError, UnreadableInput
from unetr_app.io import PathLike, write_json, write_segmentation
from unetr_app.io.volume_writer import write_volume
from unetr_app.review.loaded import LoadedCase
from unetr_app.review.standing import require_standing
from unetr_app.review.worklist import Worklist
from unetr_app.volume import Segmentation

_TABLE = "labels.json"


@dataclass(frozen=True)
class TrainingSet:
    """What was exported.

    Args:
        made: What became of the cases, see `unetr_app.datasets.make_dataset`.
        left_out: Cases that could not be read, and why.
        warnings: What the reviewer should know of the others.
    """

    made: Made
    left_out: tuple[tuple[str, UnetrError], ...] = ()
    warnings: tuple[str, ...] = ()


def export_training_set(
    worklist: Worklist,
    out: PathLike,
    *,
    statuses: Collection[str] = ("accepted",),
    folds: int = 5,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingSet:
    """Write cases, each with its newest version, in the layout of the Decathlon.

    Args:
        worklist: The cases.
        out: A folder that is empty, or that an earlier call began.
        statuses: Of the cases that are taken.
        folds: Number of folds, 2 or more; split by subject, and fewer where there are fewer of
            them.
        seed: Of the folds.
        progress: Told how many of the steps are done, and how many there are.
        should_stop: Asked before each case.

    Raises:
        InvalidRequest: If there is no such case, or the folder holds something else.
        UnwritableOutput: If the disk is full or the folder cannot be written to.
        Cancelled: If ``should_stop`` said so.
    """
    chosen = [row.case_id for row in worklist.rows() if row.status in statuses]
    if not chosen:
        raise InvalidRequest(
            f"no case is {' or '.join(statuses)}", cure="Accept some cases first (key A)."
        )
    steps = 2 * len(chosen)
    left_out: list[tuple[str, UnetrError]] = []
    warnings: list[str] = []
    with tempfile.TemporaryDirectory(prefix="unetr-review-") as staging:
        pairs: list[Pair] = []
        for n, case_id in enumerate(chosen):
            if should_stop():
                raise Cancelled("stopped; run the same export again to go on")
            try:
                loaded = worklist.load(case_id)
                pairs.append(_pair(loaded, Path(staging) / case_id, worklist))
                warnings += [f"{case_id}: {words}" for words in loaded.warnings]
            except UnetrError as problem:
                left_out.append((case_id, problem))
            if progress is not None:
                progress(n + 1, steps)
        if not pairs:
            raise left_out[0][1]
        most = max(2, len({pair.subject for pair in pairs}))
        options = DatasetOptions(name=worklist.title, folds=min(folds, most), seed=seed)
        made = make_dataset(
            pairs, Path(out), options, should_stop=should_stop,
            progress=progress and (lambda done, _: progress(len(chosen) + done, steps)),
        )  # fmt: skip
    return TrainingSet(made, tuple(left_out), tuple(warnings))


def _pair(loaded: LoadedCase, folder: Path, worklist: Worklist) -> Pair:
    """Image and labels of a case, the labels in files that say what they are called."""
    case, volume = loaded.image, loaded.volume
    if case is None or volume is None:
        raise UnreadableInput(
            "there is no image on the labels' grid to train on", cure="Put the image back."
        )
    require_standing(loaded, worklist.decision(loaded.case_id))
    entry = worklist.entry(loaded.case_id)
    folder.mkdir(parents=True)
    if case.problem is not None:  # such as uneven slices, of which a regular grid was made
        case = _as_file(write_volume(volume, folder / "image.nii.gz"), case)
    subject = entry.subject or (subject_of(case) if case.kind == "dicom-series" else "")
    labels = tuple(LabelFile(str(path), "map") for path in _write_labels(loaded.labels, folder))
    return Pair(loaded.case_id, case, labels, subject or f"case {loaded.case_id}")


def _as_file(path: Path, case: Case) -> Case:
    return replace(find_cases(path)[0], modality=case.modality)


def _write_labels(labels: Segmentation, folder: Path) -> Iterator[Path]:
    """A label map, or a mask for each label, with a table beside that names what is in it."""
    if not labels.is_overlapping:
        rows = [_row(label.name, "labels.nii.gz", label.value) for label in labels.labels]
        write_json(folder / _TABLE, {"labels": rows})
        yield write_segmentation(labels, folder / "labels.nii.gz")
        return
    write_split_labels(labels, folder / "masks")
    for label, name in zip(labels.labels, split_names(labels.labels), strict=True):
        path = folder / "masks" / f"{name}.nii.gz"
        write_json(path.with_name(f"{name}.json"), {"labels": [_row(label.name, path.name, 1)]})
        yield path


def _row(name: str, file: str, value: int) -> dict[str, object]:
    return {"file": file, "value": value, "name": name, "colour": [0, 0, 0]}
