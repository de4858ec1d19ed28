"""UidMap: new identifiers for old ones, the same for the same, for all files of all runs.

Each is made from the old one and a secret, so that who has the files alone cannot go back, while
who has the map can: it holds the secret and, for each old identifier met, the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import uuid
from pathlib import Path
from typing import Any, cast

from unetr_app.errors import InvalidRequest, UnwritableOutput
from unetr_app.io.atomic import PathLike, replacing

_FORM = "unetr uid map 1"
_SECRET_BYTES = 32
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_LEAST_DAYS, _MOST_DAYS = 366, 3652  # dates go back by one year to ten
_DAMAGED_CURE = "Name the map that an earlier run wrote, or a new file to begin another."


class UidMap:
    """New identifiers for old ones.

    Args:
        secret: What the new identifiers are made with; random where absent.

    Example:
        >>> uids = UidMap(b"secret")
        >>> uids.uid("1.2.3") == uids.uid("1.2.3"), uids.uid("1.2.3") == uids.uid("1.2.4")
        (True, False)
    """

    def __init__(self, secret: bytes = b""):
        self._secret = secret or secrets.token_bytes(_SECRET_BYTES)
        self._path: Path | None = None
        self._uids: dict[str, str] = {}
        self._patients: dict[str, dict[str, Any]] = {}
        self._saved = -1

    @classmethod
    def at(cls, path: PathLike) -> UidMap:
        """The map in a file, which is made where there is none (mode 0600).

        Raises:
            InvalidRequest: If the file is no such map.
            UnwritableOutput: If it cannot be made.
        """
        file = Path(path)
        if os.path.lexists(file):
            return cls._read(file)
        found = cls()
        found._path = file
        if not found._begin():  # another run was faster
            return cls._read(file)
        return found

    def uid(self, old: str) -> str:
        """The new UID for an old one: ``2.25.`` and a UUID (PS3.5 B.2)."""
        new = self._uids.get(old)
        if new is None:
            new = self._uids[old] = self.unlisted_uid("uid", old)
        return new

    def unlisted_uid(self, *about: str) -> str:
        """A UID made of anything, for an object that has none; it does not enter the map."""
        return f"2.25.{uuid.UUID(bytes=self._digest(*about)[:16], version=4).int}"

    def token(self, text: str) -> str:
        """``X`` and eight characters that stand for a text, so that equals stay equal.

        Example:
            >>> UidMap(b"secret").token("Miller 3")
            'XF6C70CA1'
        """
        return f"X{self._digest('text', text)[:4].hex().upper()}"

    def patient(self, key: str) -> str:
        """The new patient ID for what tells a patient from others."""
        return str(self._patient(key)["id"])

    def days_back(self, key: str) -> int:
        """By how many days a patient's dates go back: one year at least, ten at most."""
        return int(self._patient(key)["days_back"])

    def save(self) -> None:
        """Write the map back to its file, with what another run has put there meanwhile.

        Raises:
            UnwritableOutput: If that fails.
        """
        size = len(self._uids) + len(self._patients)
        if self._path is None or size == self._saved:
            return
        with contextlib.suppress(InvalidRequest):
            other = UidMap._read(self._path)
            if other._secret == self._secret:
                self._uids = other._uids | self._uids
                self._patients = other._patients | self._patients
        with replacing(self._path) as part:
            self._write(part)
        self._saved = size

    def _patient(self, key: str) -> dict[str, Any]:
        found = self._patients.get(key)
        if found is None:
            digest = self._digest("patient", key)
            days = int.from_bytes(self._digest("days", key)[:4]) % (_MOST_DAYS - _LEAST_DAYS + 1)
            found = {"id": f"P-{digest[:6].hex()}", "days_back": _LEAST_DAYS + days}
            self._patients[key] = found
        return found

    def _digest(self, *about: str) -> bytes:
        message = json.dumps(about).encode()
        return hmac.new(self._secret, message, hashlib.sha256).digest()

    def _begin(self) -> bool:
        """Put the new map in its place, unless there is one by now."""
        assert self._path is not None
        part = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}.part")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self._write(part)
            try:
                os.link(part, self._path)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                part.replace(self._path)
        except OSError as error:
            raise UnwritableOutput(
                "the UID map could not be written", path=self._path,
                cure="Name a file in a folder that you may write to.",
            ) from error  # fmt: skip
        finally:
            part.unlink(missing_ok=True)
        return True

    def _write(self, part: Path) -> None:
        part.chmod(0o600)
        content = {
            "form": _FORM,
            "note": "Whoever has this file can tell whose the de-identified objects are.",
            "secret": self._secret.hex(),
            "uids": self._uids,
            "patients": self._patients,
        }
        with part.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def _read(cls, path: Path) -> UidMap:
        try:
            content: Any = json.loads(path.read_text(encoding="utf-8"))
            secret = bytes.fromhex(content["secret"])
            uids, patients = content["uids"], content["patients"]
            whole = content["form"] == _FORM and len(secret) >= 16 and _are_maps(uids, patients)
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise InvalidRequest(
                "this is no UID map, or a damaged one", cure=_DAMAGED_CURE, path=path
            ) from error
        if not whole:
            raise InvalidRequest(
                "this is no UID map, or a damaged one", cure=_DAMAGED_CURE, path=path
            )
        found = cls(secret)
        found._path = path
        found._uids, found._patients = uids, patients
        return found


def _are_maps(uids: Any, patients: Any) -> bool:
    """Is what was read of a form that can be used, whoever edited it?"""
    if not isinstance(uids, dict) or not isinstance(patients, dict):
        return False
    news: list[Any] = list(cast("dict[str, Any]", uids).values())
    rows: list[Any] = list(cast("dict[str, Any]", patients).values())
    return all(isinstance(new, str) and is_uid(new) for new in news) and all(
        isinstance(row, dict)
        and re.fullmatch(r"P-[0-9a-f]{12}", str(cast("dict[str, Any]", row).get("id")))
        and isinstance(cast("dict[str, Any]", row).get("days_back"), int)
        for row in rows
    )


def is_uid(text: str) -> bool:
    """Is a text a UID (PS3.5 9.1)?"""
    return len(text) <= 64 and _UID.fullmatch(text) is not None
