"""Icons: small pictures painted here, so that they look alike on every system and theme."""

from __future__ import annotations

from functools import lru_cache

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QBrush, QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap

from unetr_app.labels import Colour

SIZE = 32  # painted twice as large as shown
INK: Colour = (165, 171, 181)  # readable on dark and light themes, and on a selected row
FAINT: Colour = (150, 156, 166)

STATUS_COLOURS: dict[str, Colour] = {
    "unreviewed": (154, 162, 173),
    "editing": (86, 180, 233),
    "accepted": (38, 178, 122),
    "rejected": (224, 104, 34),
    "problem": (240, 200, 60),
}
"""From Okabe & Ito's palette, which colour-blind people can tell apart; shapes differ as well."""


def _canvas(colour: Colour, width: float = 3.0) -> tuple[QPixmap, QPainter]:
    pixmap = QPixmap(SIZE, SIZE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pen = QPen(QColor(*colour), width)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    return pixmap, painter


def _done(pixmap: QPixmap, painter: QPainter) -> QIcon:
    painter.end()
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)  # else Qt tints it in a selected row
    return icon


@lru_cache
def status_icon(status: str) -> QIcon:
    """Ring, half disc, disc with a tick, disc with a cross; a triangle for a problem."""
    colour = STATUS_COLOURS.get(status, STATUS_COLOURS["problem"])
    pixmap, painter = _canvas(colour)
    if status not in STATUS_COLOURS or status == "problem":
        painter.setBrush(QBrush(QColor(*colour)))
        painter.drawPolygon([QPointF(16, 5), QPointF(28, 27), QPointF(4, 27)])
        painter.setPen(QPen(QColor(35, 36, 43), 3.5))
        painter.drawLine(QPointF(16, 13), QPointF(16, 19))
        painter.drawPoint(QPointF(16, 24))
        return _done(pixmap, painter)
    disc = QRectF(5, 5, 22, 22)
    if status in ("accepted", "rejected"):
        painter.setBrush(QBrush(QColor(*colour)))
    painter.drawEllipse(disc)
    painter.setPen(QPen(QColor(255, 255, 255), 3.5))
    if status == "editing":
        painter.setBrush(QBrush(QColor(*colour)))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawPie(disc, 90 * 16, 180 * 16)
    elif status == "accepted":
        painter.drawPolyline([QPointF(10, 16), QPointF(14.5, 21), QPointF(22, 11.5)])
    elif status == "rejected":
        painter.drawLine(QPointF(11.5, 11.5), QPointF(20.5, 20.5))
        painter.drawLine(QPointF(20.5, 11.5), QPointF(11.5, 20.5))
    return _done(pixmap, painter)


@lru_cache
def flag_icon() -> QIcon:
    """A flag on a pole."""
    colour = STATUS_COLOURS["problem"]
    pixmap, painter = _canvas(colour)
    painter.drawLine(QPointF(8, 4), QPointF(8, 28))
    painter.setBrush(QBrush(QColor(*colour)))
    painter.drawPolygon([QPointF(8, 5), QPointF(26, 10), QPointF(8, 17)])
    return _done(pixmap, painter)


@lru_cache
def eye_icon(is_open: bool) -> QIcon:
    """An eye, or one that is crossed out."""
    pixmap, painter = _canvas(INK if is_open else FAINT, 2.6)
    path = QPainterPath(QPointF(3, 16))
    path.quadTo(QPointF(16, 2), QPointF(29, 16))
    path.quadTo(QPointF(16, 30), QPointF(3, 16))
    painter.drawPath(path)
    if is_open:
        painter.setBrush(QBrush(QColor(*INK)))
        painter.drawEllipse(QPointF(16, 16), 4, 4)
    else:
        painter.drawLine(QPointF(6, 27), QPointF(26, 5))
    return _done(pixmap, painter)


@lru_cache
def lock_icon(is_locked: bool) -> QIcon:
    """A padlock, shut or open."""
    colour = STATUS_COLOURS["problem"] if is_locked else FAINT
    pixmap, painter = _canvas(colour, 2.8)
    shackle = QPainterPath(QPointF(10, 15))
    shackle.lineTo(10, 11)
    shackle.arcTo(QRectF(10, 4, 12, 13), 180, -180 if is_locked else -140)
    if is_locked:
        shackle.lineTo(22, 15)
    painter.drawPath(shackle)
    if is_locked:
        painter.setBrush(QBrush(QColor(*colour)))
    painter.drawRoundedRect(QRectF(7, 15, 18, 13), 2, 2)
    return _done(pixmap, painter)


@lru_cache(maxsize=512)
def swatch_icon(colour: Colour) -> QIcon:
    """A square of a colour."""
    pixmap, painter = _canvas((235, 235, 235), 1.5)
    painter.setBrush(QBrush(QColor(*colour)))
    painter.drawRoundedRect(QRectF(4, 4, 24, 24), 4, 4)
    return _done(pixmap, painter)


@lru_cache
def current_icon() -> QIcon:
    """A triangle that points at what is open."""
    pixmap, painter = _canvas(STATUS_COLOURS["editing"])
    painter.setBrush(QBrush(QColor(*STATUS_COLOURS["editing"])))
    painter.drawPolygon([QPointF(9, 6), QPointF(25, 16), QPointF(9, 26)])
    return _done(pixmap, painter)
