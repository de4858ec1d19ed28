"""Freed memory goes back, where the C library would keep it."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAGMENTED = """
import numpy as np
from unetr_app.inference.allocator import return_freed_memory
from unetr_app.inference.memory_plan import held_bytes
if {returned}:
    return_freed_memory()
del_first = np.ones(30 * 2**20, np.uint8)
del del_first  # by which glibc learns to keep blocks of that size
small, large = [], []
before = held_bytes()
for _ in range(64):
    large.append(np.ones(2 * 2**20, np.uint8))
    small.append(np.ones(2**14, np.uint8))
large.clear()
print(held_bytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell what is held")
def test_blocks_between_which_others_lie_are_returned() -> None:
    def kept(*, returned: bool) -> int:
        code = FRAGMENTED.format(returned=returned)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert kept(returned=True) < 16 * 2**20
    assert kept(returned=False) > 64 * 2**20
