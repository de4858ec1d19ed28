"""The ``--version`` option."""

from __future__ import annotations

from typing import Annotated

import typer

from unetr_app.cli.screen import say
from unetr_app.version import __version__


def _show(wanted: bool) -> None:
    if wanted:
        say(f"unetr-app {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_show, is_eager=True, help="Show the version.")
]
