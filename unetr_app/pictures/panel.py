"""Panel: one plane of a picture, with contours, letters and a bar of millimetres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from unetr_app.labels import Colour
from unetr_app.pictures.canvas import BLACK, FONT, WHITE, WIDTH, height_of, rgb
from unetr_app.planes import View

_TOO_LOW, _TOO_NARROW = 70, 130  # panel sides, px
_FINEST = 700  # pixels a side that contours are computed on


def draw_panel(
    figure: Figure,
    view: View,
    box: tuple[float, float, float, float],
    *,
    window: tuple[float, float],
    colours: Mapping[int, Colour],
) -> None:
    """One plane in a box of (left, top, width, height) px; axes in mm, so nothing is stretched."""
    left, top, width, height = box
    tall = height_of(figure)
    axes = figure.add_axes((left / WIDTH, 1 - (top + height) / tall, width / WIDTH, height / tall))
    axes.set_axis_off()
    across, down = view.size_mm
    axes.add_patch(Rectangle((0, 0), across, down, facecolor="#1c1c1c", zorder=-1))
    if view.image is not None:
        axes.imshow(view.image, cmap="gray", vmin=window[0], vmax=window[1], aspect="auto",
                    extent=(0, across, down, 0), interpolation="bilinear")  # fmt: skip
    styles: list[dict[str, Any]] = [{"linewidths": 1.6}]
    if len(view.masks) == 2:
        styles = [{"linewidths": 1.8}, {"linewidths": 1.3, "linestyles": "--", "colors": WHITE}]
    for masks, style in zip(view.masks, styles, strict=True):
        for value, mask in masks.items():
            colour = rgb(colours[value])
            if view.image is None and masks is view.masks[-1]:
                _fill(axes, mask, view.size_mm, colour)
            _contour(axes, mask, view.size_mm, {"colors": [colour], **style})
    axes.set_xlim(0, across)
    axes.set_ylim(down, 0)
    _letters(axes, view.plane.letters, height)
    _scale_bar(axes, view.size_mm, width, height)


def _contour(
    axes: Any, mask: NDArray[np.bool_], size_mm: tuple[float, float], style: dict[str, Any]
) -> None:
    """The outline of a mask, closed at the picture's edge too; only its surroundings are traced."""
    step = max(1, -(-max(mask.shape) // _FINEST))
    thin = mask[::step, ::step]
    rows, columns = (np.flatnonzero(thin.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    padded = np.pad(thin[box], 1).astype(np.float32)
    y, x = (
        (first + np.arange(-1, length - 1) + 0.5) * (mm / whole)
        for first, length, mm, whole in zip(
            (rows[0], columns[0]), padded.shape, size_mm[::-1], thin.shape, strict=True
        )
    )
    lines = axes.contour(x, y, padded, levels=[0.5], **style)
    lines.set_path_effects(
        [withStroke(linewidth=style["linewidths"] + 1.2, foreground="#00000090")]
    )


def _fill(axes: Any, mask: NDArray[np.bool_], size_mm: tuple[float, float], colour: Any) -> None:
    tinted = np.zeros((*mask.shape, 4), dtype=np.float32)
    tinted[mask] = (*colour, 0.45)
    axes.imshow(tinted, aspect="auto", extent=(0, size_mm[0], size_mm[1], 0),
                interpolation="nearest")  # fmt: skip


def _letters(axes: Any, letters: str, height: float) -> None:
    """Letters at the edges; above and below a panel that is too low to hold them."""
    above, below = (1.02, "bottom"), (-0.02, "top")
    if height >= _TOO_LOW:
        above, below = (0.985, "top"), (0.015, "bottom")
    places = ((0.015, 0.5, "left", "center"), (0.985, 0.5, "right", "center"),
              (0.5, above[0], "center", above[1]), (0.5, below[0], "center", below[1]))  # fmt: skip
    for letter, (x, y, ha, va) in zip(letters, places, strict=True):
        text = axes.text(x, y, letter, ha=ha, va=va, transform=axes.transAxes, color=WHITE,
                         fontsize=11, fontweight="bold", family=FONT, usetex=False)  # fmt: skip
        text.set_path_effects([withStroke(linewidth=2.5, foreground=BLACK)])


def _scale_bar(axes: Any, size_mm: tuple[float, float], width: float, height: float) -> None:
    """A bar of a round number of mm, at most a quarter of the panel wide, in the lower left."""
    if width < _TOO_NARROW or height < _TOO_LOW:
        return
    wanted = size_mm[0] / 4
    power = 10.0 ** np.floor(np.log10(wanted))
    length = float(max(m * power for m in (1, 2, 5) if m * power <= wanted))
    x, y = 8 / width * size_mm[0], (1 - 12 / height) * size_mm[1]
    axes.plot([x, x + length], [y, y], color=WHITE, linewidth=2, solid_capstyle="butt",
              path_effects=[withStroke(linewidth=4, foreground=BLACK)])  # fmt: skip
    text = axes.text(x, (1 - 16 / height) * size_mm[1], f"{length:g} mm", color=WHITE, fontsize=8,
                     va="bottom", family=FONT, usetex=False)  # fmt: skip
    text.set_path_effects([withStroke(linewidth=2, foreground=BLACK)])
