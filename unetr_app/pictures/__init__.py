"""Pictures: segmentations drawn over the volume, in three planes, as PNG.

Drawn with matplotlib's object interface on the Agg canvas: no window, no global state, safe to call
from several threads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from unetr_app.errors import UnsafeGeometry
from unetr_app.io.atomic import write_bytes
from unetr_app.labels import Label
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.pictures.canvas import GREY, WIDTH, blank, png, write
from unetr_app.pictures.legend import (
    ROW,
    Entry,
    draw_legend,
    kept_entries,
    legend_height,
)
from unetr_app.pictures.panel import draw_panel
from unetr_app.planes import View, intensity_window, views
from unetr_app.volume import Segmentation, Volume

__all__ = ["comparison_picture", "preview", "preview_picture"]

_MARGIN, _TITLE = 12, 24  # px
_HIGHEST, _LOWEST = 400, 150  # panels, px


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
    return write_bytes(path, preview_picture(volume, segmentation, notice=notice))


def preview_picture(
    volume: Volume, segmentation: Segmentation, *, notice: str = RESEARCH_NOTICE
) -> bytes:
    """The picture of `preview` as PNG bytes."""
    _require_same_grid(volume, segmentation)
    shown = views(volume, [segmentation])
    entries = [
        Entry(label, f"{_ml(millilitres)} ml")
        for label, millilitres in _volumes(segmentation).items()
        if millilitres > 0
    ]
    return png(_draw(shown, intensity_window(volume), entries, notice=notice))


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
        Entry(label, f"{_ml(ours.get(value, 0.0))} / {_ml(true.get(value, 0.0))} ml")
        for value, label in sorted(labels.items())
        if ours.get(value, 0.0) or true.get(value, 0.0)
    ]
    window = (0.0, 1.0) if volume is None else intensity_window(volume)
    said = "Solid: prediction, dashed: reference; volumes in this order"
    return png(_draw(shown, window, entries, notice=notice, said=said))


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
    entries: Sequence[Entry],
    *,
    notice: str,
    said: str = "",
) -> Figure:
    """The whole picture: three panels, the legend below, the notes at the foot."""
    cell = (WIDTH - 4 * _MARGIN) / 3
    scales = _scales(shown, cell)
    panels = max(_LOWEST, *(view.size_mm[1] * s for view, s in zip(shown, scales, strict=True)))
    colours = {entry.label.value: entry.label.colour for entry in entries}
    kept = kept_entries(entries)
    height = round(_TITLE + panels + legend_height(kept) + 2 * ROW + 2 * _MARGIN)
    figure = blank(height)
    for n, (view, scale) in enumerate(zip(shown, scales, strict=True)):
        width, tall = view.size_mm[0] * scale, view.size_mm[1] * scale
        left = _MARGIN + n * (cell + _MARGIN)
        write(figure, left + cell / 2, _TITLE / 2, _heading(view), size=10, ha="center")
        box = (left + (cell - width) / 2, _TITLE + (panels - tall) / 2, width, tall)
        draw_panel(figure, view, box, window=window, colours=colours)
    draw_legend(figure, kept, top=_TITLE + panels + _MARGIN)
    foot = height - ROW * 0.75
    write(figure, _MARGIN, foot - ROW * 0.8, _notes(shown, said), size=8.5, color=GREY)
    write(figure, _MARGIN, foot, notice, size=8.5, weight="bold")
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
