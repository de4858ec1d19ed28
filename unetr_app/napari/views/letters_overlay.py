"""Letters: which side of the patient an edge shows, and which slice this is.

They are napari's own canvas overlays, so they stay at the edges whatever the camera does.
"""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.components.overlays import TextOverlay

from unetr_app.review.display import DISPLAY_CODES

Letters = tuple[str, str, str, str]  # left, right, top, bottom
_EDGES = {
    "left": "middle_left",
    "right": "middle_right",
    "top": "top_center",
    "bottom": "bottom_center",
}
_OPPOSITE = dict(zip("IPLSAR", "SARIPL", strict=True))
_LETTER_POINTS = 14
_TITLE_POINTS = 9


class LettersOverlay:
    """The letters and the title of one view.

    Args:
        viewer: The view's model.
        canvas: napari's canvas of it (``QtViewer.canvas``).
        plane: Name of the plane, shown in the title.
        axis: The display axis that the view is sliced along, 0 to 2.
    """

    def __init__(self, viewer: ViewerModel, canvas: Any, plane: str, axis: int) -> None:
        self._viewer = viewer
        self._canvas = canvas
        self._plane = plane
        self._axis = axis
        self._letters: Letters = ("", "", "", "")
        self._is_mirrored = False
        self._is_visible = True
        # napari stacks what lies at one edge in the order in which it is first seen: the title
        # first, so that it never lies on the letter below it, however narrow the canvas.
        viewer.canvas.overlays[_key("title")] = TextOverlay(
            position="top_center", font_size=_TITLE_POINTS, text=plane.capitalize(), visible=True
        )
        for edge, position in _EDGES.items():
            viewer.canvas.overlays[_key(edge)] = TextOverlay(
                position=position, font_size=_LETTER_POINTS
            )

    def set_letters(self, letters: Letters) -> None:
        """Letters at the left, right, top and bottom edge as the array lies, unmirrored."""
        self._letters = letters
        self._write()

    def set_mirrored(self, mirrored: bool) -> None:
        """Is the view drawn with left and right exchanged?"""
        self._is_mirrored = mirrored
        self._write()

    def show_slice(self) -> None:
        """Write the plane, the slice's position and its number.

        The position counts from the scanner's origin along the grid's axis, as in "S 12.5 mm".
        """
        dims = self._viewer.dims
        if dims.ndim != 3 or dims.ndisplay != 2:
            self._set("title", self._plane.capitalize())
            return
        where = dims.point[self._axis]
        code = DISPLAY_CODES[self._axis]
        side = code if where > 0 else _OPPOSITE[code]
        number = f"{dims.current_step[self._axis] + 1}/{dims.nsteps[self._axis]}"
        self._set("title", f"{self._plane.capitalize()}  {side} {abs(where):.1f} mm  {number}")

    @property
    def shown(self) -> Letters:
        """The letters at the left, right, upper and lower edge, as they are seen now."""
        if not self._is_visible:
            return ("", "", "", "")
        left, right, top, bottom = self._letters
        return (right, left, top, bottom) if self._is_mirrored else self._letters

    def show(self, is_visible: bool) -> None:
        """Show the letters or hide them; the title stays."""
        self._is_visible = is_visible
        self._write()

    def close(self) -> None:
        """Take letters and title off the canvas."""
        for name in (*_EDGES, "title"):
            del self._viewer.canvas.overlays[_key(name)]

    def _write(self) -> None:
        for edge, letter in zip(_EDGES, self.shown, strict=True):
            self._set(edge, letter)

    def _set(self, name: str, text: str) -> None:
        overlay = self._viewer.canvas.overlays[_key(name)]
        assert isinstance(overlay, TextOverlay)
        if overlay.text == text and overlay.visible == bool(text):
            return
        overlay.text = text
        overlay.visible = bool(text)
        # else napari puts changed texts in their place after the next frame, and draws another
        self._canvas._update_overlay_canvas_positions()


def _key(name: str) -> str:
    return f"unetr_{name}"
