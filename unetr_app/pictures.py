"""Pictures: segmentations drawn over the volume, in three planes, as PNG.

Drawn with matplotlib's object interface on the Agg canvas: no window, no global state, safe to call
from several threads.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from unetr_app.errors import UnsafeGeometry
from unetr_app.labels import Colour, Label
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.planes import View, intensity_window, views
from unetr_app.volume import Segmentation, Volume

_DPI = 100
_WIDTH = 1200  # px, and so all lengths below
_MARGIN = 12
_TITLE = 24
_HIGHEST, _LOWEST = 400, 150  # panels
_ROW = 20  # of the legend
_MOST_ENTRIES = 24
_NAME_BY_COLUMNS = {4: 20, 3: 32, 2: 60}  # longest name, in letters, for so many columns
_TOO_LOW, _TOO_NARROW = 70, 130  # panel sides, px
_FINEST = 700  # pixels a side that contours are computed on
_BLACK, _WHITE, _GREY = "#000000", "#ffffff", "#b8b8b8"
_FONT = "DejaVu Sans"  # ships with matplotlib


def preview(
    volume: Volume,
    segmentation: Segmentation,
    path: str | os.PathLike[str],
    *,
    notice: str = RESEARCH_NOTICE,
) -> Path:
    """Write a PNG that shows a segmentation over its volume in three planes through the labels.

    Each plane is the slice with most labelled voxels (the centre where there is none), in true
    proportions and radiological convention, with contours in the labels' colours and a legend of
    names and millilitres.

    Args:
        volume: What was segmented; its first channel is shown.
        segmentation: On the volume's grid.
        path: Where the picture goes; it appears there only when whole.
        notice: A line at the foot of the picture.

    Returns:
        The path written.

    Raises:
        UnsafeGeometry: If the two lie on different grids.
        UnwritableOutput: If the picture could not be written whole.
    """
    from unetr_app.io.atomic import write_bytes

    return write_bytes(path, preview_picture(volume, segmentation, notice=notice))


def preview_picture(
    volume: Volume, segmentation: Segmentation, *, notice: str = RESEARCH_NOTICE
) -> bytes:
    """The picture of `preview` as PNG bytes."""
    _require_same_grid(volume, segmentation)
    shown = views(volume, [segmentation])
    entries = [
        _Entry(label, f"{_ml(millilitres)} ml")
        for label, millilitres in _volumes(segmentation).items()
        if millilitres > 0
    ]
    return _png(_draw(shown, intensity_window(volume), entries, notice=notice))


def comparison_picture(
    volume: Volume | None,
    prediction: Segmentation,
    reference: Segmentation,
    *,
    notice: str = RESEARCH_NOTICE,
) -> bytes:
    """PNG bytes of a prediction (solid lines) over its reference (dashed white lines).

    Cut where most voxels differ. Without a volume the reference is filled with the labels' colours.

    Args:
        volume: What was segmented; None where it is not at hand.
        prediction: On the reference's grid.
        reference: What is taken as true.
        notice: A line at the foot of the picture.

    Raises:
        UnsafeGeometry: If they lie on different grids.
    """
    _require_same_grid(volume, prediction, reference)
    shown = views(volume, [prediction, reference])
    predicted, true = _volumes(prediction), {v.value: n for v, n in _volumes(reference).items()}
    labels = {label.value: label for label in (*reference.labels, *prediction.labels)}
    ours = {label.value: n for label, n in predicted.items()}
    entries = [
        _Entry(label, f"{_ml(ours.get(value, 0.0))} / {_ml(true.get(value, 0.0))} ml")
        for value, label in sorted(labels.items())
        if ours.get(value, 0.0) or true.get(value, 0.0)
    ]
    window = (0.0, 1.0) if volume is None else intensity_window(volume)
    said = "Solid: prediction, dashed: reference; volumes in this order"
    return _png(_draw(shown, window, entries, notice=notice, said=said))


@dataclass(frozen=True)
class _Entry:
    """A row of the legend."""

    label: Label
    amount: str


def _require_same_grid(*images: Volume | Segmentation | None) -> None:
    grids = [image.geometry.reoriented("RAS") for image in images if image is not None]
    if not all(grid.is_close(grids[0]) for grid in grids[1:]):
        raise UnsafeGeometry("images on different grids cannot be shown in one picture")


def _volumes(segmentation: Segmentation) -> dict[Label, float]:
    """Millilitres of each label."""
    values = segmentation.labels.values
    if segmentation.is_overlapping:
        counts = {v: int(np.count_nonzero(segmentation.mask(v))) for v in values}
    else:
        n = max(values, default=0) + 1
        slabs = (np.bincount(slab.ravel(), minlength=n) for slab in segmentation.label_map)
        counts = dict(enumerate(np.sum(list(slabs), axis=0).tolist()))
    one = segmentation.geometry.voxel_ml
    return {label: counts[label.value] * one for label in segmentation.labels}


def _ml(millilitres: float) -> str:
    """Millilitres with about three figures."""
    return f"{millilitres:.{2 if millilitres < 10 else 1 if millilitres < 100 else 0}f}"


def _draw(
    shown: Sequence[View],
    window: tuple[float, float],
    entries: Sequence[_Entry],
    *,
    notice: str,
    said: str = "",
) -> Figure:
    """The whole picture: three panels, the legend below, the notes at the foot."""
    cell = (_WIDTH - 4 * _MARGIN) / 3
    scales = _scales(shown, cell)
    panels = max(_LOWEST, *(view.size_mm[1] * s for view, s in zip(shown, scales, strict=True)))
    colours = {entry.label.value: entry.label.colour for entry in entries}
    kept = _kept(entries)
    legend = _ROW * -(-len(kept) // _columns(kept))
    height = round(_TITLE + panels + legend + 2 * _ROW + 2 * _MARGIN)
    figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=_BLACK)
    FigureCanvasAgg(figure)
    for n, (view, scale) in enumerate(zip(shown, scales, strict=True)):
        width, tall = view.size_mm[0] * scale, view.size_mm[1] * scale
        left = _MARGIN + n * (cell + _MARGIN)
        _text(figure, left + cell / 2, _TITLE / 2, _heading(view), size=10, ha="center")
        box = (left + (cell - width) / 2, _TITLE + (panels - tall) / 2, width, tall)
        _panel(figure, view, box, window=window, colours=colours)
    _legend(figure, kept, top=_TITLE + panels + _MARGIN)
    foot = height - _ROW * 0.75
    _text(figure, _MARGIN, foot - _ROW * 0.8, _notes(shown, said), size=8.5, color=_GREY)
    _text(figure, _MARGIN, foot, notice, size=8.5, weight="bold")
    return figure


def _scales(shown: Sequence[View], cell: float) -> list[float]:
    """Pixels a mm for each panel: one scale for all, unless that makes one very small."""
    most = [min(cell / v.size_mm[0], _HIGHEST / v.size_mm[1]) for v in shown]
    return [min(most)] * len(most) if max(most) < 2 * min(most) else most


def _heading(view: View) -> str:
    return f"{view.plane.name}, {view.position}" if view.position else view.plane.name


def _notes(shown: Sequence[View], said: str) -> str:
    notes = [said, "The patient's left is on the right"]
    if not shown[0].position:
        notes.append("Oblique grid, shown along its own axes")
    if any(view.is_cropped for view in shown):
        notes.append("Cropped round the labels")
    return "".join(f"{note}.  " for note in notes if note)


def _panel(
    figure: Figure,
    view: View,
    box: tuple[float, float, float, float],
    *,
    window: tuple[float, float],
    colours: Mapping[int, Colour],
) -> None:
    """One plane in a box of (left, top, width, height) px; axes in mm, so nothing is stretched."""
    left, top, width, height = box
    tall = figure.get_figheight() * _DPI
    axes = figure.add_axes(
        (left / _WIDTH, 1 - (top + height) / tall, width / _WIDTH, height / tall)
    )
    axes.set_axis_off()
    across, down = view.size_mm
    axes.add_patch(Rectangle((0, 0), across, down, facecolor="#1c1c1c", zorder=-1))
    if view.image is not None:
        axes.imshow(view.image, cmap="gray", vmin=window[0], vmax=window[1], aspect="auto",
                    extent=(0, across, down, 0), interpolation="bilinear")  # fmt: skip
    styles: list[dict[str, Any]] = [{"linewidths": 1.6}]
    if len(view.masks) == 2:
        styles = [{"linewidths": 1.8}, {"linewidths": 1.3, "linestyles": "--", "colors": _WHITE}]
    for masks, style in zip(view.masks, styles, strict=True):
        for value, mask in masks.items():
            colour = _rgb(colours[value])
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
    low = height < _TOO_LOW
    above, below = (
        (("bottom", 1.02), ("top", -0.02)) if low else (("top", 0.985), ("bottom", 0.015))
    )
    places = ((0.015, 0.5, "left", "center"), (0.985, 0.5, "right", "center"),
              (0.5, above[1], "center", above[0]), (0.5, below[1], "center", below[0]))  # fmt: skip
    for letter, (x, y, ha, va) in zip(letters, places, strict=True):
        text = axes.text(x, y, letter, transform=axes.transAxes, ha=ha, va=va, color=_WHITE,
                         fontsize=11, fontweight="bold", fontfamily=_FONT)  # fmt: skip
        text.set_path_effects([withStroke(linewidth=2.5, foreground=_BLACK)])


def _scale_bar(axes: Any, size_mm: tuple[float, float], width: float, height: float) -> None:
    """A bar of a round number of mm, at most a quarter of the panel wide, in the lower left."""
    if width < _TOO_NARROW or height < _TOO_LOW:
        return
    wanted = size_mm[0] / 4
    power = 10.0 ** np.floor(np.log10(wanted))
    length = float(max(m * power for m in (1, 2, 5) if m * power <= wanted))
    x, y = 8 / width * size_mm[0], (1 - 12 / height) * size_mm[1]
    axes.plot([x, x + length], [y, y], color=_WHITE, linewidth=2, solid_capstyle="butt",
              path_effects=[withStroke(linewidth=4, foreground=_BLACK)])  # fmt: skip
    text = axes.text(x, (1 - 16 / height) * size_mm[1], f"{length:g} mm", color=_WHITE, fontsize=8,
                     va="bottom", fontfamily=_FONT)  # fmt: skip
    text.set_path_effects([withStroke(linewidth=2, foreground=_BLACK)])


def _kept(entries: Sequence[_Entry]) -> list[_Entry | str]:
    """Entries for the legend; of very many, the first ones and how many more there are."""
    if len(entries) <= _MOST_ENTRIES:
        return list(entries) or ["No label in this segmentation"]
    left_out = len(entries) - _MOST_ENTRIES + 1
    return [*entries[: _MOST_ENTRIES - 1], f"and {left_out} more labels"]


def _legend(figure: Figure, kept: Sequence[_Entry | str], *, top: float) -> None:
    columns = _columns(kept)
    column = (_WIDTH - 2 * _MARGIN) / columns
    rows = -(-len(kept) // columns)
    tall = figure.get_figheight() * _DPI
    for n, entry in enumerate(kept):
        x, y = _MARGIN + (n // rows) * column, top + (n % rows + 0.5) * _ROW
        if isinstance(entry, str):
            _text(figure, x, y, entry, size=9, color=_GREY)
            continue
        swatch = Rectangle(
            (x / _WIDTH, 1 - (y + 5) / tall), 14 / _WIDTH, 10 / tall,
            transform=figure.transFigure, facecolor=_rgb(entry.label.colour),
        )  # fmt: skip
        figure.add_artist(swatch)
        _text(
            figure,
            x + 20,
            y,
            f"{_short(entry.label.name, _NAME_BY_COLUMNS[columns])}  {entry.amount}",
            size=9,
        )


def _columns(kept: Sequence[_Entry | str]) -> int:
    """How many columns the legend has: as many as its longest name allows."""
    longest = max(len(e.label.name) if isinstance(e, _Entry) else 0 for e in kept)
    return next((n for n, most in _NAME_BY_COLUMNS.items() if longest <= most), 2)


def _short(name: str, most: int) -> str:
    """A name on one line, in the font's letters, with its middle left out where it is long."""
    line = " ".join(name.split())
    line = "".join(c if ord(c) in _glyphs() else "?" for c in line)
    half = (most - 1) // 2
    return line if len(line) <= most else f"{line[:half].rstrip()}\u2026{line[-half:].lstrip()}"


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=_FONT))).get_charmap())


def _text(figure: Figure, x: float, y: float, words: str, **style: Any) -> None:
    """Words at (x, y) px from the upper left corner, vertically centred."""
    tall = figure.get_figheight() * _DPI
    figure.text(x / _WIDTH, 1 - y / tall, words, parse_math=False, va="center",
                **{"color": _WHITE, "family": _FONT, **style})  # fmt: skip


def _rgb(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = (c / 255 for c in colour)
    return red, green, blue


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor=figure.get_facecolor(),
                   metadata={"Software": None})  # fmt: skip
    return buffer.getvalue()
