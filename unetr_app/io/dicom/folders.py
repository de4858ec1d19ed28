"""Folders: where the files of a series lie, and whether folders contradict each other.

A series may be spread over folders, as on old discs. Or folders hold several versions of it under
one UID: then each is a series of its own.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence

from unetr_app.io.dicom.likeness import PARALLEL, clusters, cosine, differences, share_a_place
from unetr_app.io.dicom.slice import Slice

_MOST_GRIDS = 64  # of a folder; with more it is no version of a series


def folder_of(slice_: Slice) -> str:
    """The folder of a file, links followed; the same in every run for members of archives too."""
    return os.path.dirname(os.path.realpath(slice_.where))


def common_folder(slices: Sequence[Slice]) -> str:
    """The deepest folder above all."""
    return os.path.commonpath([folder_of(s) for s in slices])


def sets_of_folders(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices of folders that may be one series; folders that contradict each other stay apart.

    Args:
        slices: Without copies; in order of their paths.

    Returns:
        One set where no folder contradicts another.
    """
    folders: defaultdict[str, list[Slice]] = defaultdict(list)
    for slice_ in slices:
        folders[folder_of(slice_)].append(slice_)
    sets: list[list[Slice]] = []
    grids: list[list[list[Slice]]] = []
    for name in sorted(folders):
        here = clusters(folders[name])
        if len(here) > _MOST_GRIDS:
            return [list(slices)]
        home = next((n for n, there in enumerate(grids) if not _contradict(there, here)), None)
        if home is None:
            sets.append(list(folders[name]))
            grids.append(here)
        else:
            sets[home] += folders[name]
            grids[home] = clusters(sets[home])
    return sets


def _contradict(one: Sequence[Sequence[Slice]], other: Sequence[Sequence[Slice]]) -> bool:
    """Do two folders hold other pixels at the same places, or grids that cannot be one?"""
    return any(
        differences(mine[0], theirs[0]) or share_a_place(mine, theirs)
        for mine in one
        for theirs in other
        if cosine(mine, theirs) > PARALLEL
    )
