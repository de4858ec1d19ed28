"""UID: what may be part of an address, because it cannot be anything else (PS3.5, 9.1)."""

from __future__ import annotations

import re

from unetr_app.errors import InvalidRequest, RemoteFailure

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")  # leading zeros are forbidden, but there
_LONGEST = 64


def is_uid(text: object) -> bool:
    """Is it digits and single dots, 64 characters at most?

    Example:
        >>> is_uid("1.2.840.10008"), is_uid("../1.2"), is_uid("1..2")
        (True, False, False)
    """
    return isinstance(text, str) and len(text) <= _LONGEST and _UID.fullmatch(text) is not None


def require_uid(text: str, option: str) -> str:
    """A UID that the user gave.

    Raises:
        InvalidRequest: If it is none.
    """
    if not is_uid(text):
        raise InvalidRequest(
            f"what {option} gives is no UID", cure="A UID is numbers with dots between, such as "
            "1.2.840.113619.2.5; 64 characters at most.",
        )  # fmt: skip
    return text


def believe_uid(text: object) -> str:
    """A UID that a server gave.

    Raises:
        RemoteFailure: If it is none.
    """
    if not isinstance(text, str) or not is_uid(text):
        raise RemoteFailure(
            "the server's answer holds an identifier that is no UID",
            cure="Check the address, or ask those who run the server.",
        )
    return text
