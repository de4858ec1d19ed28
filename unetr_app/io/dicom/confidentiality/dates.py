"""Dates of a patient, moved back by the same number of days, or replaced."""

from __future__ import annotations

import re
from datetime import date, timedelta

DUMMIES = {"DA": "19000101", "TM": "000000", "DT": "19000101000000"}
"""Values that stand for a date, a time, and both."""

_DAY = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TIME = re.compile(r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)?")
_MOMENT = re.compile(r"(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?(?:[+-]\d{4})?")


def moved(text: str, vr: str, days_back: int) -> str:
    """A date, time or moment with its date moved back; the dummy where it is none.

    Times of day stay, so that intervals do.

    Args:
        text: One value of the attribute.
        vr: DA, TM or DT.
        days_back: By how many days.

    Example:
        >>> moved("20240301", "DA", 1), moved("20240301101500.5+0100", "DT", 1)
        ('20240229', '20240229101500.5')
    """
    text = text.strip(" \0")
    if vr == "TM":
        return text.replace(":", "") if _TIME.fullmatch(text) else DUMMIES[vr]
    if vr == "DA":
        found = _DAY.fullmatch(text)
        return _earlier("".join(found.groups()), days_back) if found else DUMMIES[vr]
    found = _MOMENT.fullmatch(text)
    if not found:
        return DUMMIES[vr]
    return _earlier(found[1], days_back) + (found[2] or "")


def _earlier(day: str, days_back: int) -> str:
    try:
        then = date(int(day[:4]), int(day[4:6]), int(day[6:])) - timedelta(days=days_back)
    except (ValueError, OverflowError):
        return DUMMIES["DA"]
    return then.strftime("%Y%m%d").rjust(8, "0")
