"""The largest memory that this process has held."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def peak_memory_mib() -> float:
    """Largest resident size of this process so far in MiB; 0 where the system does not tell."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return round(int(found.group(1)) / 1024, 1)
    except OSError:
        pass
    if sys.platform == "win32":
        return 0.0
    import resource  # not on Windows

    unit = 1024**2 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
