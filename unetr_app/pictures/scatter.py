"""Scatter: points in the plane, coloured by what they are, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unetr_app.labels import Label
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.pictures.canvas import GREY, WIDTH, blank, height_of, png, rgb, write
from unetr_app.pictures.legend import Entry, draw_legend, kept_entries, legend_height

_MARGIN, _LINE = 12, 22  # px
_HIGHEST = 460  # px
_AIR = 0.05  # of a panel's side, round its points


@dataclass(frozen=True, eq=False)
class Cloud:
    """One panel of points.

    Args:
        title: Written above it.
        points: (points, 2), finite.
        values: (points,) each the value of a label.
    """

    title: str
    points: NDArray[np.floating[Any]]
    values: NDArray[np.integer[Any]]


def scatter_picture(
    clouds: Sequence[Cloud], labels: Sequence[Label], said: str, *, notice: str = RESEARCH_NOTICE
) -> bytes:
    """PNG bytes of clouds side by side, with one legend.

    Rare labels are drawn over frequent ones. The axes have no scale, for t-SNE gives them none.

    Args:
        clouds: From the left, at most four fit well.
        labels: Names and colours of all values.
        said: A line below: what the points are.
        notice: A line at the foot.
    """
    side = min(_HIGHEST, (WIDTH - _MARGIN * (len(clouds) + 1)) / len(clouds))
    counts = {v.value: int((clouds[-1].values == v.value).sum()) for v in labels}
    entries = [Entry(v, f"{counts[v.value]} points") for v in labels if counts[v.value]]
    kept = kept_entries(entries)
    figure = blank(round(_LINE + side + legend_height(kept) + 2 * _LINE + 2 * _MARGIN))
    left = (WIDTH - len(clouds) * (side + _MARGIN) + _MARGIN) / 2
    for n, cloud in enumerate(clouds):
        at = left + n * (side + _MARGIN)
        write(figure, at, _LINE / 2, cloud.title, size=10)
        _draw(figure, cloud, labels, (at, _LINE, side))
    draw_legend(figure, kept, top=_LINE + side + _MARGIN)
    foot = height_of(figure) - _LINE / 2
    write(figure, _MARGIN, foot - _LINE * 0.8, f"{said}.", size=8.5, color=GREY)
    write(figure, _MARGIN, foot, notice, size=8.5, weight="bold")
    return png(figure)


def _draw(
    figure: Figure, cloud: Cloud, labels: Sequence[Label], box: tuple[float, float, float]
) -> None:
    """One panel in a square of (left, top, side) px."""
    left, top, side = box
    tall = height_of(figure)
    axes = figure.add_axes(
        (left / WIDTH, 1 - (top + side) / tall, side / WIDTH, side / tall), facecolor="#1c1c1c"
    )
    axes.set(xticks=[], yticks=[])
    size = float(np.clip(3000 / max(len(cloud.values), 1), 4, 30))
    masks = {label: cloud.values == label.value for label in labels}
    for label, mask in sorted(masks.items(), key=lambda pair: -int(pair[1].sum())):
        axes.scatter(*cloud.points[mask].T, s=size, color=rgb(label.colour), linewidths=0,
                     alpha=0.85)  # fmt: skip
    middle = (cloud.points.max(axis=0) + cloud.points.min(axis=0)) / 2
    half = (float(np.ptp(cloud.points, axis=0).max()) / 2 or 1.0) * (1 + 2 * _AIR)
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
