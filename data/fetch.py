"""Fetch a public data set, check it, and deal its cases to folds.

    python data/fetch.py Task04_Hippocampus
    python data/fetch.py Task04_Hippocampus --from DIR    # a folder or archive at hand

Addresses and checksums are those of MONAI's ``DecathlonDataset``. See data/README.md for licences.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)  # fmt: skip

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.download import check_md5, download
from data.msd import MsdDataset, deal_folds, open_msd, verify
from data.unpack import unpack
from unetr_app.errors import InvalidRequest, UnetrError, UnreadableInput, UnwritableOutput

Sources = dict[str, tuple[str, str]]  # name of the set -> address, md5


def decathlon_sources() -> Sources:
    """Address and md5 of every Decathlon archive, from the installed MONAI."""
    from monai.apps.datasets import DecathlonDataset

    return {name: (url, DecathlonDataset.md5[name]) for name, url in
            DecathlonDataset.resource.items()}  # fmt: skip


def fetch(
    name: str,
    folder: Path,
    *,
    at_hand: Path | None = None,
    sources: Sources | None = None,
    console: Console | None = None,
) -> MsdDataset:
    """Bring a data set to ``folder/name``, verified, with folds.

    Args:
        name: Such as ``"Task04_Hippocampus"``.
        folder: Where data sets are kept; the archive stays there as ``name.tar`` until unpacked.
        at_hand: The data set's folder, or its archive; nothing is fetched then.
        sources: Address and md5 a name; MONAI's table where absent.
        console: Where progress is shown; nowhere where absent.

    Returns:
        The data set.

    Raises:
        InvalidRequest: If the name is unknown or no plain name.
        UnreadableInput: If the archive or a file in it is damaged, or cannot be had.
    """
    if not name or Path(name).name != name:
        raise InvalidRequest(f"{name!r} is no name of a data set")
    if at_hand is not None and not at_hand.exists():
        raise UnreadableInput("there is no such file or folder", path=at_hand)
    home = folder / name
    if at_hand is not None and at_hand.is_dir():
        if at_hand.resolve() != home.resolve():
            _report_faults(_verified(at_hand, console))
            _copy(at_hand, home)
    elif not home.exists():
        _unpack_archive(name, folder, at_hand, sources or decathlon_sources(), console)
    dataset = _report_faults(_verified(home, console))
    deal_folds(dataset)
    return open_msd(home)


def _unpack_archive(
    name: str, folder: Path, at_hand: Path | None, sources: Sources, console: Console | None
) -> None:
    if name not in sources:
        raise InvalidRequest(
            f"there is no data set {name!r}", cure=f"There are {', '.join(sorted(sources))}."
        )
    url, md5 = sources[name]
    if at_hand is None:
        archive = folder / f"{name}.tar"
        with _bar(console, "fetching", bytes_=True) as progress:
            download(url, archive, md5=md5, progress=progress)
    else:
        archive = check_md5(at_hand, md5, remove=False)
    made = unpack(archive, folder)
    if [entry.name for entry in made] != [name]:
        raise UnreadableInput(
            f"the archive holds {', '.join(e.name for e in made)}, not {name}", path=archive
        )
    if at_hand is None:
        archive.unlink()


def _copy(source: Path, home: Path) -> None:
    if home.exists():
        raise UnwritableOutput("it is there already", cure="Move it away first.", path=home)
    unfinished = home.with_name(f".{home.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished)
    unfinished.rename(home)


def _verified(folder: Path, console: Console | None) -> tuple[MsdDataset, list[UnetrError]]:
    dataset = open_msd(folder)
    with _bar(console, "checking", bytes_=False) as progress:
        return dataset, verify(dataset, progress=progress)


def _report_faults(checked: tuple[MsdDataset, list[UnetrError]]) -> MsdDataset:
    dataset, faults = checked
    if faults:
        few = "; ".join(fault.cause for fault in faults[:5])
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise UnreadableInput(
            f"{len(faults)} of {len(dataset.training)} cases are unsound: {few}{more}",
            cure="Move the folder away and fetch it anew.",
            path=dataset.folder,
        )
    return dataset


@contextmanager
def _bar(
    console: Console | None, what: str, *, bytes_: bool
) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar as a callback (done, total)."""
    if console is None:
        yield None
        return
    columns = (DownloadColumn(), TransferSpeedColumn()) if bytes_ else (MofNCompleteColumn(),)
    with Progress(TextColumn(what), BarColumn(), *columns, TimeRemainingColumn(),
                  console=console) as bar:  # fmt: skip
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(description="Fetch a public data set, check it, deal folds.")
    parser.add_argument("name", nargs="?", default="Task04_Hippocampus")
    parser.add_argument(
        "--to", type=Path, default=Path(__file__).parent / "sets", help="where data sets are kept"
    )
    parser.add_argument(
        "--from", dest="at_hand", type=Path, help="folder or archive at hand; fetch nothing"
    )
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        dataset = fetch(options.name, options.to, at_hand=options.at_hand, console=console)
    except UnetrError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; the same command goes on where this one was.")
        return 130
    folds = len({row["fold"] for row in dataset.training})
    sys.stdout.write(f"{len(dataset.training)} cases, {folds} folds: {dataset.folder}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
