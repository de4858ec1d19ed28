"""Program: the review as a window of its own, as ``unetr review`` opens it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import napari

from unetr_app.napari.reviewing.settings import read_settings
from unetr_app.napari.reviewing.window import ReviewWindow


def open_window(
    path: Path, *, reviews: Path | None = None, reviewer: str = "", case_id: str = ""
) -> ReviewWindow:
    """Open napari with a worklist.

    Args:
        path: As of `unetr_app.review.open_worklist`.
        reviews: Where decisions are kept; beside the cases where absent.
        reviewer: Who decides; as the preferences say where empty.
        case_id: The case to begin with; where the work stopped where empty.

    Raises:
        UnetrError: If there is no worklist at that path.
    """
    settings = read_settings()
    if reviewer:
        settings = replace(settings, reviewer=reviewer)
    viewer = napari.Viewer(title=f"UNETR review: {path.name}", show=True)
    window = ReviewWindow(viewer, settings)
    window.make_room()
    window.open(path, reviews, case_id)
    return window


def run(path: Path, *, reviews: Path | None = None, reviewer: str = "", case_id: str = "") -> None:
    """Open the window and stay until it is closed; arguments as of `open_window`."""
    window = open_window(path, reviews=reviews, reviewer=reviewer, case_id=case_id)
    napari.run()
    window.close()
