"""The option ``--trust``, shared by all commands that open a bundle."""

from __future__ import annotations

from typing import Annotated

import typer

TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust", help="The bundle's configs are programs: you have looked, let them run."
    ),
]
