"""Every test that docs/reliability.md names is there."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_test_of_the_table_exists(repository: Path) -> None:
    text = (repository / "docs" / "reliability.md").read_text(encoding="utf-8")
    checked = 0
    for row in text.splitlines():
        file = ""
        for name, test in re.findall(r"`((?:contracts/)?test_\w+\.py)?(?:::(test_\w+))?`", row):
            file = name or file
            if not file:
                continue
            source = (repository / "tests" / file).read_text(encoding="utf-8")
            assert not test or f"def {test}(" in source, (file, test)
            checked += 1
    assert checked > 50
