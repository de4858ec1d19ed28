"""Retrieval: series of a study from a server into folders, each series whole or not at all.

::

    FOLDER/
    └── <hash of the study>/
        └── <hash of the series>/
            └── <hash of the instance>.dcm

Names hold nothing of the patient, and nothing that the server chose.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unetr_app.errors import RemoteFailure, UnetrError, UnreadableInput, UnwritableOutput
from unetr_app.io.dicom.slice import read_slice
from unetr_app.io.dicom.web.client import Pacs
from unetr_app.io.dicom.web.retries import PassingFailure
from unetr_app.io.dicom.web.rows import RemoteSeries
from unetr_app.io.names import short_hash

IMAGE_MODALITIES = ("CT", "MR", "PT")
_DIGITS = 32
_OURS = re.compile(rf"[0-9a-f]{{{_DIGITS}}}\.dcm")


@dataclass(frozen=True)
class Retrieval:
    """What was retrieved.

    Args:
        folders: One a series that is there whole.
        failed: Series that are not, and why.
    """

    folders: tuple[Path, ...]
    failed: tuple[tuple[RemoteSeries, UnetrError], ...] = ()


def choose_series(
    found: Sequence[RemoteSeries],
    uids: Sequence[str] = (),
    *,
    is_wanted: Callable[[RemoteSeries], bool] | None = None,
) -> list[RemoteSeries]:
    """The series to retrieve: those named, or all of images that may be volumes.

    Args:
        found: All series of the study.
        uids: Series Instance UIDs; whatever the series hold, they are taken.
        is_wanted: Further rule for series that are not named.

    Raises:
        RemoteFailure: If a named series is not there.

    Example:
        >>> [s.uid for s in choose_series([RemoteSeries("1.1", "CT"), RemoteSeries("1.2", "SR")])]
        ['1.1']
    """
    known = {series.uid: series for series in found}
    if missing := [uid for uid in uids if uid not in known]:
        raise RemoteFailure(
            f"the study has {len(found)} series, and {missing[0]} is none of them",
            cure="See which there are: unetr inspect, with address and --study.",
        )
    if uids:
        return [known[uid] for uid in dict.fromkeys(uids)]
    return [
        series
        for series in found
        if series.modality in IMAGE_MODALITIES and (is_wanted is None or is_wanted(series))
    ]


def retrieve(
    pacs: Pacs,
    study: str,
    series: Sequence[RemoteSeries],
    folder: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Retrieval:
    """Retrieve series; instances that an earlier run left in the folder are not asked for again.

    Args:
        pacs: The server.
        study: Study Instance UID.
        series: As `Pacs.find_series` gives them.
        folder: Where to; made where it is missing.
        on_progress: Hears of (instances done, instances in all).

    Returns:
        Folders of the series that are whole, and why others are not.

    Raises:
        PassingFailure: If the server is not there, or is not any more.
        UnwritableOutput: If the folder cannot be written to.
    """
    failed: list[tuple[RemoteSeries, UnetrError]] = []
    listed: dict[RemoteSeries, list[str]] = {}
    for one in series:
        with _recorded(failed, one):
            listed[one] = _list(pacs, study, one)
    of = sum(map(len, listed.values()))
    if of > pacs.limits.instances:
        raise RemoteFailure(
            f"these series have {of} instances, more than the {pacs.limits.instances} that one "
            "run takes", cure="Name fewer series with --series.",
        )  # fmt: skip
    budget = Budget(pacs.limits.run_bytes, of, on_progress or (lambda done, of: None))
    folders: list[Path] = []
    for one, uids in listed.items():
        ended = budget.done + len(uids)
        with _recorded(failed, one):
            folders.append(_retrieve_series(pacs, study, one.uid, uids, folder, budget))
        budget.done = ended  # a series that failed is over too
    return Retrieval(tuple(folders), tuple(failed))


@dataclass
class Budget:
    """What is left to be retrieved, and what has been.

    Args:
        bytes_left: Bytes that may still come.
        of: Instances in all.
        tell: Hears of (instances done, instances in all).
        done: Instances done.
    """

    bytes_left: int
    of: int
    tell: Callable[[int, int], None]
    done: int = 0

    def spend(self, size: int) -> None:
        """One more instance is there.

        Raises:
            RemoteFailure: If it is one too many.
        """
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise RemoteFailure(
                "these series have more bytes than one run takes",
                cure="Name fewer series with --series.",
            )
        self.done += 1
        self.tell(self.done, self.of)


@contextmanager
def _recorded(failed: list[tuple[RemoteSeries, UnetrError]], one: RemoteSeries) -> Generator[None]:
    """A block of code whose failure costs one series, unless it would be that of all others too."""
    try:
        yield
    except (RemoteFailure, UnreadableInput) as error:
        if isinstance(error, PassingFailure) and not error.reached:
            raise
        failed.append((one, error))


def _list(pacs: Pacs, study: str, series: RemoteSeries) -> list[str]:
    uids = pacs.find_instances(study, series.uid)
    if len(uids) < max(series.instances or 0, 1):
        raise RemoteFailure(
            f"the server says that the series has {series.instances or 0} instances, and lists "
            f"{len(uids)}", cure="Wait until the series has arrived there whole, and run again.",
        )  # fmt: skip
    return uids


def _retrieve_series(
    pacs: Pacs, study: str, series: str, uids: Sequence[str], folder: Path, budget: Budget
) -> Path:
    """A series' folder; it has its name only when all is there, and is hidden until then."""
    final = folder / short_hash(study, _DIGITS) / short_hash(series, _DIGITS)
    hidden = final.with_name(f".{final.name}")
    names = {f"{short_hash(uid, _DIGITS)}.dcm": uid for uid in uids}
    _take_up(final, hidden, names)
    for name, uid in names.items():
        path = hidden / name
        if not _is_there(path, (study, series, uid)):
            pacs.fetch(study, series, uid, path, most=budget.bytes_left)
        budget.spend(path.stat().st_size)
    with _writing(final):
        hidden.rename(final)
    return final


def _take_up(final: Path, hidden: Path, names: Collection[str]) -> None:
    """Go on with what an earlier run left, without what the server has no more."""
    with _writing(final):
        if final.is_dir() and not hidden.is_dir():
            final.rename(hidden)
        elif final.is_dir():
            shutil.rmtree(final)
        hidden.mkdir(parents=True, exist_ok=True)
        for path in hidden.iterdir():
            if path.name not in names and (_OURS.fullmatch(path.name) or path.name[0] == "."):
                path.unlink()


def _is_there(path: Path, uids: tuple[str, str, str]) -> bool:
    try:
        found = read_slice(path)
    except UnreadableInput:
        return False
    whole = not found.is_truncated
    return whole and (found.study_uid, found.series_uid, found.sop_uid) == uids


@contextmanager
def _writing(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise UnwritableOutput(
            f"the folder for retrieved files cannot be written to: {error.strerror}",
            cure="Choose another one with --download, or free its disk.", path=folder,
        ) from error  # fmt: skip
