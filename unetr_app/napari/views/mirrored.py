"""Mirrored layers: what a side view shows of the main viewer's layers, on the same arrays.

napari's layer keeps the one slice that its viewer shows, so each view needs layers of its own. A
mirrored layer has the same data (no copy), follows every property in both directions, and shows
what is painted in any of the views while it is painted. napari's own undo history stays empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

Atoms = list[tuple[tuple[NDArray[np.intp], ...], NDArray[Any]]]
Painted = Callable[[Labels, Atoms, str], None]

# In the order in which they are to be set: a range before the limits within it.
_FOLLOWED = (
    "data", "name", "visible", "opacity", "blending", "editable", "mode",
    "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels",
    "contrast_limits_range", "contrast_limits", "gamma", "colormap", "interpolation2d",
    "contour", "selected_label", "show_selected_label", "n_edit_dimensions",
    "preserve_labels", "contiguous", "features",
)  # fmt: skip
_NOT_IN_STATE = (
    "editable", "mode", "selected_label", "show_selected_label", "brush_size", "contour",
    "n_edit_dimensions", "preserve_labels", "contiguous",
)  # fmt: skip
_TOOL_NAMES = {"paint": "brush", "erase": "eraser"}


class SideImage(Image):
    """An image in a side view; its thumbnail would be drawn at every step and never be seen."""

    def _update_thumbnail(self) -> None:
        pass


class SideLabels(Labels):
    """Labels in a side view, without a thumbnail; the cursor is as large as a ball it paints."""

    def _calculate_cursor_size(self) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.brush_size * _voxel_mm(self)

    def _update_thumbnail(self) -> None:
        pass


class MirroredLayers:
    """Keeps side viewers showing what the main one shows.

    Args:
        main: The viewer whose layers are mirrored.
        sides: Viewers without layers of their own.
        painted: Called after each stroke in any view, with the main viewer's layer, what was
            changed (`atoms_of`) and the tool's name.
    """

    def __init__(self, main: ViewerModel, sides: list[ViewerModel], painted: Painted) -> None:
        self._main = main
        self._sides = sides
        self._painted = painted
        self._pairs: dict[Layer, list[_Pair]] = {}
        for n, layer in enumerate(main.layers):
            self._insert(n, layer)
        self._select()
        events = main.layers.events
        events.inserted.connect(self._on_inserted, position="last")
        events.removed.connect(self._on_removed, position="last")
        events.reordered.connect(self._on_reordered, position="last")
        main.layers.selection.events.active.connect(self._select, position="last")

    def mirrors(self, layer: Layer) -> list[Layer]:
        """The mirrored layers of one of the main viewer's, one a side view."""
        return [pair.mirror for pair in self._pairs.get(layer, [])]

    def refresh(self, layer: Labels) -> None:
        """Show data that was changed in place, in all views."""
        for one in (layer, *self.mirrors(layer)):
            one.refresh(extent=False, thumbnail=one is layer, highlight=False)

    def set_brush(self, layer: Labels, diameter_mm: float) -> None:
        """Make the brush as wide in mm in each view, whatever the spacings of its plane are.

        napari counts in voxels of the finest spacing that is painted along, and paints odd ones.
        """
        for one in (layer, *self.mirrors(layer)):
            assert isinstance(one, Labels)
            one.brush_size = 2 * max(0, round((diameter_mm / _voxel_mm(one) - 1) / 2)) + 1

    def close(self) -> None:
        """Take the mirrored layers away; the main viewer keeps its own."""
        events = self._main.layers.events
        events.inserted.disconnect(self._on_inserted)
        events.removed.disconnect(self._on_removed)
        events.reordered.disconnect(self._on_reordered)
        self._main.layers.selection.events.active.disconnect(self._select)
        for layer in list(self._pairs):
            self._remove(layer)

    def _on_inserted(self, event: Any) -> None:
        self._insert(event.index, event.value)
        self._select()

    def _on_removed(self, event: Any) -> None:
        self._remove(event.value)

    def _on_reordered(self) -> None:
        for side_number, side in enumerate(self._sides):
            for n, layer in enumerate(self._main.layers):
                mirror = self._pairs[layer][side_number].mirror
                if side.layers[n] is not mirror:
                    side.layers.move(side.layers.index(mirror), n)

    def _insert(self, index: int, layer: Layer) -> None:
        self._pairs[layer] = pairs = [_Pair(layer, _mirror(layer)) for _ in self._sides]
        for side, pair in zip(self._sides, pairs, strict=True):
            side.layers.insert(index, pair.mirror)
        if isinstance(layer, Labels):
            for one in (layer, *self.mirrors(layer)):
                one.events.labels_update.connect(self._on_painting)
                one.events.paint.connect(self._on_painted)

    def _remove(self, layer: Layer) -> None:
        pairs = self._pairs.pop(layer)
        for side, pair in zip(self._sides, pairs, strict=True):
            pair.close()
            side.layers.remove(pair.mirror)
        if isinstance(layer, Labels):
            layer.events.labels_update.disconnect(self._on_painting)
            layer.events.paint.disconnect(self._on_painted)

    def _select(self) -> None:
        active = self._main.layers.selection.active
        for n, side in enumerate(self._sides):
            pairs = self._pairs.get(active) if active is not None else None
            side.layers.selection.active = pairs[n].mirror if pairs else None

    def _group(self, layer: Labels) -> tuple[Labels, list[Any]]:
        """A layer's main layer, and the main and mirrored ones that are not it."""
        for main, pairs in self._pairs.items():
            everyone = [main, *(pair.mirror for pair in pairs)]
            if any(one is layer for one in everyone):
                assert isinstance(main, Labels)
                return main, [one for one in everyone if one is not layer]
        return layer, []

    def _on_painting(self, event: Any) -> None:
        """Show a piece of a stroke in the other views, where it crosses their slices."""
        changed = getattr(event.source, "_updated_slice", None)  # the box, in data coordinates
        if changed is not None:
            _show(self._group(event.source)[1], changed)

    def _on_painted(self, event: Any) -> None:
        layer: Labels = event.source
        layer._undo_history.clear()  # ours is used; napari has no public way to switch its own off
        layer._redo_history.clear()
        atoms = atoms_of(event.value)
        main, others = self._group(layer)
        for where, _ in atoms:
            _show(others, tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in where))
        mode = str(layer.mode)
        self._painted(main, atoms, _TOOL_NAMES.get(mode, mode))


