"""The page of keys says what the table of keys says, and docs/review.md names what there is."""

from __future__ import annotations

import re
from pathlib import Path

from unetr_app.review.keys import KEYS, key_map


def test_the_page_of_keys_is_the_table_of_keys(repository: Path) -> None:
    page = (repository / "docs" / "review_keys.md").read_text(encoding="utf-8")
    assert key_map() in page


def test_keys_and_pictures_of_the_review_page_are_there(repository: Path) -> None:
    page = (repository / "docs" / "review.md").read_text(encoding="utf-8")
    known = {spelt for key in KEYS for spelt in key.keys} | {"Shift", "Ctrl"}
    named = set(re.findall(r"\*\*([A-Z1-5](?:trl\+[A-Z]|hift\+[A-Z]|hift|trl)?)\*\*", page))
    assert len(named) > 15
    assert named <= known
    pictures = re.findall(r"\(pictures/(\w+\.png)\)", page)
    assert pictures
    assert all((repository / "docs" / "pictures" / name).is_file() for name in pictures)
