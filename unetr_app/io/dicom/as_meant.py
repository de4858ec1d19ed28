"""The error of every output that does not hold what was meant when it is read back."""

from __future__ import annotations

from unetr_app.errors import UnwritableOutput
from unetr_app.io.atomic import PathLike


def not_as_meant(path: PathLike) -> UnwritableOutput:
    """To raise where what was read back differs from what was written."""
    return UnwritableOutput(
        "what was read back from the disk is not what was written",
        cure="Check that there is space, and that the disk is sound; then run again.", path=path,
    )  # fmt: skip
