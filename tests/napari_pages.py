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
pytest.importorskip("napari", reason="the theme is napari's")

import napari
from napari.resources._icons import _theme_path
from napari.utils.theme import get_theme, template
from qtpy.QtCore import QDir, QEvent, QPoint, Qt
from qtpy.QtGui import QImage, QKeySequence
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMainWindow, QPushButton, QWidget

from tests.page_rows import COMPARED, LABELS, STATISTICS, VERSIONS, cases
from unetr_app.napari.pages.panel import ReviewPanel
from unetr_app.napari.reviewing.keyboard import Keyboard
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.review.keys import KEYS

LEFT = Qt.MouseButton.LeftButton
PRESETS = [
    ("abdomen", 40.0, 400.0), ("lung", -600.0, 1500.0), ("bone", 500.0, 2000.0),
    ("brain", 40.0, 80.0), ("mediastinum", 50.0, 350.0), ("liver", 30.0, 150.0),
]  # fmt: skip


def dark_style():
    """What napari's windows look like, without its windows, which take long to import."""
    styles = sorted(Path(napari.__file__).parent.glob("_qt/qt_resources/styles/*.qss"))
    text = "".join(path.read_text() for path in styles)
    assert text
    return template(text, **get_theme("dark").to_rgb_dict())


@pytest.fixture(scope="session")
def app():
    made = QApplication.instance() or QApplication([])
    QDir.addSearchPath("theme_dark", str(_theme_path("dark")))
    made.setStyleSheet(dark_style())
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
    app.sendPostedEvents(None, QEvent.Type.DeferredDelete)


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
    return lines[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


PAGES = (
    "cases", "labels", "edit", "display", "uncertainty", "compare", "history", "export",
)  # fmt: skip


@pytest.mark.parametrize("size", [(360, 600), (520, 900)])
def test_every_page_fits_in_a_dock(panel, size):
    panel.resize(*size)
    panel.say("hippocampus_003 was read in 0.4 s")
    for name in PAGES:
        page = show(panel, getattr(panel, name))
        save(panel.grab(), f"{name}_{size[0]}")
        assert panel.width() == size[0]
        seen = [w for w in page.findChildren(QWidget) if w.isVisible() and w.parent() is page]
        assert seen
        for widget in seen:
            assert widget.geometry().right() <= page.width(), (name, widget)
        for made in page.findChildren(QPushButton):
            if made.isVisible() and made.text():
                room = made.width() - 2
                room -= 0 if made.icon().isNull() else made.iconSize().width() + 4
                needed = made.fontMetrics().horizontalAdvance(made.text())
                assert needed <= room, f"{made.text()!r} needs {needed} of {room} pixels"


def test_the_page_that_is_chosen_comes_to_the_front(panel):
    for name in PAGES:
        title = name.capitalize()
        made = next(
            b for b in panel.findChildren(QPushButton) if b.text() == title and b.parent() is panel
        )
        click(made)
        assert getattr(panel, name).isVisible()
        assert made.isChecked()


def test_the_notice_and_the_last_message_are_always_in_sight(panel):
    for name in PAGES:
        show(panel, getattr(panel, name))
        assert panel.notice.isVisible()
        assert panel.notice.text() == RESEARCH_NOTICE
    long = "The image was changed after it was segmented. " * 4
    panel.say(long, "error")
    QApplication.processEvents()
    save(panel.grab(), "message_error")
    picture = colours(panel.message.grab())
    assert (picture == (153, 18, 31)).all(axis=2).mean() > 0.3
    low = panel.message.height()
    assert panel.message.toolTip() == long
    click(panel.message)
    QApplication.processEvents()
    save(panel.grab(), "message_whole")
    assert panel.message.height() > 1.5 * low
    panel.say("done")
    QApplication.processEvents()
    assert panel.message.height() == low


def test_status_colours_and_the_open_case_are_in_the_table(panel):
    page = show(panel, panel.cases)
    picture = colours(page.table.viewport().grab())
    for colour in ((38, 178, 122), (224, 104, 34), (86, 180, 233), (240, 200, 60)):
        assert (picture == colour).all(axis=2).sum() > 4, colour
    assert page.progress.text() == "3 of 20 reviewed"
    assert page.table.chosen_key() == "hippocampus_003"


def test_a_case_is_opened_by_double_click_and_by_enter(panel):
    page = show(panel, panel.cases)
    opened = heard(page.opened)
    click_cell(page.table, 1, 2)
    assert opened == []
    click_cell(page.table, 2, 2, double=True)
    assert opened == ["hippocampus_002"]
    QTest.keyClick(page.table, Qt.Key.Key_Down)
    QTest.keyClick(page.table, Qt.Key.Key_Return)
    assert opened == ["hippocampus_002", "hippocampus_003"]


def test_each_button_asks_once(panel):
    page = show(panel, panel.cases)
    for widget, signal in (
        ("next", "next_wanted"), ("previous", "previous_wanted"), ("accept", "accepted"),
        ("edit", "edit_wanted"), ("reject", "rejected"), ("flag", "flag_toggled"),
    ):  # fmt: skip
        found = heard(getattr(page, signal))
        click(getattr(page, widget))
        assert found == [()], widget


def test_stars_grade_and_take_the_grade_away(panel):
    page = show(panel, panel.cases)
    graded = heard(page.graded)
    click(page.stars.buttons[3])
    page.show_rows([replace(c, grade=4) if c.case_id == "hippocampus_003" else c for c in cases()])
    assert [b.text() for b in page.stars.buttons] == ["★"] * 4 + ["☆"]
    save(panel.grab(), "cases_graded")
    click(page.stars.buttons[3])
    assert graded == [4, 0]


def test_a_comment_is_told_once_it_is_left_and_before_another_case_is_asked_for(panel):
    page = show(panel, panel.cases)
    order = []
    page.commented.connect(lambda text: order.append(text))
    page.next_wanted.connect(lambda: order.append("next"))
    page.focus_comment()
    QTest.keyClicks(page.comment, "nice, N and A 1")
    assert order == []
    QTest.keyClick(page.comment, Qt.Key.Key_Return)
    assert order == ["nice, N and A 1"]
    assert not page.comment.hasFocus()
    page.focus_comment()
    QTest.keyClicks(page.comment, "better")
    click(page.next)
    assert order == ["nice, N and A 1", "better", "next"]


def test_what_is_being_typed_outlives_news_of_other_cases(panel):
    page = show(panel, panel.cases)
    page.focus_comment()
    QTest.keyClicks(page.comment, "half a sen")
    page.show_rows([replace(c, status="accepted") for c in cases()])
    assert page.comment.text() == "half a sen"
    page.show_current("hippocampus_002")
    assert page.comment.text() == "motion"


def test_filters_arrange_the_list_and_keep_the_open_case(panel):
    page = show(panel, panel.cases)
    arranged = heard(page.arranged)
    click(page.status_buttons["accepted"])
    assert arranged[-1] == ["hippocampus_000", "hippocampus_001", "hippocampus_003"]
    click(page.flagged_only)
    assert arranged[-1] == page.shown_ids() == ["hippocampus_001", "hippocampus_003"]
    assert "2 of 20" in page.words.text()
    click(page.status_buttons["accepted"])
    click(page.flagged_only)
    page.filter.setFocus()
    QTest.keyClicks(page.filter, "BORDER")
    assert page.shown_ids() == ["hippocampus_002", "hippocampus_003"]
    page.show_current("hippocampus_002")
    assert page.shown_ids() == ["hippocampus_002"]


def test_a_header_sorts_with_cases_without_a_value_last(panel):
    page = show(panel, panel.cases)
    arranged = heard(page.arranged)
    header = page.table.horizontalHeader()
    column = [c.title for c in page.model.columns].index("Uncertainty")
    page.table.horizontalScrollBar().setValue(400)
    scores = {c.case_id: c.uncertainty for c in cases()}
    for descending in (False, True):
        at = QPoint(header.sectionViewportPosition(column) + 10, header.height() // 2)
        QTest.mouseClick(header.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)
        told = [scores[case_id] for case_id in arranged[-1]]
        assert told[-1] is None
        assert told[:-1] == sorted(told[:-1], reverse=descending)


def test_news_of_thousands_of_rows_is_quick_and_keeps_the_place(panel):
    page = show(panel, panel.cases)
    many = cases(5000)
    page.show_rows(many)
    page.table.sortByColumn(3, Qt.SortOrder.DescendingOrder)
    page.show_current("hippocampus_4000")
    place = page.table.verticalScrollBar().value()
    began = perf_counter()
    for status in ("accepted", "rejected"):
        many = [replace(c, status=status) if c.case_id == "hippocampus_017" else c for c in many]
        page.show_rows(many)
        QApplication.processEvents()
    assert perf_counter() - began < 1.5  # s; Qt's sorting proxy took over ten
    assert page.table.chosen_key() == "hippocampus_4000"
    assert page.table.verticalScrollBar().value() == place
    page.show_rows([*many, *(replace(c, case_id=f"new_{c.case_id}") for c in cases())])
    assert page.table.chosen_key() == "hippocampus_4000"
    assert page.table.verticalScrollBar().value() == place


def test_what_is_not_available_says_why(panel):
    page = show(panel, panel.cases)
    page.set_read_only("B. Lee has it open")
    for widget in (page.accept, page.edit, page.reject, page.flag, page.comment, page.stars):
        assert not widget.isEnabled()
        assert "B. Lee has it open" in widget.toolTip()
    assert "B. Lee has it open" in page.words.text()
    assert page.next.isEnabled()
    save(panel.grab(), "cases_read_only")
    page.set_read_only("")
    assert page.accept.isEnabled()
    assert page.accept.toolTip() == "Accept the segmentation (A)"
    page.show_current(None)
    assert "no case is open" in page.accept.toolTip()
    page.show_busy("Reading hippocampus_004 …")
    assert page.words.text() == "Reading hippocampus_004 …"


def test_eye_padlock_and_selection_of_labels(panel):
    page = show(panel, panel.labels)
    shown, locked, selected = heard(page.shown), heard(page.locked), heard(page.selected)
    click_cell(page.table, 0, 0)
    click_cell(page.table, 0, 0)
    click_cell(page.table, 2, 3)
    assert shown == [(1, False), (1, True)]
    assert locked == [(3, True)]
    assert selected == [1, 3]
    page.show_selected(6)
    assert selected == [1, 3]
    assert page.table.chosen_key() == 6


def test_solo_show_all_and_jump_go_by_the_selected_label(panel):
    page = show(panel, panel.labels)
    soloed, jumps, shown = heard(page.soloed), heard(page.jump_wanted), heard(page.shown)
    click(page.solo)
    click(page.jump)
    click_cell(page.table, 3, 0)
    click(page.all)
    assert soloed == [2, 0]
    assert jumps == [2]
    assert shown == [(4, False), (4, True)]


def test_a_colour_is_chosen_from_the_palette_and_shown(panel):
    page = show(panel, panel.labels)
    coloured = heard(page.coloured)
    menu = page.palette_menu(1)
    menu.actions()[5].trigger()
    assert coloured == [(1, (213, 94, 0))]
    picture = colours(page.table.viewport().grab())
    assert (picture == (213, 94, 0)).all(axis=2).sum() > 100  # liver's, besides the pancreas
    assert not (picture == (230, 159, 0)).all(axis=2).any()
    page.show_statistics(STATISTICS)
    assert not (colours(page.table.viewport().grab()) == (230, 159, 0)).all(axis=2).any()


def test_opacity_and_outline(panel):
    page = show(panel, panel.labels)
    opacity, contour = heard(page.opacity_changed), heard(page.contour_changed)
    page.opacity.setFocus()
    QTest.keyClick(page.opacity, Qt.Key.Key_Right)
    page.contour.setFocus()
    QTest.keyClick(page.contour, Qt.Key.Key_Up)
    assert opacity == [0.61]
    assert contour == [1]
    page.show_opacity(0.3)
    page.show_contour(0)
    assert (len(opacity), len(contour)) == (1, 1)


def test_tools_exclude_each_other(panel):
    page = show(panel, panel.edit)
    chosen = heard(page.tool_chosen)
    for name in ("erase", "erase_3d", "pan"):
        click(page.tools[name])
        assert [n for n, made in page.tools.items() if made.isChecked()] == [name]
    assert chosen == ["erase", "erase_3d", "pan"]
    page.show_tool("fill")
    assert len(chosen) == 3


def test_brush_and_slider_agree(panel):
    page = show(panel, panel.edit)
    told = heard(page.brush_changed)
    page.brush.setFocus()
    page.brush.selectAll()
    QTest.keyClicks(page.brush, "12,5")
    QTest.keyClick(page.brush, Qt.Key.Key_Return)
    assert told == [12.5]
    before = page.slider.value()
    page.show_brush(25)
    assert page.slider.value() > before
    page.slider.setFocus()
    QTest.keyClick(page.slider, Qt.Key.Key_PageUp)
    assert told[-1] > 25
    assert len(told) == 2


def test_operations_tell_the_label_and_their_number(panel):
    page = show(panel, panel.edit)
    told = heard(page.operation_wanted)
    page.operations.grow_by.setValue(3.5)
    page.operations.by.show_choice(7)
    page.operations.plane.show_choice("coronal")
    for made in page.operations.buttons.values():
        click(made)
    assert dict(told) == {
        "keep_largest": {"value": 2},
        "remove_islands": {"value": 2, "below_ml": 1.0},
        "fill_holes": {"value": 2},
        "grow": {"value": 2, "mm": 3.5},
        "shrink": {"value": 2, "mm": 2.0},
        "interpolate": {"value": 2, "plane": "coronal"},
        "replace": {"value": 2, "by": 7},
        "clear": {"value": 2},
    }
    chosen = heard(page.label_chosen)
    page.label.setFocus()
    QTest.keyClick(page.label, Qt.Key.Key_Down)
    assert chosen == [3]
    click(page.operations.buttons["clear"])
    assert told[-1] == ("clear", {"value": 3})


def test_undo_redo_and_save_say_what_they_would_do(panel):
    page = show(panel, panel.edit)
    assert page.undo.toolTip() == "Undo: grow 2 mm (Ctrl+Z)"
    assert "3 steps are in no version yet" in page.state.text()
    asked = heard(page.undo_wanted), heard(page.redo_wanted), heard(page.save_wanted)
    for made in (page.undo, page.redo, page.save):
        click(made)
    assert [len(one) for one in asked] == [1, 1, 1]
    page.show_history("", "", 0)
    assert page.state.text() == "Nothing to save."
    assert not any(made.isEnabled() for made in (page.undo, page.redo, page.save))
    page.show_history("brush", "", 1)
    assert page.undo.toolTip() == "Undo: brush (Ctrl+Z)"
    page.set_read_only("the case is locked by B. Lee")
    save(panel.grab(), "edit_read_only")
    assert page.tools["pan"].isEnabled()
    for made in (page.undo, page.brush, page.tools["brush"], *page.operations.buttons.values()):
        assert "locked by B. Lee" in made.toolTip()


def test_compare_forgets_the_pair_before(panel):
    page = show(panel, panel.compare)
    wanted, shown, files = (
        heard(page.compare_wanted), heard(page.difference_shown), heard(page.file_wanted)
    )  # fmt: skip
    click(page.compare)
    assert wanted == [("prediction", "version 1")]
    page.map.setFocus()
    QTest.keyClick(page.map, Qt.Key.Key_Space)
    assert shown == [True]
    page.second.setFocus()
    QTest.keyClick(page.second, Qt.Key.Key_Down)
    assert page.model.rowCount() == 0
    assert shown == [True, False]
    click(page.compare)
    assert wanted[-1] == ("prediction", "current edit")
    click(page.open_file)
    assert files == [()]
    page.show_choices(["prediction"])
    assert not page.compare.isEnabled()
    assert "only one segmentation" in page.compare.toolTip()


def test_a_click_on_the_curve_goes_to_the_slice(panel):
    page = show(panel, panel.uncertainty)
    wanted = heard(page.slice_wanted)
    for number in (0, 61, 95):
        at = QPoint(round(page.curve.x_of(number)), 60)
        QTest.mouseClick(page.curve, LEFT, Qt.KeyboardModifier.NoModifier, at)
    assert wanted == [0, 61, 95]
    picture = colours(page.curve.grab())
    yellow = np.argwhere((picture == (240, 228, 66)).all(axis=2))
    assert abs(yellow[:, 1].mean() - page.curve.x_of(40)) < 1.5
    orange = np.argwhere((picture == (224, 104, 34)).all(axis=2))
    assert orange[:, 1].min() >= page.curve.x_of(24) - 2
    assert orange[:, 1].max() <= page.curve.x_of(61) + 2


def test_uncertainty_asks_and_says_where_there_is_no_map(panel):
    page = show(panel, panel.uncertainty)
    asked = heard(page.next_uncertain), heard(page.next_changed), heard(page.plane_chosen)
    click(page.uncertain)
    click(page.changed)
    click(page.planes["coronal"])
    assert asked == ([()], [()], ["coronal"])
    page.show_missing("This bundle gives no uncertainty.")
    assert page.words.text() == "This bundle gives no uncertainty."
    assert not page.uncertain.isEnabled()
    page.show_scores("sagittal", None, 2, np.array([False, True, False]))
    assert page.words.text() == "This bundle gives no uncertainty."
    assert page.changed.isEnabled()
    assert not page.map.isEnabled()
    save(panel.grab(), "uncertainty_missing")


def test_windows_conventions_and_images(panel):
    page = show(panel, panel.display)
    presets, windows = heard(page.preset_chosen), heard(page.window_chosen)
    conventions, images = heard(page.convention_chosen), heard(page.image_chosen)
    lung = next(b for b in page.findChildren(QPushButton) if b.text() == "Lung")
    for made in (lung, page.own, page.whole):
        click(made)
    assert presets == ["lung", "own", "whole"]
    page.show_window(0.25, 0.125)
    assert windows == []
    assert page.width_.text() == "0.125"
    page.level.setFocus()
    page.level.selectAll()
    QTest.keyClicks(page.level, "-600")
    QTest.keyClick(page.level, Qt.Key.Key_Return)
    assert windows == [(-600.0, 0.125)]
    QTest.mouseClick(
        page.conventions["neurological"], LEFT, Qt.KeyboardModifier.NoModifier, QPoint(8, 8)
    )
    assert conventions == ["neurological"]
    page.image.setFocus()
    QTest.keyClick(page.image, Qt.Key.Key_Down)
    assert images == ["T2"]


def test_export_asks_for_what_is_ticked_and_available(panel, tmp_path):
    page = show(panel, panel.export)
    asked = heard(page.export_wanted)
    assert not page.export.isEnabled()
    for kind in ("nifti", "dicom_seg", "training_set"):
        at = QPoint(8, page.kinds[kind].height() // 2)
        QTest.mouseClick(page.kinds[kind], LEFT, Qt.KeyboardModifier.NoModifier, at)
    assert "no DICOM series" in page.kinds["dicom_seg"].toolTip()
    assert page.words.text() == "Choose a folder."
    page.folder.setFocus()
    QTest.keyClicks(page.folder, str(tmp_path))
    QTest.keyClick(page.folder, Qt.Key.Key_Return)
    click(page.export)
    wanted = {"kinds": ["nifti", "training_set"], "all_accepted": False, "folder": str(tmp_path)}
    assert asked == [wanted]
    page.show_progress(1, 4)
    assert page.progress.isVisible()
    assert "an export is running" in page.export.toolTip()
    page.show_result("4 files were written.")
    assert not page.progress.isVisible()
    assert page.open_folder.isVisible()
    assert page.export.isEnabled()
    save(panel.grab(), "export_done")


def test_going_back_is_for_older_versions(panel):
    page = show(panel, panel.history)
    shown, restored = heard(page.shown), heard(page.restored)
    assert not page.restore.isEnabled()
    click_cell(page.table, 0, 0)
    assert "newest" in page.restore.toolTip()
    click(page.show_)
    click_cell(page.table, 2, 0)
    click(page.restore)
    assert (shown, restored) == ([2], [0])
    page.show_log(["2026-11-22 09:14 A. Meier saved version 1"])
    save(panel.grab(), "history_log")
    page.set_read_only("B. Lee has it open")
    assert "B. Lee" in page.restore.toolTip()


@pytest.fixture
def window(panel):
    """A window with a menu entry that has our key, and all keys of the review."""
    made = QMainWindow()
    made.setCentralWidget(panel)
    entry = made.menuBar().addMenu("File").addAction("Save selected layers")
    entry.setShortcut(QKeySequence("Ctrl+S"))
    made.pressed = []
    made.entry = entry
    entry.triggered.connect(lambda: made.pressed.append("entry"))
    made.keyboard = Keyboard(
        made,
        {
            spelt: (lambda a=key.action: made.pressed.append(a))
            for key in KEYS
            for spelt in key.keys
        },
    )
    made.show()
    made.activateWindow()
    QTest.qWaitForWindowActive(made)
    yield made
    made.keyboard.release()
    made.takeCentralWidget()
    made.close()


def press(window, text):
    combination = QKeySequence(text)[0]
    QTest.keyClick(
        QApplication.focusWidget() or window, combination.key(), combination.keyboardModifiers()
    )


def test_every_key_is_heard_wherever_the_focus_is_but_in_a_text_field(panel, window):
    places = [
        (panel.cases, panel.cases.table), (panel.cases, panel.cases.next),
        (panel.edit, panel.edit.label), (panel.edit, panel.edit.slider),
        (panel.display, panel.display.crosshair),
    ]  # fmt: skip
    for page, widget in places:
        show(panel, page)
        widget.setFocus()
        assert widget.hasFocus()
        for key in KEYS:
            for text in key.keys:
                window.pressed.clear()
                press(window, text)
                assert window.pressed == [key.action], (widget, text)


def test_a_field_for_numbers_takes_digits_only_and_a_text_field_what_is_typed(panel, window):
    show(panel, panel.edit)
    panel.edit.brush.setFocus()
    for text in ("N", "A", "[", "Ctrl+Z", "Ctrl+S", "U"):
        press(window, text)
    press(window, "1")
    assert window.pressed == [
        "next_case", "accept", "smaller_brush", "undo", "save_version", "next_uncertain",
    ]  # fmt: skip
    window.pressed.clear()
    show(panel, panel.cases)
    panel.cases.focus_comment()
    for text in ("N", "A", "1", "[", "Escape"):
        press(window, text)
    assert window.pressed == []
    assert panel.cases.comment.text().casefold() == "na1["
    press(window, "N")
    assert window.pressed == ["next_case"]


def test_menu_entries_get_their_keys_back(window):
    press(window, "Ctrl+S")
    window.keyboard.release()
    press(window, "Ctrl+S")
    assert window.pressed == ["save_version", "entry"]


def test_nothing_of_the_last_case_stays_on_the_pages(panel):
    panel.compare.show_difference(True)
    panel.show_case("hippocampus_004")
    assert panel.case.text() == "hippocampus_004"
    assert panel.compare.model.rowCount() == panel.history.model.rowCount() == 0
    assert not panel.compare.map.isChecked()
    assert not panel.edit.undo.isEnabled()
    assert not panel.uncertainty.uncertain.isEnabled()
    values = [c.title for c in panel.labels.model.columns].index("ml")
    texts = [
        panel.labels.model.index(n, values).data() for n in range(panel.labels.model.rowCount())
    ]
    assert texts == ["…"] * len(LABELS)
    panel.labels.show_statistics(STATISTICS)
    panel.labels.show_labels(LABELS)
    assert panel.labels.model.index(0, values).data() == "…"


def test_names_from_files_are_never_read_as_markup(panel):
    panel.say("<b>case</b> & co", "warning")
    panel.show_case("<i>x</i>")
    show(panel, panel.cases)
    assert panel.message.text() == "<b>case</b> & co"
    assert panel.message.textFormat() == panel.case.textFormat() == Qt.TextFormat.PlainText
