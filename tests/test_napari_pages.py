from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.napari_out import require_napari

pytest.importorskip("qtpy", reason="there are no pages without Qt", exc_type=Exception)
require_napari()


def test_the_pages_show_and_tell_what_people_do():
    """Qt runs in a process of its own, without a screen: pages draw no 3D."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
         str(Path(__file__).with_name("napari_pages.py"))],
        capture_output=True, text=True, timeout=550, check=False,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen", "PYTEST_ADDOPTS": ""},
    )  # fmt: skip
    said = done.stdout + done.stderr
    if "libGL" in said or "cannot open shared object" in said:
        pytest.skip("Qt cannot be loaded here")
    assert done.returncode == 0, said[-6000:]
