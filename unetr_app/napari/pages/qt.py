"""Qt: names that qtpy has at run time but does not tell type checkers of, from one place."""

from __future__ import annotations

from qtpy import QtCore, QtGui

Signal = QtCore.Signal  # pyright: ignore[reportPrivateImportUsage]
QAction = QtGui.QAction  # pyright: ignore[reportPrivateImportUsage]
QShortcut = QtGui.QShortcut  # pyright: ignore[reportPrivateImportUsage]
