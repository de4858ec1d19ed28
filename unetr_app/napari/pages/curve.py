"""Curve: a score per slice, painted, to click."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from unetr_app.labels import Colour
from unetr_app.napari.pages.qt import Signal

CURVE: Colour = (86, 180, 233)
CURRENT: Colour = (240, 228, 66)
CHANGED: Colour = (224, 104, 34)
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 34  # margins in pixels


class Curve(QWidget):
    """Score (up) over slice (right); the slice in sight as a line, changed slices as ticks.

    Slices are counted from 0 in signals, from 1 in words.
    """

    clicked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._scores: NDArray[np.float64] = np.zeros(0)
        self._changed: NDArray[np.bool_] = np.zeros(0, bool)
        self._current = 0
        self.setMinimumHeight(150)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Uncertainty of each slice")

    def show_scores(
        self, scores: NDArray[np.floating], current: int, changed: NDArray[np.bool_]
    ) -> None:
        """Show a curve.

        Args:
            scores: One for each slice; not finite where there is none.
            current: Slice in sight.
            changed: For each slice, was it changed? May be empty.
        """
        self._scores = np.asarray(scores, np.float64)
        self._changed = np.asarray(changed, bool)
        self._current = current
        self.update()

    def slice_at(self, x: float) -> int:
        """The slice under a pixel of the widget."""
        share = (x - _LEFT) / max(self.width() - _LEFT - _RIGHT, 1)
        return round(min(max(share, 0), 1) * max(len(self._scores) - 1, 0))

    def x_of(self, number: int) -> float:
        """The pixel of a slice."""
        share = number / max(len(self._scores) - 1, 1)
        return _LEFT + share * (self.width() - _LEFT - _RIGHT)

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Jump to the slice under the mouse."""
        if event.button() == Qt.MouseButton.LeftButton and len(self._scores):
            self.clicked.emit(self.slice_at(event.position().x()))

    def mouseMoveEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Follow the mouse while it is held."""
        found = self.slice_at(event.position().x())
        if event.buttons() & Qt.MouseButton.LeftButton and found != self._current:
            self.clicked.emit(found)

    def event(self, event: QEvent) -> bool:
        """Say slice and score under the mouse."""
        if event.type() == QEvent.Type.ToolTip and len(self._scores):
            found: Any = event
            n = self.slice_at(found.pos().x())
            QToolTip.showText(found.globalPos(), self._words(n), self)
            return True
        return super().event(event)

    def paintEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Paint curve, ticks and the slice in sight."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        field = QRectF(
            _LEFT, _TOP, self.width() - _LEFT - _RIGHT, self.height() - _TOP - _BOTTOM
        )  # fmt: skip
        painter.fillRect(field, QColor(128, 128, 128, 40))
        if not len(self._scores):
            return
        top = self._top()
        self._paint_axes(painter, field, top)
        self._paint_curve(painter, field, top)
        painter.setPen(QPen(QColor(*CHANGED), 2))
        for n in np.flatnonzero(self._changed[: len(self._scores)]):
            x = self.x_of(int(n))
            painter.drawLine(QPointF(x, field.bottom() + 1), QPointF(x, field.bottom() + 7))
        painter.setPen(QPen(QColor(*CURRENT), 2))
        x = self.x_of(self._current)
        painter.drawLine(QPointF(x, field.top() - 4), QPointF(x, field.bottom()))
        painter.end()

    def _top(self) -> float:
        finite = self._scores[np.isfinite(self._scores)]
        return float(finite.max()) if finite.size and finite.max() > 0 else 1.0

    def _paint_axes(self, painter: QPainter, field: QRectF, top: float) -> None:
        font = painter.font()
        font.setPointSizeF(8)
        painter.setFont(font)
        painter.setPen(self.palette().color(self.foregroundRole()))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        middle = Qt.AlignmentFlag.AlignCenter
        scale = ((0, "0"), (1, f"{top:.2g}")) if np.isfinite(self._scores).any() else ()
        for share, text in scale:
            y = field.bottom() - share * field.height()
            painter.drawText(QRectF(0, y - 8, _LEFT - 5, 16), right, text)
        below = QRectF(field.left(), field.bottom() + 9, field.width(), 18)
        painter.drawText(below, left, "1")
        painter.drawText(below, right, str(len(self._scores)))
        painter.drawText(below, middle, self._words(self._current))

    def _paint_curve(self, painter: QPainter, field: QRectF, top: float) -> None:
        points = [
            QPointF(self.x_of(n), field.bottom() - max(score, 0) / top * field.height())
            for n, score in enumerate(self._scores)
            if np.isfinite(score)
        ]
        if not points:
            return
        ends = [QPointF(points[-1].x(), field.bottom()), QPointF(points[0].x(), field.bottom())]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(*CURVE, 70))
        painter.drawPolygon(QPolygonF([*points, *ends]))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(*CURVE), 1.6))
        painter.drawPolyline(QPolygonF(points))

    def _words(self, n: int) -> str:
        if not 0 <= n < len(self._scores):
            return ""
        score = self._scores[n]
        said = f"slice {n + 1}: {score:.3f}" if np.isfinite(score) else f"slice {n + 1}: no score"
        changed = n < len(self._changed) and self._changed[n]
        return f"{said}, changed" if changed else said
