"""Watching: a task's events brought into the window's thread, until the window goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QApplication, QWidget

from unetr_app.napari.background.task import Task

_EVERY_MS = 50


class Watch(QObject):
    """Takes events in the window's thread and hands them on.

    When the widget goes, or the program ends, the work is asked to stop and nothing more is
    handed on; its thread ends by itself.

    Args:
        task: What to look at.
        widget: Whose life it shares.
        take: Called with each event.
    """

    def __init__(self, task: Task, widget: QWidget, take: Callable[[Any], None]):
        super().__init__(widget)
        self._task, self._take = task, take
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self.look)
        widget.destroyed.connect(task.cancel)
        program = QApplication.instance()
        if program is not None:
            program.aboutToQuit.connect(task.cancel)

    def begin(self) -> None:
        """Work has begun."""
        self._timer.start()

    def look(self) -> None:
        """Hand on what has come."""
        running = self._task.is_running
        for event in self._task.events():
            self._take(event)
        if not running:
            self._timer.stop()
