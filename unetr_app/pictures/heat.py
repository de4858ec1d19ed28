"""Heat: a distribution over a volume, seen along its three axes, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from unetr_app.errors import UnsafeGeometry
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.pictures.canvas import BLACK, GREY, WHITE, WIDTH, blank, height_of, png, write
from unetr_app.pictures.panel import draw_panel
from unetr_app.planes import CODES, View, intensity_window, views_at
from unetr_app.volume import Volume, reoriented_array

_MARGIN, _LINE = 12, 22  # px
_HIGHEST = 185  # panels, px
_COLUMNS = 2
_COLOURS = "inferno"
_DECADES = 3  # of a logarithmic scale
_COVER = 0.7  # opacity of the largest value over an image


@dataclass(frozen=True, eq=False)
class Heat:
    """One entry of a picture: a distribution, with what it lies over.

    Args:
        title: Written above its three panels.
        volume: First channel, none of it negative.
        mark: Index of a voxel to mark with a cross; None for none.
        under: Image below, on the same grid, cut through the marked voxel or the middle; None
            where there is none.
    """

    title: str
    volume: Volume
    mark: tuple[float, float, float] | None = None
    under: Volume | None = None

    def __post_init__(self) -> None:
        if self.under is not None and not self.under.geometry.is_close(self.volume.geometry):
            raise UnsafeGeometry("heat and the image below it lie on different grids")

    @property
    def cut(self) -> tuple[int, int, int]:
        """Index that planes of the image below go through."""
        shape = self.volume.geometry.shape
        at = self.mark or tuple(n // 2 for n in shape)
        i, j, k = (min(max(round(a), 0), n - 1) for a, n in zip(at, shape, strict=True))
        return i, j, k


def heat_picture(
    heats: Sequence[Heat], said: str, *, logarithmic: bool = False, notice: str = RESEARCH_NOTICE
) -> bytes:
    """PNG bytes of distributions, each seen from the feet, from the front and from the left.

    Values are summed along the line of sight, so that none is hidden, and coloured relative to the
    largest of each panel.

    Args:
        heats: In reading order.
        said: A line below: what the heat is.
        logarithmic: Are colours spread over three powers of ten, rather than evenly?
        notice: A line at the foot.
    """
    columns = min(len(heats), _COLUMNS)
    column = (WIDTH - (columns + 1) * _MARGIN) / columns
    drawn = [(heat, views_at(heat.under or heat.volume, heat.cut)) for heat in heats]
    scale = min(_scale(shown, column) for _, shown in drawn)
    tall = scale * max(view.size_mm[1] for _, shown in drawn for view in shown)
    lines = -(-len(heats) // columns)
    figure = blank(round(lines * (_LINE + tall + _MARGIN) + 3 * _LINE))
    for n, (heat, shown) in enumerate(drawn):
        top = n // columns * (_LINE + tall + _MARGIN)
        left = _MARGIN + n % columns * (column + _MARGIN)
        write(figure, left, top + _LINE / 2, heat.title, size=10)
        for view in shown:
            width, height = (mm * scale for mm in view.size_mm)
            box = (left, top + _LINE + (tall - height) / 2, width, height)
            _draw(figure, heat, view, box, logarithmic=logarithmic)
            left += width + _MARGIN
    _draw_foot(figure, said, logarithmic=logarithmic)
    write(figure, _MARGIN, height_of(figure) - _LINE / 2, notice, size=8.5, weight="bold")
    return png(figure)


def _scale(shown: Sequence[View], column: float) -> float:
    """Pixels a mm with which three panels fit side by side."""
    across = sum(view.size_mm[0] for view in shown)
    highest = max(view.size_mm[1] for view in shown)
    return min((column - 2 * _MARGIN) / across, _HIGHEST / highest)


def _draw(
    figure: Figure, heat: Heat, view: View, box: tuple[float, float, float, float], *,
    logarithmic: bool,
) -> None:  # fmt: skip
    """One panel: the image below, the heat over it, the cross."""
    draw_panel(figure, View(view.plane, None, ({},), view.size_mm, "", False), box,
               window=(0.0, 1.0), colours={})  # fmt: skip
    axes = figure.axes[-1]
    axes.imshow(
        _coloured(heat, view, logarithmic=logarithmic), aspect="auto", interpolation="nearest",
        extent=(0, view.size_mm[0], view.size_mm[1], 0), zorder=0.5,
    )  # fmt: skip
    if heat.mark is not None:
        _draw_cross(axes, heat, view, heat.mark)


def _coloured(heat: Heat, view: View, *, logarithmic: bool) -> NDArray[np.float64]:
    """(rows, columns, 3) colours of one panel."""
    values = reoriented_array(heat.volume.data[0], heat.volume.geometry, CODES)
    along = values.sum(axis=view.plane.axis, dtype=np.float64).T
    shares = along / (along.max() or 1.0)
    if logarithmic:
        shares = np.clip(1 + np.log10(np.maximum(shares, 1e-12)) / _DECADES, 0.0, 1.0)
    colours = np.asarray(colormaps[_COLOURS](shares))[..., :3]
    if heat.under is None or view.image is None:
        return colours
    low, high = intensity_window(heat.under)
    grey = np.clip((view.image - low) / (high - low), 0.0, 1.0)[..., None]
    cover = _COVER * np.sqrt(shares)[..., None]
    return (1 - cover) * grey + cover * colours


def _draw_cross(axes: Any, heat: Heat, view: View, mark: tuple[float, float, float]) -> None:
    """A cross where the marked voxel lies, seen through all that is before it."""
    shown = heat.volume.geometry.reoriented(CODES)
    index = shown.world_to_index(heat.volume.geometry.index_to_world(mark))
    down, across = (n for n in (2, 1, 0) if n != view.plane.axis)
    axes.plot(
        (index[across] + 0.5) * shown.spacing[across], (index[down] + 0.5) * shown.spacing[down],
        "+", color=WHITE, markersize=9, markeredgewidth=1.4,
        path_effects=[withStroke(linewidth=3, foreground=BLACK)],
    )  # fmt: skip


def _draw_foot(figure: Figure, said: str, *, logarithmic: bool) -> None:
    """What the heat is, and a bar of its colours."""
    tall = height_of(figure)
    line = tall - _LINE * 2.5
    write(figure, _MARGIN, line, f"{said}, summed along the line of sight.", size=8.5, color=GREY)
    least = f"1/{10**_DECADES}" if logarithmic else "0"
    write(figure, _MARGIN, line + _LINE, least, size=8.5, color=GREY)
    low = 1 - (line + _LINE + 5) / tall
    bar = figure.add_axes(((_MARGIN + 46) / WIDTH, low, 180 / WIDTH, 10 / tall))
    bar.imshow(np.linspace(0, 1, 256)[None], cmap=_COLOURS, aspect="auto")
    bar.set_axis_off()
    write(figure, _MARGIN + 236, line + _LINE, "largest of each panel", size=8.5, color=GREY)
