"""Run by test_napari_pages in a process of its own: all pages, shown, clicked and typed into.

Pictures of the pages go to the folder in ``UNETR_PAGES_PICTURES``, where it is set.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

pytest.importorskip("qtpy", reason="there are no pages without Qt", exc_type=Exception)

from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QImage, QKeySequence, QShortcut
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

from tests.page_rows import BORDER, COMPARED, LABELS, STATISTICS, VERSIONS, cases
from unetr_app.napari.pages.panel import ReviewPanel
from unetr_app.notice import RESEARCH_NOTICE

LEFT = Qt.MouseButton.LeftButton
PRESETS = [
    ("abdomen", 40.0, 400.0), ("lung", -600.0, 1500.0), ("bone", 500.0, 2000.0),
    ("brain", 40.0, 80.0), ("mediastinum", 50.0, 350.0), ("liver", 30.0, 150.0),
]  # fmt: skip


@pytest.fixture(scope="session")
def app():
    made = QApplication.instance() or QApplication([])
    napari = pytest.importorskip("napari._qt.qt_resources", reason="the theme is napari's")
    from napari._qt.qt_event_loop import _theme_path
    from qtpy.QtCore import QDir

    QDir.addSearchPath("theme_dark", str(_theme_path("dark")))
    made.setStyleSheet(napari.get_stylesheet("dark"))
    return made


@pytest.fixture
def panel(app):
    made = ReviewPanel()
    made.resize(360, 600)
    fill(made)
    made.show()
    made.activateWindow()
    QTest.qWaitForWindowExposed(made)
    yield made
    made.close()
    made.deleteLater()
    app.processEvents()


def fill(panel):
    panel.show_case("hippocampus_003")
    panel.show_reviewer("A. Meier")
    panel.cases.show_rows(cases())
    panel.cases.show_current("hippocampus_003")
    panel.labels.show_labels(LABELS)
    panel.labels.show_statistics(STATISTICS)
    panel.labels.show_selected(2)
    panel.edit.show_labels(LABELS)
    panel.edit.show_label(2)
    panel.edit.show_tool("brush")
    panel.edit.show_brush(8.0)
    panel.edit.show_history("grow 2 mm", "brush", 3)
    panel.compare.show_choices(["prediction", "version 1", "current edit"])
    panel.compare.show_rows(COMPARED)
    x = np.arange(96)
    scores = 0.05 + 0.2 * np.exp(-((x - 60) ** 2) / 50) + 0.12 * np.exp(-((x - 25) ** 2) / 90)
    panel.uncertainty.show_scores("axial", scores, 40, np.isin(x, (24, 25, 26, 61)))
    panel.display.show_images(["T1", "T2"])
    panel.display.show_presets(PRESETS)
    panel.display.show_window(40, 400)
    panel.display.show_own("")
    panel.export.show_available(
        {"nifti": "", "report": "", "dicom_seg": "the image is no DICOM series", "training_set": ""}
    )
    panel.history.show_versions(VERSIONS)


def show(panel, page):
    panel.show_page(page)
    QApplication.processEvents()
    return page


def heard(signal):
    said = []
    signal.connect(lambda *what: said.append(what[0] if len(what) == 1 else what))
    return said


def click(widget):
    assert widget.isVisible(), "what cannot be seen cannot be clicked"
    QTest.mouseClick(widget, LEFT)


def click_cell(table, place, column, double=False):
    at = table.visualRect(table.rows.index(place, column)).center()
    QTest.mouseClick(table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)
    if double:
        QTest.mouseDClick(table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)


def save(picture, name):
    folder = os.environ.get("UNETR_PAGES_PICTURES")
    if folder:
        picture.save(str(Path(folder) / f"{name}.png"))


def colours(picture):
    """The colours of a picture: (rows, columns, 3)."""
    image = picture.toImage().convertToFormat(QImage.Format.Format_RGB888)
    lines = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), -1)
    return lines[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)


PAGES = (
    "cases", "labels", "edit", "display", "uncertainty", "compare", "history", "export",
)  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("size", [(360, 600), (520, 900)])
def test_a_page_fits_in_a_narrow_dock(panel, name, size):
    panel.resize(*size)
    page = show(panel, getattr(panel, name))
    panel.say("hippocampus_003 was read in 0.4 s")
    save(panel.grab(), f"{name}_{size[0]}")
    assert panel.width() == size[0]
    seen = [w for w in page.findChildren(QWidget) if w.isVisible() and w.parent() is page]
    assert seen
    for widget in seen:
        assert widget.geometry().right() <= page.width(), widget
    for made in page.findChildren(QPushButton):
        if made.isVisible() and made.text():
            room = made.width() - (made.iconSize().width() if not made.icon().isNull() else 0)
            needed = made.fontMetrics().horizontalAdvance(made.text())
            assert needed <= room, f"{made.text()!r} needs {needed} of {room} pixels"
