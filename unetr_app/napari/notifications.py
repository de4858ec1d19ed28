"""Notifications: what the plugin tells people, through napari's own messages."""

from __future__ import annotations

import logging
import sys

from napari.utils import notifications

from unetr_app.errors import UnetrError
from unetr_app.notice import RESEARCH_NOTICE

_log = logging.getLogger(__name__)


def show_problem(problem: UnetrError) -> None:
    """Show cause and cure of an error, without a traceback."""
    notifications.show_error(str(problem))
    if not _someone_listens():
        _log.error("%s", problem)


def show_warning(message: str) -> None:
    """Show what the user should know though the work is done."""
    notifications.show_warning(message)
    if not _someone_listens():
        _log.warning("%s", message)


def show_info(message: str) -> None:
    """Show what may help."""
    notifications.show_info(message)


def show_notice() -> None:
    """Write the research-use notice on the canvas, where there is one and its text is free."""
    if "napari._qt.qt_main_window" not in sys.modules:
        return  # no window, and asking for one would import Qt
    from napari import current_viewer
    from napari.components.overlays import TextOverlay

    viewer = current_viewer()
    overlay = None if viewer is None else viewer.canvas.overlays.text
    if isinstance(overlay, TextOverlay) and not overlay.text:
        overlay.text = RESEARCH_NOTICE
        overlay.visible = True


def _someone_listens() -> bool:
    """Is a window showing notifications? In a script nobody does, and the log is the place."""
    return bool(notifications.notification_manager.notification_ready.callbacks)
