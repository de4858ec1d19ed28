"""Immortal None: keeps a fault of PySide6 from ending a long session on Python before 3.12.

PySide6 6.12.0 gives back references to None that it never took: about ten a turn of the event
loop, ninety a slice step, thousands a change of layers. Python 3.12 and later do not count them
(PEP 683). Before, the count reaches nought after some minutes of work, and the interpreter aborts
with "none_dealloc: deallocating None". So None's count is raised beyond any session's reach, once.
"""

from __future__ import annotations

import ctypes
import platform
import sys

_OUT_OF_REACH = 2**40
_ENOUGH = 2**39


def make_none_immortal() -> bool:
    """Do on an older CPython of 64 bits what a newer one does by itself; again does nothing.

    Returns:
        Whether None will outlast the session.
    """
    if sys.version_info >= (3, 12):
        return True
    if platform.python_implementation() != "CPython" or sys.maxsize < 2**32:
        return False
    if sys.getrefcount(None) < _ENOUGH:  # an object begins with its count (PyObject.ob_refcnt)
        ctypes.c_ssize_t.from_address(id(None)).value += _OUT_OF_REACH
    return True
