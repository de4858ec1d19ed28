"""Time a slice step in three linked views: from the event to the drawn frames.

    python benchmarks/review_views.py [--shape 512 512 300] [--steps 50]

Without a screen: run it under xvfb-run with LIBGL_ALWAYS_SOFTWARE=1. An image and a label map in
the source's order (i, j, k) are shown through views in the display's order, as the app does; the
image then again as a contiguous copy in the display's order. Columns, in ms a step:

    slice   napari's slicing of all layers concerned, thumbnails and events to the canvas included
    thumb   the thumbnails of the main viewer's layers
    event   the whole change of the slider, with slice and thumb
    draw    the rest, until the last of three canvases is drawn: upload of textures and drawing
    cpu     of all threads, the software renderer's too: says more on a busy computer
    total   median; worst
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable

import napari
import numpy as np
from napari.components._layer_slicer import _LayerSlicer
from napari.layers import Image, Labels
from qtpy.QtWidgets import QApplication

from unetr_app.geometry import Geometry
from unetr_app.napari.views.linked_views import PLANES, LinkedViews
from unetr_app.review import display

_SPENT: dict[str, float] = defaultdict(float)
_DRAWN: set[str] = set()


def timed(name: str, function: Callable) -> Callable:
    """The function, its time added to `_SPENT`."""

    def call(*args: object, **kwargs: object) -> object:
        begin = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            _SPENT[name] += time.perf_counter() - begin

    return call


def watch(views: LinkedViews, viewer: napari.Viewer) -> None:
    """Note which canvases are drawn, and the time that slicing and thumbnails take."""
    canvases = [viewer.window._qt_viewer.canvas, *(side.qt.canvas for side in views._sides)]
    for plane, canvas in zip(PLANES, canvases, strict=True):
        canvas.events.draw.connect(lambda _, plane=plane: _DRAWN.add(plane), position="last")
    _LayerSlicer.submit = timed("slice", _LayerSlicer.submit)
    for kind in (Image, Labels):
        kind._update_thumbnail = timed("thumb", kind._update_thumbnail)


def settle(planes: set[str]) -> None:
    """Wait until all these planes are drawn."""
    for _ in range(1000):
        QApplication.processEvents()
        if planes <= _DRAWN:
            return
    sys.exit(f"never drawn: {planes - _DRAWN}")


def measure(step: Callable[[int], None], steps: int) -> list[float]:
    """Milliseconds a step: slice, thumb, event, draw, cpu, total, worst."""
    rows = []
    for n in range(steps + 5):
        for _ in range(20):
            QApplication.processEvents()
        _SPENT.clear()
        _DRAWN.clear()
        begin, cpu = time.perf_counter(), time.process_time()
        step(n)
        event = time.perf_counter() - begin
        settle(set(PLANES))
        total = time.perf_counter() - begin
        cpu = time.process_time() - cpu
        rows.append([_SPENT["slice"], _SPENT["thumb"], event, total - event, cpu, total])
    found = 1e3 * np.array(rows[5:])
    return [*np.median(found, axis=0), found[:, 5].max()]


def make(shape: tuple[int, int, int], kind: type) -> tuple[np.ndarray, np.ndarray]:
    """An image with a ball of another intensity in it, and the ball's label."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    radius = sum(np.square(axis).reshape(place) for axis, place in zip(
        axes, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True))  # fmt: skip
    label_map = (radius < 0.3).astype(np.uint8)
    image = (200 * np.sin(9 * radius)).astype(kind)
    return image, label_map


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time a slice step in three linked views.")
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--steps", type=int, default=50)
    asked = parser.parse_args()
    geometry = Geometry(tuple(asked.shape), np.diag([-0.7, -0.7, 1.0, 1.0]))
    place = display.place(geometry)
    placing = {"scale": place.scale, "translate": place.translate, "units": ("mm",) * 3}
    viewer = napari.Viewer()
    viewer.window.resize(1500, 950)
    views = LinkedViews(viewer)
    viewer.window.add_dock_widget(views, area="right")
    watch(views, viewer)
    print("image    order       plane       slice   thumb   event    draw     cpu   total   worst")
    for kind in (np.float32, np.int16):
        image, label_map = make(tuple(asked.shape), kind)
        for copied in (False, True):
            shown = display.to_display(image, geometry)
            begin = time.perf_counter()
            shown = np.ascontiguousarray(shown) if copied else shown
            copying = time.perf_counter() - begin
            viewer.layers.clear()
            viewer.add_image(shown, contrast_limits=(-200, 200), **placing)
            viewer.add_labels(display.to_display(label_map, geometry), **placing)
            views.reset_views()
            order = "copied" if copied else "as read"
            for axis, plane in enumerate(PLANES):
                dims = views.model(plane).dims
                middle = dims.nsteps[axis] // 2 - asked.steps // 2
                report(kind, order, plane, measure(
                    lambda n, d=dims, a=axis, m=middle: d.set_current_step(a, m + n), asked.steps
                ))  # fmt: skip
            centre = np.array(views.point)
            report(kind, order, "crosshair", measure(
                lambda n, c=centre: views.move_to(c + n + 1), asked.steps))  # fmt: skip
            if copied:
                print(f"         the copy took {copying:.2f} s and {shown.nbytes / 2**20:.0f} MiB")
    views.close()
    viewer.close()


def report(kind: type, order: str, plane: str, row: list[float]) -> None:
    """Print one row."""
    print(f"{kind.__name__:8} {order:11} {plane:9}" + "".join(f"{v:8.1f}" for v in row), flush=True)


if __name__ == "__main__":
    main()
