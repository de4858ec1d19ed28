"""Allocator: memory that is freed goes back to the system."""

from __future__ import annotations

import ctypes

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of mallopt(3)
_LARGE = 2**20  # bytes


def return_freed_memory() -> None:
    """Have the C library give large blocks back as soon as they are freed; glibc alone can.

    It would otherwise keep blocks of up to 32 MiB for later, between which others do not fit: a
    third of a GiB in a case of 256 x 256 x 256 voxels and 14 classes.
    """
    try:
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
    except (AttributeError, OSError, TypeError):  # another C library
        return
