"""Keyboard: the keys of a review, ahead of napari's own while its window is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QLineEdit,
    QMenu,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

_WRITTEN_IN = (QLineEdit, QPlainTextEdit, QTextEdit)
_OF_NUMBERS = "0123456789.,+-"
_KEY_EVENTS = (QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress)


class Keyboard(QObject):
    """Sends keys to actions, wherever in a window they are pressed.

    napari's bindings and the shortcuts of its menus do not see these keys. Keys typed into a field
    of text, a menu or a dialog are left alone.

    Args:
        window: The main window.
        actions: What each key does; keys in Qt's portable spelling, as in ``"Ctrl+Z"``.
        repeated: Keys that act again and again while they are held.
    """

    def __init__(
        self,
        window: QWidget,
        actions: Mapping[str, Callable[[], None]],
        repeated: frozenset[str] = frozenset(),
    ):
        super().__init__()
        spell = QKeySequence.SequenceFormat.PortableText
        self._actions = {QKeySequence(key).toString(spell): act for key, act in actions.items()}
        self._repeated = {QKeySequence(key).toString(spell) for key in repeated}
        self._window = window
        _application().installEventFilter(self)

    def release(self) -> None:
        """Let napari have its keys back."""
        _application().removeEventFilter(self)
        self._actions = {}

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """See every event first; Qt calls it."""
        if event.type() not in _KEY_EVENTS or not isinstance(event, QKeyEvent):
            return False
        if not isinstance(watched, QWidget) or not self._is_ours(watched, event.text()):
            return False
        name = QKeySequence(event.keyCombination()).toString(
            QKeySequence.SequenceFormat.PortableText
        )
        action = self._actions.get(name)
        if action is None:
            return False
        event.accept()
        if event.type() == QEvent.Type.KeyPress and (
            not event.isAutoRepeat() or name in self._repeated
        ):
            action()
        return True

    def _is_ours(self, widget: QWidget, text: str) -> bool:
        """Is it a widget of the window in which this text is not being written?"""
        if isinstance(widget, QAbstractSpinBox) or isinstance(widget.parent(), QAbstractSpinBox):
            if text and text in _OF_NUMBERS:
                return False
        elif isinstance(widget, _WRITTEN_IN):
            return False
        if isinstance(widget, QComboBox) and widget.isEditable():
            return False
        if QApplication.activePopupWidget() is not None:
            return False
        parent: QWidget | None = widget
        while parent is not None:
            if isinstance(parent, QDialog | QMenu):
                return False
            if parent is self._window:
                return True
            parent = parent.parentWidget()
        return False


def _application() -> QApplication:
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    return application
