"""Body: the content of an answer as it arrives, given up when it is too long or too slow."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from unetr_app.errors import RemoteFailure
from unetr_app.io.dicom.web.limits import Limits
from unetr_app.io.dicom.web.retries import PassingFailure

_PIECE = 2**18


class Body:
    """Stands before what urllib3 calls a raw response, and measures it.

    Args:
        raw: The `urllib3.response.HTTPResponse`.
        most: Bytes that may come.
        limits: How slow they may come.
    """

    def __init__(self, raw: Any, most: int, limits: Limits):
        self._raw = raw
        self._most = most
        self._limits = limits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, amt: int, decode_content: bool | None = None) -> Generator[bytes]:
        """The content piece by piece, each as soon as it is there.

        Args:
            amt: Ignored.
            decode_content: Ignored; packed answers are not taken.

        Raises:
            RemoteFailure: If it is longer than allowed.
            PassingFailure: If it comes too slowly.
        """
        begun = time.monotonic()
        received = 0
        # `read` would wait until the piece is full, however slowly that happens
        while piece := self._raw.read1(_PIECE, decode_content=False):
            received += len(piece)
            if received > self._most:
                self._raw.close()
                raise RemoteFailure(
                    f"the server's answer is longer than the {self._most} bytes that we take",
                    cure="Check the address, or ask those who run the server.",
                )
            patience = self._limits.read_seconds + received / self._limits.least_rate
            if time.monotonic() - begun > patience:
                self._raw.close()
                raise PassingFailure(
                    "the server's answer comes too slowly", cure="Check the network."
                )
            yield piece
