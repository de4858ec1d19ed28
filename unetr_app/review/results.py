"""Results: one case of an output folder read back, labels with the image they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetr_app.cases import Case, find_cases
from unetr_app.cases.channel_files import channel_siblings
from unetr_app.errors import InvalidRequest, UnetrError, UnreadableInput
from unetr_app.io import read_label_map, read_volume
from unetr_app.labels import Label, LabelSet
from unetr_app.outputs import (
    LABEL_MAP,
    MANIFEST,
    SPLIT_LABELS,
    read_manifest,
    read_measurements,
)
from unetr_app.volume import Segmentation, Volume


@dataclass(frozen=True, eq=False)
class Result:
    """A case of an output folder.

    Args:
        case_id: Name of its folder.
        segmentation: The labels, with their names.
        volume: The image that was segmented; None where it is not to be had.
        warnings: What the user should know, such as why there is no image.
    """

    case_id: str
    segmentation: Segmentation
    volume: Volume | None = None
    warnings: tuple[str, ...] = ()


def is_case_folder(folder: Path) -> bool:
    """Is it ``OUT/<case_id>``? Looks for one file, lists nothing."""
    return (folder / LABEL_MAP).is_file()


def is_label_file(path: Path) -> bool:
    """Is it in ``OUT/<case_id>``, or a mask in ``OUT/<case_id>/labels``?"""
    folder = path.parent
    return is_case_folder(folder) or (folder.name == SPLIT_LABELS and is_case_folder(folder.parent))


def is_output_folder(folder: Path) -> bool:
    """Is it ``OUT``? Looks for one file, lists nothing."""
    return (folder / MANIFEST).is_file()


def read_result(folder: Path) -> Result:
    """Read ``OUT/<case_id>``: its labels, and the image by the manifest's reference.

    An image that is gone, or lies on another grid than the labels, is left out with a warning.

    Raises:
        UnetrError: If the labels cannot be read.
    """
    folder = folder.resolve()
    segmentation = read_labels(folder / LABEL_MAP)
    row = read_manifest(folder.parent).get(folder.name, {})
    try:
        volume, warnings = _read_image(row, folder.parent)
        if not volume.geometry.is_close(segmentation.geometry):
            raise InvalidRequest(
                f"the image now has a grid of {volume.geometry.shape} voxels that is not the "
                f"labels' grid of {segmentation.geometry.shape}",
                cure="Segment it again.",
            )
    except UnetrError as problem:
        alone = f"{folder.name}: the labels are shown without their image: {problem}"
        return Result(folder.name, segmentation, None, (*outdated(row), alone))
    return Result(folder.name, segmentation, volume, (*outdated(row), *warnings))


def read_labels(path: Path) -> Segmentation:
    """Read a label map; names and colours come from the ``measurements.json`` beside it.

    Values that it does not name are called ``label_<value>`` and coloured from a palette. A mask
    in ``OUT/<case_id>/labels`` is one label with the file's name.

    Raises:
        UnetrError: If the label map cannot be read.
    """
    if not is_case_folder(path.parent):
        return read_label_map(path, LabelSet.from_names({1: path.name.split(".")[0]}))
    found = read_label_map(path)
    known = measured_labels(path.parent)
    others = [label for label in found.labels if label.value not in known]
    return found.described(labels=LabelSet((*known.values(), *others)))


def measured_labels(folder: Path) -> dict[int, Label]:
    """Labels by value from a case's measurements; empty where they are absent or contradictory."""
    try:
        labels = LabelSet(tuple(map(_label, read_measurements(folder))))
    except (ValueError, TypeError, InvalidRequest):
        return {}
    return {label.value: label for label in labels}


def _label(row: Mapping[str, Any]) -> Label:
    colour = row.get("colour") or (0, 0, 0)  # black: the palette decides
    red, green, blue = (min(max(int(c), 0), 255) for c in colour)
    return Label(row["value"], row["name"], (red, green, blue))


def _read_image(row: Mapping[str, Any], out: Path) -> tuple[Volume, tuple[str, ...]]:
    """The image that a manifest row refers to, with what there is to say about it."""
    case = image_of(row, out)
    return read_volume(case), _changed(case, str(row.get("input_hash") or ""))


def image_of(row: Mapping[str, Any], out: Path) -> Case:
    """The image that a row of the manifest refers to.

    Args:
        row: As `unetr_app.outputs.read_manifest` gives it.
        out: The output folder.

    Raises:
        InvalidRequest: If the row does not say which image it was.
        UnreadableInput: If the image is no longer there.
    """
    if not row.get("input"):
        raise InvalidRequest("the manifest beside the case does not say which image it was")
    for place in _places(row, out):
        case = _case_at(place, str(row["case_id"]))
        if case is not None:
            return case
    raise UnreadableInput(
        "the image is no longer where it was",
        cure="Put it back, or open it too: it lies in register with the labels.",
        path=str(row["input"]),
    )


def _places(row: Mapping[str, Any], out: Path) -> Iterator[Path]:
    """Existing paths that the row's input may mean, the likeliest first.

    A relative input was typed in a working directory that is not recorded: it is looked for from
    the output folder upwards, then from the present working directory.
    """
    from_manifest, typed = row.get("input_from_manifest"), Path(str(row["input"])).expanduser()
    tried = [out / str(from_manifest)] if from_manifest else []
    tried += [folder / typed for folder in (out, *out.parents, Path.cwd())]
    seen: set[Path] = set()
    for path in tried:
        if path not in seen and path.exists():
            seen.add(path)
            yield path


def _case_at(path: Path, case_id: str) -> Case | None:
    """The case at a path: the only one there, or the one with that id.

    A file of one channel means the case of all its channels, where they lie beside it.
    """
    siblings = channel_siblings(path)
    if len(siblings) > 1:
        channels = tuple(str(n) for n in range(len(siblings)))
        joined = [c for c in find_cases(siblings, channels=channels) if c.id == case_id]
        if joined and joined[0].problem is None:
            return joined[0]
    cases = find_cases(path)
    if len(cases) == 1:
        return cases[0]
    return next((case for case in cases if case.id == case_id), None)


def outdated(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A warning where the results are not of the last run."""
    if row.get("status") != "failed":
        return ()
    return (f"{row['case_id']}: its last run failed; these are the results of an earlier one",)


def _changed(case: Case, input_hash: str) -> tuple[str, ...]:
    from unetr_app.batch.inputs import input_hash as hash_of

    if not input_hash or hash_of(case) == input_hash:
        return ()
    return (f"{case.id}: the image was changed after it was segmented; segment it again",)
