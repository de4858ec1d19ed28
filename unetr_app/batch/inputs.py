"""The inputs of a batch: what is found, without the batch's own results."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from unetr_app.batch.fingerprint import content_hash
from unetr_app.batch.folder import OutputFolder
from unetr_app.cases import Case, Found, Rules, survey


def find_inputs(
    paths: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str],
    channels: tuple[str, ...] = (),
    rules: Rules | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Find the cases in files and folders; results in ``out`` are never among them.

    `survey` knows results by the manifest. A process that was killed may have left results which
    the manifest does not name yet; they are known by the claim that the process left too.

    Args:
        paths: Files, folders and lists; ``out`` may lie in one of them, or be one.
        out: The output folder, which need not exist.
        channels: Names of the bundle's input channels, in its order.
        rules: Which DICOM series to take, and which series is which channel; all where None.
        on_progress: Told how many files were looked at, and how many there are.

    Raises:
        InvalidRequest: If a path does not exist.
    """
    found = survey(paths, channels=channels, rules=rules, on_progress=on_progress)
    folder = OutputFolder(out)
    unfinished = [folder.root / case_id for case_id in folder.stale_claims()]
    if not unfinished:
        return found
    cases = tuple(
        case
        for case in found.cases
        if not any(folder.is_result_of(Path(path), unfinished) for path in case.paths)
    )
    return replace(found, cases=cases)


def input_hash(case: Case) -> str:
    """One hash for the content of a case; another one where its channels change places.

    Args:
        case: Of one image or several channels.

    Raises:
        UnreadableInput: If a file cannot be read.
    """
    if len(set(case.parts)) < 2:
        return content_hash(case.paths)
    hashes = [content_hash(part) for part in case.parts]
    words = [*hashes, "resampled"] if case.resample else hashes
    return hashlib.sha256(" ".join(words).encode()).hexdigest()
