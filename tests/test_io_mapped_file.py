"""A mapped file's memory is given back, and its content stays."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unetr_app.inference.memory_plan import held_bytes
from unetr_app.io.mapped_file import give_back


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can")
def test_memory_is_given_back_and_read_again(tmp_path: Path) -> None:
    kind = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, check=True)
    if kind.stdout.strip() in (b"tmpfs", b"ramfs"):
        pytest.skip("files of a file system in memory stay in memory")
    path = tmp_path / "weights of a network.bin"
    with path.open("wb") as file:
        file.write(np.arange(2**23, dtype=np.float64).tobytes())  # 64 MiB
        file.flush()
        os.fsync(file.fileno())
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    values = np.frombuffer(mapped, dtype=np.float64)
    assert values.sum() == 2**22 * (2**23 - 1)
    full = held_bytes()
    give_back(path)
    assert full - held_bytes() > 48 * 2**20
    assert values[12345] == 12345
    assert values.sum() == 2**22 * (2**23 - 1)


def test_a_file_that_is_not_mapped_is_no_matter(tmp_path: Path) -> None:
    held = held_bytes()
    give_back(tmp_path / "none.bin")
    assert abs(held_bytes() - held) < 16 * 2**20
