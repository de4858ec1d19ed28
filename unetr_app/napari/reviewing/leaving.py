"""Leaving: notices that a window is closed, while its widgets are still alive."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


class Leaving(QObject):
    """Calls back when a window is closed for good; one that asks and stays open is not.

    Args:
        window: The main window.
        leave: Called once or more often.
    """

    def __init__(self, window: QWidget, leave: Callable[[], None]):
        super().__init__()
        self._window, self._leave = window, leave
        window.installEventFilter(self)

    def release(self) -> None:
        """Look no longer."""
        self._window.removeEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """See the window's events first; Qt calls it."""
        if event.type() == QEvent.Type.Hide and not event.spontaneous():
            self._leave()
        return False
