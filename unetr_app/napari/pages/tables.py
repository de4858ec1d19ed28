"""Tables: rows of any objects in columns, sorted and filtered quickly, their place kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from qtpy.QtGui import QFont, QIcon, QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from unetr_app.napari.pages.qt import Signal

Index = QModelIndex | QPersistentModelIndex
Role = Qt.ItemDataRole
_NO_INDEX = QModelIndex()


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        title: Words in its header; short.
        text: What it shows of a row.
        order: What it is sorted by; None is last. The text where absent.
        tip: Tooltip of the header.
        row_tip: Tooltip of a cell; the text where absent.
        icon: Picture before the text.
        is_number: Set to the right?
        width: Pixels that it begins with.
        takes_room: Does it take the room that the others leave? At most one does.
    """

    title: str
    text: Callable[[Any], str]
    order: Callable[[Any], Any] | None = None
    tip: str = ""
    row_tip: Callable[[Any], str] | None = None
    icon: Callable[[Any], QIcon | None] | None = None
    is_number: bool = False
    width: int = 80
    takes_room: bool = False

    def place(self, row: Any) -> Any:
        """What to sort a row by; None where it has no value."""
        return self.order(row) if self.order else self.text(row).casefold()


class RowsModel(QAbstractTableModel):
    """Rows that are shown, in their order.

    Sorting and filtering is done here, in one pass over the rows: Qt's own proxy asks for every
    comparison, which takes seconds for thousands of rows.

    Args:
        columns: What to show.
        key: What tells a row from the others.
    """

    arranged = Signal()

    def __init__(self, columns: Sequence[Column], key: Callable[[Any], Any]):
        super().__init__()
        self.columns = tuple(columns)
        self.key = key
        self._all: list[Any] = []
        self._shown: list[Any] = []
        self._wanted: Callable[[Any], bool] = lambda row: True
        self._sorted_by: tuple[int, bool] | None = None
        self._bold: Any = None

    def show_rows(self, rows: Sequence[Any]) -> None:
        """Show these rows under the present filter and order."""
        self._all = list(rows)
        self._arrange()

    def show_only(self, wanted: Callable[[Any], bool]) -> None:
        """Show rows that a question is true of."""
        self._wanted = wanted
        self._arrange()

    def show_bold(self, key: Any) -> None:
        """Set one row in bold: the one that is open."""
        self._bold = key
        self._changed()

    def shown(self) -> list[Any]:
        """The rows that are shown, in order."""
        return self._shown

    def row_at(self, row: int) -> Any:
        """The row at a place."""
        return self._shown[row]

    def place_of(self, key: Any) -> int:
        """Where the row with a key is shown; -1 where it is not."""
        return next((n for n, row in enumerate(self._shown) if self.key(row) == key), -1)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; a column below 0 brings back the order that rows came in."""
        descending = order == Qt.SortOrder.DescendingOrder
        self._sorted_by = (column, descending) if column >= 0 else None
        self._arrange()

    def rowCount(self, parent: Index = _NO_INDEX) -> int:  # noqa: N802 - Qt's name
        """Rows shown."""
        return 0 if parent.isValid() else len(self._shown)

    def columnCount(self, parent: Index = _NO_INDEX) -> int:  # noqa: N802 - Qt's name
        """Columns."""
        return 0 if parent.isValid() else len(self.columns)

    def data(self, index: Index, role: int = Role.DisplayRole) -> Any:
        """What a cell shows."""
        row, column = self._shown[index.row()], self.columns[index.column()]
        if role == Role.DisplayRole:
            return column.text(row)
        if role == Role.ToolTipRole:
            return (column.row_tip or column.text)(row)
        if role == Role.DecorationRole:
            return column.icon(row) if column.icon else None
        if role == Role.TextAlignmentRole and column.is_number:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Role.FontRole and self._bold is not None and self.key(row) == self._bold:
            font = QFont()
            font.setBold(True)
            return font
        return None

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = Role.DisplayRole
    ) -> Any:
        """What a header shows."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Role.TextAlignmentRole and self.columns[section].is_number:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Role.DisplayRole:
            return self.columns[section].title
        if role == Role.ToolTipRole:
            return self.columns[section].tip or self.columns[section].title
        return None

    def _arrange(self) -> None:
        shown = [row for row in self._all if self._wanted(row)]
        if self._sorted_by is not None:
            number, descending = self._sorted_by
            shown = _sorted(shown, self.columns[number], descending)
        if [self.key(row) for row in shown] == [self.key(row) for row in self._shown]:
            self._shown = shown
            self._changed()
            return
        self.beginResetModel()
        self._shown = shown
        self.endResetModel()
        self.arranged.emit()

    def _changed(self) -> None:
        if self._shown:
            last = self.index(len(self._shown) - 1, len(self.columns) - 1)
            self.dataChanged.emit(self.index(0, 0), last)


