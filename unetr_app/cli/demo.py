"""``unetr demo``: the main job on an image that a Python package ships."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr_app.cli.networks import require_networks
from unetr_app.cli.progress import progress_view
from unetr_app.cli.screen import say, show_table
from unetr_app.cli.stopping import StopRequest
from unetr_app.notice import RESEARCH_NOTICE

EXAMPLES = """Examples:
  unetr demo
  unetr demo -o /tmp/hippocampi
"""


def command(
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="Folder for the results.")
    ] = Path("demo"),
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", metavar="DEVICE")
    ] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the results only.")] = False,
) -> None:
    """Segment both hippocampi of the MNI152 head, an average of 152 people."""
    from unetr_app.demo import run_demo

    require_networks()
    with StopRequest() as stop, progress_view(quiet=quiet) as view:
        sides = run_demo(out, device=device, progress=view, should_stop=lambda: stop.is_made)
    names = list(sides[0].label_ml)
    columns = ("Hippocampus", *(f">{name} ml" for name in names), ">All ml")
    rows = [
        (side.side, *(f"{side.label_ml[name]:.2f}" for name in names), f"{side.volume_ml:.2f}")
        for side in sides
    ]
    show_table(columns, rows)
    for side in sides:
        say(f"Picture of the {side.side} side: {side.picture}")
    say(RESEARCH_NOTICE)
