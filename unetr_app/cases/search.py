"""Search: everything there is to segment in files, folders and lists."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from unetr_app.cases.case import Case, Found
from unetr_app.cases.case_list import is_list
from unetr_app.cases.channel_files import join_channels
from unetr_app.cases.choosing import choose
from unetr_app.cases.ids import Draft, natural, with_unique_ids
from unetr_app.cases.images import OnProgress, find_images
from unetr_app.cases.listed import find_listed
from unetr_app.cases.rules import Rules
from unetr_app.io.atomic import PathLike


def find_cases(
    paths: Sequence[PathLike] | PathLike, *, channels: tuple[str, ...] = (),
    rules: Rules | None = None,
) -> list[Case]:  # fmt: skip
    """Find everything to segment in files, folders and lists.

    Args:
        paths: Files and folders, one or many; folders are searched to their depths, links are
            followed, nothing is found twice. A ``.csv`` or ``.json`` file is a list of cases.
        channels: Names of the bundle's input channels, in its order. Where there are several, a
            case has one image for each.
        rules: Which DICOM series to take, and which series is which channel; all where None.

    Returns:
        Cases in the order of their ids; those with a problem included.

    Raises:
        InvalidRequest: If a path does not exist.

    Example:
        >>> import tempfile
        >>> find_cases(tempfile.mkdtemp())
        []
    """
    return list(survey(paths, channels=channels, rules=rules).cases)


def survey(
    paths: Sequence[PathLike] | PathLike, *, channels: tuple[str, ...] = (),
    rules: Rules | None = None, on_progress: OnProgress | None = None,
) -> Found:  # fmt: skip
    """Find everything to segment, and count what is not.

    Args:
        paths: As for `find_cases`.
        channels: As for `find_cases`.
        rules: As for `find_cases`. What a list names is taken without asking them.
        on_progress: Told how many files were looked at, and how many there are.

    Raises:
        InvalidRequest: If a path does not exist, or rules name other channels than the bundle.
    """
    roots = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    lists = [root for root in roots if is_list(root)]
    listed = find_listed(lists, channels)
    images = find_images((root for root in roots if not is_list(root)), on_progress)
    drafts = _not_listed(images.drafts, listed) if listed else images.drafts
    chosen = choose(drafts, rules or Rules(), channels)
    drafts = chosen.drafts
    if len(channels) > 1:
        drafts = join_channels(drafts, channels)
    return Found(
        _in_order([*drafts, *listed]), images.passed_over, _in_order(images.aside),
        chosen.left_out, chosen.notes,
    )  # fmt: skip


def _in_order(drafts: Sequence[Draft]) -> tuple[Case, ...]:
    """Cases with ids of their own, without what only rules may know."""
    cases = sorted(with_unique_ids(drafts), key=lambda case: natural(case.id))
    return tuple(replace(case, facts=None) for case in cases)


def _not_listed(drafts: list[Draft], listed: list[Draft]) -> list[Draft]:
    """What no list names already."""
    known = {os.path.realpath(path) for case, _ in listed for path in case.paths}
    return [
        (case, text)
        for case, text in drafts
        if not known.issuperset(map(os.path.realpath, case.paths))
    ]
