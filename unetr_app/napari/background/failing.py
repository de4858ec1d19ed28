"""Failing: what is said of work that failed where nobody catches."""

from __future__ import annotations

import logging

from unetr_app.errors import DeviceMemory, UnetrError

_LOG = logging.getLogger(__name__)


def as_ours(error: BaseException) -> UnetrError:
    """An error that helps, whatever was raised; details go to the log alone."""
    if isinstance(error, UnetrError):
        return error
    if isinstance(error, MemoryError):
        return DeviceMemory("the computer ran out of memory", cure="Close other programs.")
    _LOG.debug("work in the background failed", exc_info=error)
    return UnetrError(
        f"internal error of type {type(error).__name__}",
        cure="Set the logging level to debug to see the details, and report them.",
    )
