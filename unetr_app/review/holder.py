"""Holder: who has a case open; at most one reviewer at a time."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass

from unetr_app.batch.lock import FileLock
from unetr_app.errors import CaseInUse, UnwritableOutput
from unetr_app.io import write_json
from unetr_app.review.case_folder import CaseFolder
from unetr_app.review.decision import now, readable
from unetr_app.review.stamps import read_object


@dataclass(frozen=True)
class Held:
    """A case's lock, taken for a reviewer; a process that dies lets go.

    Args:
        folder: The case's review.
        lock: Held until `release`.
    """

    folder: CaseFolder
    lock: FileLock

    @classmethod
    def take(cls, folder: CaseFolder, reviewer: str) -> Held:
        """Take the lock of a case.

        Raises:
            CaseInUse: If somebody has it; says who, and since when.
            UnwritableOutput: If the folder cannot be written to.
        """
        folder.make()
        lock = FileLock(folder.lock)
        try:
            taken = lock.take()
        except UnwritableOutput as error:
            raise UnwritableOutput(
                error.what.replace("output folder", "folder of reviews"),
                cure="Choose a place for reviews on a local disk that you may write to "
                "(--reviews FOLDER).",
                path=folder.root.parent,
            ) from error
        if not taken:
            raise _in_use(folder)
        who = {"reviewer": reviewer, "since": now(), "pid": os.getpid(),
               "host": socket.gethostname()}  # fmt: skip
        with suppress(UnwritableOutput):  # a full disk: the lock holds all the same
            write_json(folder.holder, who)
        return cls(folder, lock)

    def release(self) -> None:
        """Let go; nothing where it was let go before."""
        if self.lock.is_held:
            with suppress(OSError):
                self.folder.holder.unlink()
            self.lock.release()


def _in_use(folder: CaseFolder) -> CaseInUse:
    found = read_object(folder.holder)
    who = str(found.get("reviewer") or "another reviewer")
    since = readable(str(found.get("since") or ""))
    where = f" on {found['host']}" if found.get("host") not in (None, socket.gethostname()) else ""
    return CaseInUse(
        f"{folder.root.name} is open with {who}{where}" + (f" since {since}" if since else ""),
        cure="Go on with another case, wait until it is closed, or look at it read-only.",
    )
