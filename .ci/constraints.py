"""Pin every package of this environment in a constraints file.

    .venv/bin/python .ci/constraints.py constraints.txt

Local version suffixes (``+cpu``) are left out, so that the pins hold for every build of a release.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

HEADER = "# Versions that are tested together. Made by `make constraints`; do not edit.\n"
LEFT_OUT = {"unetr-app", "pip", "setuptools", "wheel"}


def pins() -> list[str]:
    """One ``name==version`` a package, sorted by normalised name."""
    found: dict[str, str] = {}
    for package in distributions():
        name = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
        if name not in LEFT_OUT:
            found[name] = package.version.split("+")[0]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def main() -> int:
    """Write the file named on the command line."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "constraints.txt")
    target.write_text(HEADER + "".join(f"{pin}\n" for pin in pins()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
