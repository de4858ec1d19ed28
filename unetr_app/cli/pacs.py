"""A DICOMweb address as the input of a command: its options, the way in and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE, SOME_FAILED
from unetr_app.cli.progress import count_bar
from unetr_app.cli.screen import note, say, show_table
from unetr_app.errors import InvalidRequest
from unetr_app.outputs import DICOM_FORMATS, FORMATS

if TYPE_CHECKING:
    from unetr_app.batch.outcome import BatchResult
    from unetr_app.cases import Found
    from unetr_app.io.dicom.web.client import Pacs
    from unetr_app.io.dicom.web.rows import RemoteSeries

_COLUMNS = ("Case", "Modality", ">Instances", "Series UID", "Taken")

StudyOption = Annotated[
    str,
    typer.Option(
        "--study", metavar="UID", show_default=False,
        help="The study to take from a dicomweb:// address (Study Instance UID).",
    ),
]  # fmt: skip
SeriesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--series", metavar="UID", show_default="all of CT, MR and PET",
        help="Take this series of the study only. May come several times.",
    ),
]  # fmt: skip
DownloadOption = Annotated[
    str,
    typer.Option(
        "--download", metavar="DIR", show_default=False,
        help="Keep what is retrieved here; a later run goes on with it.",
    ),
]  # fmt: skip
PlainHttpOption = Annotated[
    bool,
    typer.Option(
        "--plain-http", help="Let dicomweb+http:// send images over a network unencrypted."
    ),
]
StoreOption = Annotated[
    bool,
    typer.Option(
        "--store/--no-store", help="Store DICOM results in the study that they were made from."
    ),
]


@dataclass(frozen=True)
class Asked:
    """What the options say about a server.

    Args:
        study: Study Instance UID; empty where none is named.
        series: Series that are named.
        download: Where to keep what is retrieved; empty to keep nothing.
        plain_http: Whether connections to other machines may be unencrypted.
    """

    study: str = ""
    series: tuple[str, ...] = ()
    download: str = ""
    plain_http: bool = False


@dataclass
class Remote:
    """A study on a server, as a command's only input.

    Args:
        pacs: The server.
        asked: With a study.
        failed: Series that could not be retrieved.
    """

    pacs: Pacs
    asked: Asked
    failed: int = 0

    def retrieve(self, place: Path, *, quiet: bool) -> list[str]:
        """Bring the wanted series into folders, one each."""
        from unetr_app.io.dicom.web.retrieval import choose_series, retrieve

        study = self.asked.study
        found = self.pacs.find_series(study)
        chosen = choose_series(found, self.asked.series)
        if not quiet:
            _tell_choice(found, chosen)
        with count_bar("retrieving", quiet=quiet) as tell:
            got = retrieve(self.pacs, study, chosen, place, on_progress=tell)
        for series, error in got.failed:
            note(f"Failed: {series.name}: not retrieved: {error}")
        self.failed = len(got.failed)
        return [str(folder) for folder in got.folders]

    def named(self, found: Found) -> Found:
        """Cases under an address, where their files are not kept: the same in each run."""
        if self.asked.download:
            return found
        cases = tuple(
            replace(case, input=f"{self.pacs.address}#{Path(case.paths[0]).parent.name}")
            for case in found.cases
        )
        return replace(found, cases=cases)

    def store(self, out: str, result: BatchResult | None, *, quiet: bool) -> bool:
        """Store the DICOM results of all cases that are done; is everything there now?"""
        from unetr_app.io.dicom.web.storage import store

        done = (*result.done, *result.skipped) if result else ()
        paths = [
            path
            for outcome in done
            for path in (Path(out) / outcome.case_id / FORMATS[name] for name in DICOM_FORMATS)
            if path.is_file() and not path.is_symlink()
        ]
        if done and not paths and not quiet:
            note("Nothing was stored: the results hold no DICOM files.")
        ended = store(self.pacs, self.asked.study, paths)
        for one in ended:
            name = f"{one.path.parent.name}/{one.path.name}"
            if one.error is not None:
                note(f"Not stored: {name}: {one.error}")
            elif not quiet:
                say(f"Stored: {name}")
        return all(one.error is None for one in ended)

    def exit_code(self, code: int, *, stored: bool = True) -> int:
        """What the command means to the shell, the ways in and back counted."""
        return SOME_FAILED if code == ALL_DONE and (self.failed or not stored) else code

    def show(self, *, as_json: bool = False) -> int:
        """Print the study's series; nothing is retrieved."""
        from unetr_app.io.dicom.web.retrieval import choose_series

        found = self.pacs.find_series(self.asked.study)
        chosen = {series.uid for series in choose_series(found, self.asked.series)}
        if as_json:
            say(json.dumps([_as_dict(s, taken=s.uid in chosen) for s in found]))
        else:
            rows = [_row(s, taken=s.uid in chosen) for s in found]
            show_table(("Case", "Modality", ">Instances", "Series UID", "Taken"), rows)
            say(f"{len(found)} series, of which {len(chosen)} would be retrieved.")
        return ALL_DONE if chosen else NONE_DONE