def _sorted(rows: list[Any], column: Column, descending: bool) -> list[Any]:
    """Rows in the order of a column; those without a value come last either way."""
    there = [row for row in rows if column.place(row) is not None]
    there.sort(key=column.place, reverse=descending)
    return there + [row for row in rows if column.place(row) is None]


class Table(QTableView):
    """A table that keeps selection and scroll when rows change; letters go to the review."""

    chosen = Signal(object)  # key of the row that the user went to
    activated_row = Signal(object)  # key of the row that was double-clicked or entered
    pressed_cell = Signal(object, int)  # key and column of a cell that was clicked

    def __init__(self, model: RowsModel, *, sortable: bool = True):
        super().__init__()
        self.setModel(model)
        self.rows = model
        self._kept: tuple[Any, int, int] = (None, 0, 0)
        self._is_moving = False
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setAlternatingRowColors(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMinimumHeight(96)
        self.setTabKeyNavigation(False)
        self.setStyleSheet(
            "QTableView::item { padding: 0px 3px; } QHeaderView::section { padding: 2px 3px; }"
        )
        self._dress_headers(sortable)
        model.modelAboutToBeReset.connect(self._keep)
        model.modelReset.connect(self._bring_back)
        self.selectionModel().currentRowChanged.connect(self._tell_chosen)
        self.clicked.connect(self._tell_pressed)
        self.doubleClicked.connect(self._tell_activated)

    def chosen_key(self) -> Any:
        """Key of the row that is selected; None where none is."""
        index = self.currentIndex()
        return self.rows.key(self.rows.row_at(index.row())) if index.isValid() else None

    def show_chosen(self, key: Any) -> None:
        """Select a row and bring it into sight, and emit nothing."""
        self._is_moving = True
        place = self.rows.place_of(key)
        if place < 0:
            self.clearSelection()
            self.setCurrentIndex(QModelIndex())
        else:
            sideways = self.horizontalScrollBar().value()
            self.selectRow(place)
            self.scrollTo(self.rows.index(place, 0))
            self.horizontalScrollBar().setValue(sideways)
        self._is_moving = False

    def fit_column(self, column: int, texts: Sequence[str], least: int, most: int) -> None:
        """Make a column as wide as its texts need, between two widths in pixels."""
        metrics = self.fontMetrics()
        longest = sorted(texts, key=len)[-20:]
        needed = max((metrics.horizontalAdvance(text) for text in longest), default=0) + 34
        self.setColumnWidth(column, min(max(needed, least), most))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Arrows move, Enter opens; letters and digits are passed on."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if self.currentIndex().isValid():
                self.activated_row.emit(self.chosen_key())
        elif event.text() and event.text().isprintable():
            event.ignore()
        else:
            super().keyPressEvent(event)

    def _dress_headers(self, sortable: bool) -> None:
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setMinimumSectionSize(22)
        header.setSectionsMovable(sortable)
        header.setStretchLastSection(not any(c.takes_room for c in self.rows.columns))
        for n, column in enumerate(self.rows.columns):
            self.setColumnWidth(n, column.width)
            if column.takes_room:
                header.setSectionResizeMode(n, QHeaderView.ResizeMode.Stretch)
        if sortable:
            header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
            header.setSortIndicatorClearable(True)
            self.setSortingEnabled(True)
        side = self.verticalHeader()
        side.setVisible(False)
        side.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        side.setDefaultSectionSize(24)

    def _keep(self) -> None:
        bars = self.verticalScrollBar().value(), self.horizontalScrollBar().value()
        self._kept = (self.chosen_key(), *bars)
        self._is_moving = True

    def _bring_back(self) -> None:
        key, down, right = self._kept
        place = self.rows.place_of(key) if key is not None else -1
        self._is_moving = True
        if place >= 0:
            self.selectRow(place)
        self.verticalScrollBar().setValue(down)
        self.horizontalScrollBar().setValue(right)
        self._is_moving = False

    def _tell_chosen(self, index: QModelIndex) -> None:
        if index.isValid() and not self._is_moving:
            self.chosen.emit(self.rows.key(self.rows.row_at(index.row())))

    def _tell_pressed(self, index: QModelIndex) -> None:
        self.pressed_cell.emit(self.rows.key(self.rows.row_at(index.row())), index.column())

    def _tell_activated(self, index: QModelIndex) -> None:
        self.activated_row.emit(self.rows.key(self.rows.row_at(index.row())))
