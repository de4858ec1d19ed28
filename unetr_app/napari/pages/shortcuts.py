"""Shortcuts: the keys of a review, bound to a window while it is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QMainWindow, QWidget

from unetr_app.napari.pages.qt import QAction, QShortcut
from unetr_app.review.keys import KEYS

_REPEATED = ("undo", "redo", "smaller_brush", "larger_brush", "next_uncertain", "next_changed")
"""Held down these go on; a key held too long must not accept the next case too."""


class Shortcuts:
    """Bind actions to their keys, wherever in the window the focus is.

    Qt asks shortcuts before it gives a key to the widget in focus, so they win over what napari
    binds to its layers; a text field that is typed into keeps its keys. Menu entries with the same
    keys (napari's Ctrl+S) would make Qt run neither, so they lose theirs until `release`.

    Args:
        window: The window whose keys they are.
        actions: What to call, by action of the key table. Those that are absent stay unbound.
    """

    def __init__(self, window: QMainWindow | QWidget, actions: Mapping[str, Callable[[], object]]):
        self._shortcuts: list[QShortcut] = []
        self._taken: list[tuple[QAction, list[QKeySequence]]] = []
        keys = [(key.action, QKeySequence(text)) for key in KEYS for text in key.keys]
        bound = [(action, keys_) for action, keys_ in keys if action in actions]
        self._take(window, [sequence for _, sequence in bound])
        for action, sequence in bound:
            made = QShortcut(sequence, window)
            made.setContext(Qt.ShortcutContext.WindowShortcut)
            made.setAutoRepeat(action in _REPEATED)
            made.activated.connect(_without_arguments(actions[action]))
            self._shortcuts.append(made)

    def release(self) -> None:
        """Unbind all; menu entries get their keys back."""
        for made in self._shortcuts:
            made.setEnabled(False)
            made.deleteLater()
        for entry, sequences in self._taken:
            entry.setShortcuts(sequences)
        self._shortcuts, self._taken = [], []

    def _take(self, window: QWidget, wanted: list[QKeySequence]) -> None:
        for entry in window.findChildren(QAction):
            had = entry.shortcuts()
            left = [sequence for sequence in had if sequence not in wanted]
            if len(left) < len(had):
                self._taken.append((entry, had))
                entry.setShortcuts(left)


def _without_arguments(call: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        call()

    return run
