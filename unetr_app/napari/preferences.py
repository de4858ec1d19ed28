"""Preferences: which files napari gives to this plugin without asking."""

from __future__ import annotations

import os

from napari.settings import get_settings

from unetr_app.io.formats import IMAGE_ENDINGS
from unetr_app.napari import notifications

PLUGIN = "unetr-app"


def prefer() -> None:
    """Make this plugin napari's choice for our formats and for folders.

    Files and folders that are not ours still open: napari then asks which other reader to use. The
    choice is kept in napari's preferences, section Plugins, and is undone there.
    """
    patterns = (*(f"*{ending}" for ending in IMAGE_ENDINGS), f"*{os.sep}")
    settings = get_settings().plugins
    settings.extension2reader = {
        **settings.extension2reader,
        **dict.fromkeys(patterns, PLUGIN),
    }
    notifications.show_info(
        "Medical images and results folders now open with UNETR. "
        "Preferences, Plugins, lists these choices and takes them back."
    )
