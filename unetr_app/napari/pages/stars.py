"""Stars: a grade from 1 to 5, to click; the keys 1 to 5 do the same."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QPushButton, QWidget

from unetr_app.napari.pages.parts import ElidedLabel, row
from unetr_app.napari.pages.qt import Signal
from unetr_app.review.keys import GRADES, tooltip

_STYLE = """
QPushButton { font-size: 14pt; padding: 0px; background: none; border: none; color: #f0c83c; }
QPushButton:hover { background: rgba(150, 150, 150, 60); }
QPushButton:disabled { color: #6e7580; }
"""


def _said(grade: int) -> str:
    return f" {GRADES[grade - 1].partition(':')[0]}" if grade else " none yet (1 to 5)"


class Stars(QWidget):
    """Five stars and what they mean. A click on the grade that is set takes it away (0)."""

    graded = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._grade = 0
        self.buttons = [self._star(n) for n in range(1, 6)]
        self.meaning = ElidedLabel()
        layout = row(QLabel("Grade"), *self.buttons, self.meaning, stretch=6)
        layout.setSpacing(2)
        self.setLayout(layout)
        self.show_grade(0)

    def show_grade(self, grade: int) -> None:
        """Show a grade, 0 for none."""
        self._grade = grade
        for n, made in enumerate(self.buttons, start=1):
            made.setText("★" if n <= grade else "☆")
        self.meaning.show_text(_said(grade))

    def _star(self, n: int) -> QPushButton:
        made = QPushButton("☆")
        made.setFixedWidth(26)
        made.setAccessibleName(f"Grade {n}")
        made.setToolTip(tooltip(f"grade_{n}") + "\nOnce more: no grade.")
        made.setStyleSheet(_STYLE)
        made.clicked.connect(lambda: self.graded.emit(0 if n == self._grade else n))
        return made
