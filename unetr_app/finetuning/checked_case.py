"""Checked case: a training case whose files were read, as the training and the scoring take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unetr_app.checksum import sha256_of
from unetr_app.errors import Cancelled, InvalidRequest, UnetrError, UnsafeGeometry
from unetr_app.finetuning.label_match import mapped
from unetr_app.finetuning.training_case import TrainingCase
from unetr_app.io import read_label_map, read_volume, write_segmentation
from unetr_app.labels import LabelSet


@dataclass(frozen=True)
class CheckedCase:
    """A training case whose labels fit its image and the bundle.

    Args:
        id: For the screen alone.
        key: SHA-256 of the image's file: names the case without saying whose it is.
        label_hash: SHA-256 of the data set's label file.
        image: NIfTI file.
        label: NIfTI file with the bundle's values.
        is_held_out: Never trained on?
    """

    id: str
    key: str
    label_hash: str
    image: Path
    label: Path
    is_held_out: bool


def check_cases(
    cases: Sequence[TrainingCase],
    held_out: frozenset[str],
    table: Mapping[int, int],
    labels: LabelSet,
    folder: Path,
    *,
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> list[CheckedCase]:
    """Read every image and label map, hold them together, and give labels the bundle's values.

    Args:
        cases: Of the data set.
        held_out: Ids of those that are not trained on.
        table: The bundle's value of each of the data set's values.
        labels: The bundle's.
        folder: Where label maps go whose values change.
        progress: Told (cases done, cases in all).
        should_stop: Asked before each case.

    Raises:
        Cancelled: If ``should_stop`` said so.
        InvalidRequest: If a case holds a value without a name, or one image is on both sides.
        UnetrError: If a file cannot be read, or label and image lie on different grids.
    """
    found: list[CheckedCase] = []
    for n, case in enumerate(cases):
        if should_stop():
            raise Cancelled("asked to stop", cure="Run the same command again to go on.")
        progress(n, len(cases))
        found.append(_checked(case, case.id in held_out, table, labels, folder))
    progress(len(cases), len(cases))
    _require_apart(found)
    return found


def _checked(
    case: TrainingCase, held_out: bool, table: Mapping[int, int], labels: LabelSet, folder: Path
) -> CheckedCase:
    names = LabelSet.from_names({value: f"value {value}" for value in table})
    try:
        segmentation = read_label_map(case.label, names)
        grid = read_volume(case.image).geometry  # all of it: damage would show while it trains
    except InvalidRequest as error:
        raise InvalidRequest(
            f"{case.id}: {error.what}", cure="Mend the label map, or take the case out."
        ) from error
    except UnetrError as error:
        error.cure = f"{error.cure} Or take the case out of the data set.".strip()
        raise
    if not grid.is_close(segmentation.geometry):
        raise UnsafeGeometry(
            f"image and labels of {case.id} lie on different grids",
            cure="Make the data set with unetr dataset, which brings labels onto their images.",
        )
    label = case.label
    if any(old != new for old, new in table.items()):
        label = folder / f"{case.id}.nii.gz"
        write_segmentation(mapped(segmentation, table, labels), label)
    key, label_hash = sha256_of(case.image), sha256_of(case.label)
    return CheckedCase(case.id, key, label_hash, case.image, label, held_out)


def _require_apart(cases: Sequence[CheckedCase]) -> None:
    trained = {case.key: case.id for case in cases if not case.is_held_out}
    for case in cases:
        if case.is_held_out and case.key in trained:
            raise InvalidRequest(
                f"{case.id} is held out, and {trained[case.key]} to be trained on is the same "
                "image: the figures would flatter",
                cure="Take one of them out of the data set.",
            )
