"""Mapped file: pages of a file that this process has mapped, given back to the system."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_PAGEOUT = 21  # MADV_PAGEOUT of Linux 5.4, madvise(2)
_MAPS = Path("/proc/self/maps")


def give_back(path: Path) -> None:
    """Have the system take back the memory of a mapped file; what is needed again is read again.

    OpenVINO maps a file of weights, and keeps most of them a second time in the form that it
    computes with. Elsewhere than on Linux this does nothing.

    Args:
        path: Of the file.
    """
    try:
        lines = _MAPS.read_text(encoding="utf-8", errors="replace").splitlines()
        advise = ctypes.CDLL(None, use_errno=True).madvise
    except (OSError, AttributeError, TypeError):  # no Linux
        return
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    name = os.path.realpath(path)
    for line in lines:
        # such as "7f4db1e00000-7f4dc7fce000 r--s 00000000 fe:00 16042061    /folder/network.bin"
        if line.endswith(f" {name}"):
            first, last = (int(place, 16) for place in line.split(maxsplit=1)[0].split("-"))
            advise(first, last - first, _PAGEOUT)  # no matter if the system does not want to
