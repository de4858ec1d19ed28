"""Keys: what each key does while a review is open, the one home of bindings, tooltips and key map.

Ours win over napari's while a review is open. napari 0.9.2 looks a key up in the user's own map
first, then in the active layer's own and its class's, then in the viewer's; a binding on the viewer
alone would lose to a Labels layer. A Qt shortcut of the window comes before all of these. Keys that
napari gives another meaning, the clashes::

    key           napari's meaning of it
    1 2 3 4 5     tools of the active layer: erase, paint, polygon, fill, pick a label
    A             selects all points or shapes of a slice
    B             labels: preserve other labels; shapes: move to the back
    C             image: sets the contrast once
    D             shapes: direct editing
    E             labels: erase; shapes: ellipse
    F             labels: fill; shapes: move to the front
    L             labels: pick a label; shapes: line
    O             image: turns a cutting plane to the view
    P             labels: paint; points: add; shapes: polygon
    R             shapes: rectangle
    S             points and shapes: select
    T             shapes: path
    V             viewer: shows and hides the selected layers
    X             labels: swaps label and background; image: cutting plane; shapes: remove a vertex
    [ ]           labels: brush size in voxels
    Escape        labels and shapes: ends a polygon
    Ctrl+S        file menu: saves the selected layers
    Ctrl+Y        viewer: 2D and 3D
    Ctrl+Z        labels: napari's own undo, which knows nothing of ours
    Ctrl+Shift+Z  labels: napari's own redo

Left to napari: Space (held: pan and zoom), M and Z, minus and equal sign, the arrows (slices) and
all other keys with Ctrl or Alt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from unetr_app.errors import InvalidRequest


@dataclass(frozen=True)
class Key:
    """What one action is bound to.

    Args:
        action: Name of the action in code, such as ``"next_case"``.
        keys: Keys in Qt's portable writing, the first is shown in tooltips. Never empty.
        words: What it does, for people, beginning with a capital.
        where: Heading that it stands under in the key map.
    """

    action: str
    keys: tuple[str, ...]
    words: str
    where: str


CASES, EDITING, VIEWS, LABELS, DOUBT = "Cases", "Editing", "Views", "Labels", "Uncertainty"

GRADES = (
    "unusable",
    "poor: large corrections needed",
    "fair: some corrections needed",
    "good: small corrections needed",
    "excellent: as good as drawn by hand",
)
"""What the grades 1 to 5 mean."""

KEYS: tuple[Key, ...] = (
    Key("next_case", ("N",), "Next case", CASES),
    Key("previous_case", ("P",), "Previous case", CASES),
    Key("accept", ("A",), "Accept the segmentation", CASES),
    Key("edit", ("E",), "Edit the segmentation", CASES),
    Key("reject", ("R",), "Reject the segmentation", CASES),
    Key("flag", ("F",), "Flag the case for another look, or take the flag away", CASES),
    *(
        Key(f"grade_{n}", (str(n),), f"Grade {n} of 5, {meaning}", CASES)
        for n, meaning in enumerate(GRADES, start=1)
    ),
    Key("comment", ("C",), "Write a comment", CASES),
    Key("brush", ("B",), "Brush: paint the active label in this slice", EDITING),
    Key("erase", ("X",), "Eraser: erase in this slice", EDITING),
    Key("fill", ("G",), "Bucket: fill a connected region with the active label", EDITING),
    Key("brush_3d", ("D",), "3D brush: paint a ball through the neighbouring slices", EDITING),
    Key("pan", ("V",), "Move and zoom the picture, paint nothing", EDITING),
    Key("smaller_brush", ("[",), "Smaller brush", EDITING),
    Key("larger_brush", ("]",), "Larger brush", EDITING),
    Key("undo", ("Ctrl+Z",), "Undo the last step", EDITING),
    Key("redo", ("Ctrl+Shift+Z", "Ctrl+Y"), "Redo the step undone last", EDITING),
    Key("save_version", ("Ctrl+S",), "Save the edits as a new version", EDITING),
    Key("leave", ("Escape",), "Leave a text field; back to moving and zooming", EDITING),
    Key("next_uncertain", ("U",), "Go to the next most uncertain slice", DOUBT),
    Key("next_changed", ("Shift+U",), "Go to the next slice that was changed", DOUBT),
    Key("solo", ("S",), "Show the active label alone, or all again", LABELS),
    Key("show_labels", ("H",), "Hide the labels, or show them again", LABELS),
    Key("jump", ("L",), "Jump to the active label", LABELS),
    Key("contour", ("O",), "Outlines or filled labels", LABELS),
    Key("next_window", ("W",), "Next intensity window", VIEWS),
    Key("convention", ("T",), "Radiological or neurological convention", VIEWS),
    Key("crosshair", ("K",), "Show or hide the crosshair", VIEWS),
)
"""All keys of a review. An action has one row; no two share a key."""

_BY_ACTION = {key.action: key for key in KEYS}


def find_key(action: str) -> Key:
    """The row of an action.

    Raises:
        InvalidRequest: If there is no such action.

    Example:
        >>> find_key("redo").keys
        ('Ctrl+Shift+Z', 'Ctrl+Y')
    """
    if action not in _BY_ACTION:
        raise InvalidRequest(
            f"there is no action {action!r}", cure=f"Actions are: {', '.join(_BY_ACTION)}."
        )
    return _BY_ACTION[action]


def tooltip(action: str, words: str = "") -> str:
    """What a button's tooltip says: the words, then the keys in brackets.

    Args:
        action: One of the table's actions.
        words: Other words than the table's.

    Example:
        >>> tooltip("next_case")
        'Next case (N)'
    """
    key = find_key(action)
    return f"{words or key.words} ({' or '.join(key.keys)})"


def key_map(keys: Iterable[Key] = KEYS) -> str:
    """The key map as tables in Markdown, one a heading; the docs' page is made by this.

    Example:
        >>> print(key_map([find_key("flag")]).splitlines()[0])
        ## Cases
    """
    found = tuple(keys)
    parts: list[str] = []
    for where in dict.fromkeys(key.where for key in found):
        rows = [
            f"| {' or '.join(f'`{text}`' for text in key.keys)} | {key.words} |"
            for key in found
            if key.where == where
        ]
        parts.append("\n".join([f"## {where}", "", "| key | what it does |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"
