"""Causes: what lies at the beginning of a chain of errors."""

from __future__ import annotations


def first_cause(error: BaseException) -> BaseException:
    """The first error of a chain: MONAI wraps errors several times."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def root_cause(error: BaseException) -> str:
    """The first error of a chain, in one line without a full stop."""
    first = first_cause(error)
    lines = str(first).strip().splitlines()
    said = lines[-1].rstrip(".") if lines else "no message"
    return f"{type(first).__name__}: {said}"
