"""Networks: whether what runs them is installed, asked without importing it."""

from __future__ import annotations

from importlib.util import find_spec

from unetr_app.notice import NETWORK_MODULES


def is_of_networks(error: ModuleNotFoundError) -> bool:
    """Is what was not found brought by the extra ``inference``?

    Example:
        >>> is_of_networks(ModuleNotFoundError(name="torch.nn"))
        True
        >>> is_of_networks(ModuleNotFoundError(name="nilearn"))
        False
    """
    return (error.name or "").partition(".")[0] in NETWORK_MODULES


def require_networks() -> None:
    """Find out before any work begins, not case by case.

    Raises:
        ModuleNotFoundError: If torch or MONAI is not there; `unetr_app.cli.main` says what to do.
    """
    for name in ("torch", "monai"):
        if not _is_there(name):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # it stands in the table of modules without saying where it is from
        return False