def atoms_of(items: list[Any]) -> Atoms:
    """What `Labels.events.paint` reports, in one form.

    Args:
        items: napari's history items, as masks within boxes or as indices.

    Returns:
        For each item the indices changed, an array an axis in data coordinates, and the values
        that were there before. Voxels may come again in a later item of the same stroke: the
        first value is the one before the stroke.
    """
    atoms: Atoms = []
    for item in items:
        if hasattr(item, "slice_key"):
            whole = np.ones(item.old_values.shape, bool)
            inside = np.nonzero(whole if item.mask is None else item.mask)
            boxes = zip(inside, item.slice_key, strict=True)
            where = tuple(index + box.start for index, box in boxes)
            atoms.append((where, np.ravel(item.old_values)))
        else:
            where, before, _ = item
            *index, old = np.broadcast_arrays(*where, before)
            atoms.append((tuple(np.ravel(one) for one in index), np.ravel(old)))
    return [(where, old) for where, old in atoms if old.size]


def _show(layers: list[Any], changed: tuple[slice, ...]) -> None:
    """Refresh the layers whose slice crosses a box of voxels."""
    for layer in layers:
        shown = layer._slice_input
        point = layer.world_to_data(shown.world_slice.point)
        if all(
            changed[axis].start <= round(float(point[axis])) < changed[axis].stop
            for axis in shown.not_displayed
        ):
            layer.refresh(extent=False, thumbnail=False, highlight=False)


def _voxel_mm(layer: Labels) -> float:
    """The finest spacing along the axes that a brush paints along."""
    is_ball = layer.n_edit_dimensions == layer.ndim
    axes = range(layer.ndim) if is_ball else layer._slice_input.displayed
    return float(min(abs(layer.scale[axis]) for axis in axes))


def _mirror(layer: Layer) -> Layer:
    """A layer like another, on the same data."""
    data, state, kind = layer.as_layer_data_tuple()
    if isinstance(layer, Labels):
        mirror: Layer = SideLabels(data, **state)
    elif isinstance(layer, Image):
        mirror = SideImage(data, **state)
    else:
        mirror = Layer.create(data, state, kind)
    for name in _NOT_IN_STATE:
        if hasattr(layer, name):
            setattr(mirror, name, getattr(layer, name))
    return mirror


class _Pair:
    """A layer and its mirror, following each other."""

    def __init__(self, main: Layer, mirror: Layer) -> None:
        self.main = main
        self.mirror = mirror
        self._is_busy = False
        self._names = [name for name in _FOLLOWED if name in main.events.emitters]
        for name in self._names:
            main.events[name].connect(self._to_mirror)
            mirror.events[name].connect(self._to_main)

    def close(self) -> None:
        for name in self._names:
            self.main.events[name].disconnect(self._to_mirror)
            self.mirror.events[name].disconnect(self._to_main)

    def _to_mirror(self, event: Any) -> None:
        self._copy(event.type, self.main, self.mirror)

    def _to_main(self, event: Any) -> None:
        self._copy(event.type, self.mirror, self.main)

    def _copy(self, name: str, source: Layer, target: Layer) -> None:
        if self._is_busy:
            return
        with self._busy():
            setattr(target, name, getattr(source, name))

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False
