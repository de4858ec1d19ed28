"""Parts: the small widgets that all pages are made of.

Keys that mean something in a review must reach it wherever the focus is: fields for numbers take
digits only, lists take no letters, and only a text field takes them all. A wheel that scrolls a
page changes no value on its way.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QLocale, QSize, Qt
from qtpy.QtGui import QFontMetrics, QKeyEvent
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from unetr_app.napari.pages.qt import Signal
from unetr_app.review.keys import find_key, tooltip

_EDITING_KEYS = "ACVX"  # with Ctrl: select all, copy, paste, cut
_LEAVING = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape)


def button(text: str, action: str = "", tip: str = "", *, checkable: bool = False) -> QPushButton:
    """A button; one with an action shows its key, in its text and its tooltip."""
    made = QPushButton(f"{text}  {find_key(action).keys[0]}" if action else text)
    made.setToolTip(tooltip(action, tip) if action else tip)
    made.setAccessibleName(text)
    made.setCheckable(checkable)
    made.setMinimumWidth(1)
    explain(made)
    return made


def explain(widget: QWidget, reason: str = "") -> None:
    """Disable a widget with the reason as its tooltip; an empty reason enables it again."""
    usual = widget.property("usual tip")
    if usual is None:
        usual = widget.toolTip()
        widget.setProperty("usual tip", usual)
    widget.setToolTip(f"Not available: {reason}" if reason else str(usual))
    widget.setEnabled(not reason)


def heading(text: str) -> QLabel:
    """What a group of widgets is about."""
    made = QLabel(text)
    made.setStyleSheet("QLabel { font-weight: bold; padding-top: 4px; }")
    return made


def hint(text: str = "") -> QLabel:
    """Quieter words that explain."""
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setWordWrap(True)
    made.setStyleSheet("QLabel { font-size: 9pt; color: #8d96a3; }")
    made.setMinimumWidth(1)
    made.setVisible(bool(text))
    return made


def answer() -> QLabel:
    """Words on what became of something; none yet."""
    made = hint()
    made.setStyleSheet("")
    return made


def rule() -> QFrame:
    """A thin line between groups."""
    made = QFrame()
    made.setFixedHeight(1)
    made.setStyleSheet("QFrame { background-color: #596270; }")
    return made


def row(*widgets: QWidget, stretch: int = -1) -> QHBoxLayout:
    """Widgets side by side; the one numbered takes the room that is left."""
    made = QHBoxLayout()
    made.setContentsMargins(0, 0, 0, 0)
    made.setSpacing(4)
    for n, widget in enumerate(widgets):
        made.addWidget(widget, 1 if n == stretch else 0)
    return made


def page_layout(page: QWidget) -> QVBoxLayout:
    """The layout of a page: from top to bottom."""
    made = QVBoxLayout(page)
    made.setContentsMargins(6, 6, 6, 6)
    made.setSpacing(5)
    return made


def show_words(label: QLabel, words: str) -> None:
    """Show words, or no label where there are none."""
    label.setText(words)
    label.setVisible(bool(words))


class ElidedLabel(QLabel):
    """One line that ends with dots where it is too long; the tooltip has it whole."""

    clicked = Signal()

    def __init__(self, text: str = ""):
        super().__init__()
        self._whole = ""
        self._is_whole = False
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.show_text(text)

    def show_text(self, text: str) -> None:
        """Show these words."""
        self._whole = " ".join(text.split())
        self.setToolTip(text)
        self._fit()

    def whole_text(self) -> str:
        """The words, not shortened."""
        return self._whole

    def is_whole(self) -> bool:
        """Is it in as many lines as it needs?"""
        return self._is_whole

    def show_whole(self, is_whole: bool) -> None:
        """Show all words in several lines, or one line."""
        self._is_whole = is_whole
        self.setWordWrap(is_whole)
        high = QSizePolicy.Policy.Minimum if is_whole else QSizePolicy.Policy.Fixed
        self.setSizePolicy(QSizePolicy.Policy.Ignored, high)
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Shorten anew."""
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Shorten anew in another font."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Tell of a click."""
        self.clicked.emit()
        super().mousePressEvent(event)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Any width will do."""
        return QSize(1, super().minimumSizeHint().height())

    def _fit(self) -> None:
        if self._is_whole:
            self.setText(self._whole)
            return
        room = max(self.contentsRect().width() - 2, 1)
        metrics = QFontMetrics(self.font())
        self.setText(metrics.elidedText(self._whole, Qt.TextElideMode.ElideRight, room))


def is_for_numbers(event: QKeyEvent) -> bool:
    """Is a key one that a field for numbers needs?"""
    if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
        return event.key() in [ord(letter) for letter in _EDITING_KEYS]
    return not event.text().isprintable() or event.text() in "0123456789.,-+"


class NumberBox(QDoubleSpinBox):
    """A number with its unit; Enter and Escape leave it."""

    def __init__(self, low: float, high: float, value: float, unit: str = "", *, places: int = 1):
        super().__init__()
        self.setLocale(QLocale.c())
        self.setDecimals(places)
        self.setRange(low, high)
        self.setValue(value)
        self.setSingleStep(10.0**-places if places else 1.0)
        self.setSuffix(f" {unit}" if unit else "")
        self.setKeyboardTracking(False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)

    def event(self, event: QEvent) -> bool:
        """Leave the review's keys to the review."""
        override = event.type() == QEvent.Type.ShortcutOverride
        if override and isinstance(event, QKeyEvent) and not is_for_numbers(event):
            event.ignore()
            return False
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Take digits; pass the rest on."""
        if not is_for_numbers(event):
            event.ignore()
            return
        if event.text() == ",":  # the decimal point of half of Europe
            event = QKeyEvent(event.type(), Qt.Key.Key_Period, event.modifiers(), ".")
        super().keyPressEvent(event)
        if event.key() in _LEAVING:
            self.editingFinished.emit()  # Qt says so only where the window is the active one
            self.clearFocus()

    def wheelEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Scroll the page unless the field is in use."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        """The number without needless zeros."""
        text = f"{value:.{self.decimals()}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text

    def show_value(self, value: float) -> None:
        """Show a number and emit nothing."""
        blocked = self.blockSignals(True)
        self.setValue(value)
        self.blockSignals(blocked)


class Chooser(QComboBox):
    """A list to choose one from; letters go to the review."""

    def __init__(self, tip: str = ""):
        super().__init__()
        self.setToolTip(tip)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)
        explain(self)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Take arrows and Enter; pass letters and digits on."""
        text = event.text()
        if text and text.isprintable() and text != " ":
            event.ignore()
        else:
            super().keyPressEvent(event)

    def wheelEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Scroll the page."""
        event.ignore()

    def show_items(self, items: list[tuple[str, Any]]) -> None:
        """Offer words with what they stand for; the choice stays if it is still there."""
        blocked = self.blockSignals(True)
        chosen = self.currentData()
        self.clear()
        for words, data in items:
            self.addItem(words, data)
        self.show_choice(chosen)
        self.blockSignals(blocked)

    def show_choice(self, data: Any) -> None:
        """Show what is chosen and emit nothing."""
        blocked = self.blockSignals(True)
        for n in range(self.count()):
            if self.itemData(n) == data:
                self.setCurrentIndex(n)
        self.blockSignals(blocked)


class Slider(QSlider):
    """A horizontal slider that the wheel leaves alone."""

    def __init__(self, low: int, high: int, value: int, tip: str = ""):
        super().__init__(Qt.Orientation.Horizontal)
        self.setRange(low, high)
        self.setValue(value)
        self.setToolTip(tip)
        self.setMinimumWidth(60)
        explain(self)

    def wheelEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Scroll the page."""
        event.ignore()

    def show_value(self, value: int) -> None:
        """Show a value and emit nothing."""
        blocked = self.blockSignals(True)
        self.setValue(value)
        self.blockSignals(blocked)


class TextField(QLineEdit):
    """A line of text; Enter and Escape leave it, so that keys mean the review's again."""

    def __init__(self, placeholder: str, tip: str = ""):
        super().__init__()
        self.setPlaceholderText(placeholder)
        self.setToolTip(tip)
        self.setMinimumWidth(1)
        explain(self)

    def event(self, event: QEvent) -> bool:
        """Take Enter and Escape, besides what is typed, before a shortcut gets them."""
        override = event.type() == QEvent.Type.ShortcutOverride
        if override and isinstance(event, QKeyEvent) and event.key() in _LEAVING:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Enter and Escape leave the field."""
        if event.key() in _LEAVING:
            self.editingFinished.emit()  # Qt says so only where the window is the active one
            self.clearFocus()
            event.accept()
        else:
            super().keyPressEvent(event)
