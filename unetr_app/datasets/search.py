"""Search: images with their labels, in trees of DICOM, pairs of files, and lists."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from unetr_app.cases import Case, survey
from unetr_app.cases.ids import natural, with_unique_ids
from unetr_app.checksum import sha256_of
from unetr_app.datasets.csv_pairs import is_csv, read_csv_pairs
from unetr_app.datasets.dicom_pairs import pair_dicom
from unetr_app.datasets.file_pairs import pair_files
from unetr_app.datasets.pair import FoundPairs, Pair, Unmatched
from unetr_app.errors import UnetrError
from unetr_app.io.files import find_files
from unetr_app.io.formats import Format, detect


def find_pairs(inputs: Sequence[str], *, out: str = "", keep_names: bool = False) -> FoundPairs:
    """Find images with their labels.

    DICOM objects (SEG, RTSTRUCT) belong to the series whose UIDs they name; label maps to the image
    of the same name in ``imagesTr`` and ``labelsTr`` (or the like) or beside it; a ``.csv`` file
    names both.

    Args:
        inputs: Folders, files and lists.
        out: A folder to leave out.
        keep_names: Call cases of files by their file's name, as `unetr_app.cases.find_cases` does,
            rather than by their content: names stay when content changes, but may be a patient's.

    Raises:
        InvalidRequest: If an input does not exist.
        UnreadableInput: If a list cannot be read.
    """
    lists = [path for path in inputs if is_csv(path)]
    roots = [path for path in inputs if path not in lists]
    objects = _objects(roots, out)
    others = [root for root in roots if os.path.realpath(root) not in objects]
    cases = [case for case in survey(others).cases if not _is_below(case, out)] if others else []
    series = [case for case in cases if case.kind == "dicom-series"]
    pairs, unmatched = pair_dicom(series, list(objects.values()))
    unlabelled = len(series) - len(pairs)
    files = [case for case in cases if case.kind == "file" and case.form not in ("", Format.DICOM)]
    named, without, alone = pair_files(files)
    for path in lists:
        listed, faulty = read_csv_pairs(path)
        named += listed
        without += faulty
    broken = [Unmatched(c.input, c.problem) for c in cases
              if c.kind == "file" and c.problem and c.form in ("", Format.DICOM)]  # fmt: skip
    return FoundPairs(
        _identified([*pairs, *named], keep_names=keep_names),
        (*unmatched, *without, *broken),
        unlabelled + alone,
    )


def _objects(roots: Sequence[str], out: str) -> dict[str, str]:
    """The SEG and RTSTRUCT files, by where they really are."""
    from unetr_app.io.dicom.label_object import label_kind

    found: dict[str, str] = {}
    for file in find_files(roots):
        if out and _is_inside(file.real, out):
            continue
        try:
            if detect(file.path) is Format.DICOM and label_kind(file.path) is not None:
                found[file.real] = file.path
        except UnetrError:  # told of where images are looked for
            continue
    return found


def _is_below(case: Case, out: str) -> bool:
    return bool(out) and _is_inside(os.path.realpath(case.paths[0]), out)


def _is_inside(real: str, folder: str) -> bool:
    return real.startswith(os.path.realpath(folder) + os.sep)


def _identified(pairs: Sequence[Pair], *, keep_names: bool) -> tuple[Pair, ...]:
    """Pairs with unique ids; unless asked for, nothing of a file's name is in them."""
    drafts: list[tuple[Case, str]] = []
    for n, pair in enumerate(pairs):
        kept = keep_names or pair.id != pair.image.id
        name = pair.id if kept or pair.image.kind == "dicom-series" else _by_content(pair)
        drafts.append((replace(pair.image, id=name, input=str(n)), "|".join(pair.paths)))
    named = {
        int(case.input): case.id for case in with_unique_ids(drafts)
    }  # a draft keeps its number as its input
    found = [
        replace(pair, id=named[n], subject=pair.subject or f"case {named[n]}")
        for n, pair in enumerate(pairs)
    ]
    return tuple(sorted(found, key=lambda pair: natural(pair.id)))


def _by_content(pair: Pair) -> str:
    try:
        return f"case-{sha256_of(pair.image.paths[0])[:8]}"
    except OSError:
        return "case"
