"""ReviewSettings: who reviews, and how; napari's preferences keep it."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import Any

from unetr_app.review.letters import Convention

PLUGIN = "unetr-app"


@dataclass(frozen=True)
class ReviewSettings:
    """Habits of a reviewer.

    Args:
        reviewer: Named in decisions and versions.
        convention: ``"radiological"`` or ``"neurological"``.
        advances: Whether accepting or rejecting a case shows the next one.
        brush_mm: Diameter of the brush when a window opens.
    """

    reviewer: str
    convention: Convention = "radiological"
    advances: bool = False
    brush_mm: float = 8.0


def read_settings() -> ReviewSettings:
    """What napari's preferences say; defaults where they say nothing."""
    found = _preferences()
    return ReviewSettings(
        reviewer=str(getattr(found, "reviewer", "") or _login()),
        convention=_convention(str(getattr(found, "convention", ""))),
        advances=bool(getattr(found, "advance", False)),
        brush_mm=float(getattr(found, "brush_mm", 8.0)),
    )


def _convention(word: str) -> Convention:
    return "neurological" if word == "neurological" else "radiological"


def _preferences() -> Any:
    from napari.settings import get_plugin_settings

    return getattr(get_plugin_settings(PLUGIN), "review", None)


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "reviewer"
