"""``unetr finetune``: a bundle's weights trained on for a short while on one's own cases."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr_app.cli.exit_codes import ALL_DONE, SOME_FAILED
from unetr_app.cli.networks import require_networks
from unetr_app.cli.screen import counted, note, say, show_table
from unetr_app.cli.stopping import StopRequest
from unetr_app.cli.trusting import TrustOption
from unetr_app.errors import InvalidRequest

if TYPE_CHECKING:
    from unetr_app.finetuning import Finetuned, FinetuneProgress

EXAMPLES = """Examples:
  unetr finetune liver_set -b BUNDLE -o liver_bundle
  unetr finetune set -b hippocampus_mr_unetr_segmentation -o mine --epochs 20 \\
      --rename "Anterior=Anterior hippocampus,Posterior=Posterior hippocampus"
  unetr segment scans/ -o results -b mine

DATASET is a folder with dataset.json, as unetr dataset makes it, or the export of reviewed cases.
Cases are held out (fold 0, or a fifth of the subjects), never trained on, and segmented before and
after. The bundle that you start from never changes. Stopped, the same command goes on.

Exit codes: 0 done, 2 usage, 3 trained but no better on the held-out cases: do not use it,
4 failed, 130 stopped.
"""


def command(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Folder with dataset.json.")],
    bundle: Annotated[
        str, typer.Option("-b", "--bundle", metavar="NAME|DIR", help="To start from.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="NEW_BUNDLE", help="Folder of the new bundle.")
    ],
    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", help="Passes over the cases.", min=1)
    ] = 10,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="RATE", help="At its highest.")
    ] = 1e-4,
    fold: Annotated[
        int,
        typer.Option(
            "--fold", metavar="N", help="The fold to hold out.",
            show_default="0, or a fifth of the subjects", min=-1,
        ),
    ] = -1,
    rename: Annotated[
        str,
        typer.Option(
            "--rename", metavar="OLD=NEW", help="Labels as the bundle has them: Leber=liver."
        ),
    ] = "",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of all chance.", min=0)] = 0,
    device: Annotated[
        str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")
    ] = "auto",
    trust_it: TrustOption = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")] = False,
) -> None:  # fmt: skip
    """Train a bundle on your own cases for a short while, as a new bundle.

    Says how well both do on cases that were held out.
    """
    from unetr_app.bundle import read_card
    from unetr_app.bundle.trust import trust
    from unetr_app.finetuning import FinetuneOptions, finetune

    if not str(out) or str(out) == ".":
        raise InvalidRequest("no folder for the new bundle is named", cure="Add -o NEW_BUNDLE.")
    require_networks()
    card = read_card(bundle)
    if trust_it:
        trust(card.path)
    options = FinetuneOptions(
        epochs, learning_rate, None if fold < 0 else fold, rename, seed, device
    )
    with StopRequest() as stop:
        with _progress(quiet=quiet) as progress:
            result = finetune(
                dataset, card.path, out, options,
                progress=progress, should_stop=lambda: stop.is_made,
            )  # fmt: skip
        _show(result, out)
    raise typer.Exit(SOME_FAILED if result.verdict == "worse" else ALL_DONE)


def _show(result: Finetuned, out: Path) -> None:
    show_table(
        ("Label", ">Dice before", ">Dice after", ">Gain", ">Held-out cases"),
        [
            (
                score.name, _figure(score.before), _figure(score.after),
                "-" if score.before is None or score.after is None
                else f"{score.after - score.before:+.3f}",
                str(score.cases),
            )
            for score in (*result.labels, result.together)
        ],
    )  # fmt: skip
    if result.interval is not None:
        low, high = result.interval
        say(f"95 % interval of the gain: {low:+.3f} to {high:+.3f}.")
    for words in result.warnings:
        note(f"Warning: {words}")
    memory = f", {result.peak_bytes / 2**30:.1f} GiB" if result.peak_bytes else ""
    say(f"Trained on {counted(result.trained, 'case')} in {result.seconds:.0f} s{memory}.")
    say(result.advice)
    use = "" if result.verdict == "worse" else f"; use it with unetr segment -b {out}"
    say(f"Written: {out}{use}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


_WORDS = {
    "checking": "reading cases",
    "before": "held-out cases before",
    "training": "training",
    "after": "held-out cases after",
}


@contextmanager
def _progress(*, quiet: bool) -> Generator[Callable[[FinetuneProgress], None] | None]:
    """A bar on a terminal; else a line as a stage begins and as an epoch ends."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield None
    elif not console.is_terminal:
        yield _Lines()
    else:
        from rich.progress import Progress as Bar

        with Bar(console=console, transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda p: bar.update(
                task, completed=p.done, total=p.of, description=_described(p)
            )


def _described(progress: FinetuneProgress) -> str:
    words = _WORDS[progress.stage]
    if progress.epochs:
        words += f", epoch {min(progress.epoch + 1, progress.epochs)} of {progress.epochs}"
    if progress.loss is not None:
        words += f", loss {progress.loss:.3f}"
    return words


class _Lines:
    """Progress where there is no terminal."""

    def __init__(self) -> None:
        self._told: tuple[str, int] = ("", 0)

    def __call__(self, progress: FinetuneProgress) -> None:
        if (progress.stage, progress.epoch) == self._told:
            return
        if not progress.epochs and progress.stage == self._told[0]:
            return
        self._told = (progress.stage, progress.epoch)
        left = progress.seconds_left
        if not progress.epochs:
            note(f"{_WORDS[progress.stage]}: {counted(progress.of, 'case')}")
        elif progress.epoch:
            loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
            rest = "" if left is None else f", about {left:.0f} s left"
            note(f"epoch {progress.epoch} of {progress.epochs}{loss}{rest}")
        else:
            note(f"training: {counted(progress.epochs, 'epoch')}, {progress.of} steps in all")
