"""Canvas: a picture measured in pixels from its upper left corner, and how it becomes a PNG."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from unetr_app.labels import Colour

DPI = 100
WIDTH = 1200  # px
BLACK, WHITE, GREY = "#000000", "#ffffff", "#b8b8b8"
FONT = "DejaVu Sans"  # ships with matplotlib


def blank(height: int) -> Figure:
    """A black canvas of `WIDTH` by ``height`` px."""
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor=BLACK)
    FigureCanvasAgg(figure)
    return figure


def height_of(figure: Figure) -> float:
    """Height in px."""
    return figure.get_figheight() * DPI


def write(figure: Figure, x: float, y: float, words: str, **style: Any) -> None:
    """Put words at (x, y) px from the upper left corner, vertically centred."""
    figure.text(x / WIDTH, 1 - y / height_of(figure), words, parse_math=False, usetex=False,
                va="center", **{"color": WHITE, "family": FONT, **style})  # fmt: skip


def rgb(colour: Colour) -> tuple[float, float, float]:
    """A label's colour as matplotlib takes it, 0 to 1."""
    red, green, blue = (c / 255 for c in colour)
    return red, green, blue


def png(figure: Figure) -> bytes:
    """The canvas as PNG, without any text chunk."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor=figure.get_facecolor(),
                   metadata={"Software": None})  # fmt: skip
    return buffer.getvalue()