@contextmanager
def remote_input(inputs: Sequence[str], asked: Asked) -> Generator[Remote | None]:
    """The study that the inputs name; None where they are files and folders.

    Raises:
        InvalidRequest: If address and options do not fit together.
    """
    from unetr_app.io.dicom.web.address import Address, is_address

    addresses = [text for text in inputs if is_address(text)]
    if not addresses:
        if asked != Asked():
            raise InvalidRequest(
                "--study, --series, --download and --plain-http are about a DICOMweb server",
                cure="Name it as the input, such as dicomweb://pacs.example.org/dicom-web.",
            )
        yield None
        return
    from unetr_app.io.dicom.web.client import Pacs
    from unetr_app.io.dicom.web.uids import require_uid

    address = Address.parse(addresses[0], plain_http=asked.plain_http)
    if len(inputs) > 1:
        raise InvalidRequest(
            "a DICOMweb address stands beside other inputs", cure="Give it alone; run twice."
        )
    if not asked.study:
        raise InvalidRequest("no study is named", cure="Add --study with its Study Instance UID.")
    require_uid(asked.study, "--study")
    for uid in asked.series:
        require_uid(uid, "--series")
    with Pacs(address) as pacs:
        yield Remote(pacs, asked)


@contextmanager
def local_input(
    inputs: Sequence[str],
    remote: Remote | None,
    *,
    quiet: bool,
    at_once: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Generator[Sequence[str]]:
    """The inputs as files and folders on this machine, for as long as the block lasts.

    Args:
        inputs: As they were given.
        remote: What they name on a server.
        quiet: Tell nothing but failures.
        at_once: Makes a block that a signal may break off, for the time of the retrieval.
    """
    if remote is None:
        yield inputs
        return
    from unetr_app.batch.short_stay import short_stay

    with ExitStack() as stack:
        with at_once():
            place = remote.asked.download or stack.enter_context(short_stay())
            folders = remote.retrieve(Path(place), quiet=quiet)
        yield folders


def _tell_choice(found: Sequence[RemoteSeries], chosen: Sequence[RemoteSeries]) -> None:
    left = sorted({s.modality or "unknown" for s in found if s not in chosen})
    note(f"{len(chosen)} of {len(found)} series of the study are retrieved"
         + (f"; left out: {', '.join(left)}" if left else ""))  # fmt: skip


def _row(series: RemoteSeries, *, taken: bool) -> tuple[str, ...]:
    instances = "-" if series.instances is None else str(series.instances)
    return (series.name, series.modality or "-", instances, series.uid,
            "yes" if taken else "no")  # fmt: skip


def _as_dict(series: RemoteSeries, *, taken: bool) -> dict[str, object]:
    return {
        "case_id": series.name,
        "kind": "remote",
        "modality": series.modality,
        "series_uid": series.uid,
        "instances": series.instances,
        "taken": taken,
        "shape": None, "spacing": None, "affine": None, "files": [], "problems": [],
    }  # fmt: skip
