"""Pacs: what is asked of a DICOMweb server, each question with its retries and limits.

dicomweb-client asks the searches (QIDO-RS) and makes the addresses. Instances go straight from the
network to the disk and back (WADO-RS, STOW-RS): the client would hold them in memory, write its own
encoding of them, and take an answer that it cannot read for success.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from dicomweb_client import DICOMwebClient
from dicomweb_client.uri import URI

from unetr_app.errors import RemoteFailure, UnreadableInput
from unetr_app.io.atomic import replacing
from unetr_app.io.dicom.slice import read_slice
from unetr_app.io.dicom.web.address import Address
from unetr_app.io.dicom.web.credentials import Credentials, find_credentials
from unetr_app.io.dicom.web.limits import Limits
from unetr_app.io.dicom.web.multipart import MOST_AROUND, FilePart, save_only_part
from unetr_app.io.dicom.web.refusals import NOT_ACCEPTABLE, Refusal
from unetr_app.io.dicom.web.retries import Retries
from unetr_app.io.dicom.web.rows import (
    SERIES_FIELDS,
    SERIES_UID,
    SOP_UID,
    RemoteSeries,
    Row,
    first,
    require_same,
    rows_of,
    series_of,
)
from unetr_app.io.dicom.web.session import Session
from unetr_app.io.dicom.web.uids import believe_uid

_ACCEPT = 'multipart/related; type="application/dicom"'
_ACCEPT_STORED = f"{_ACCEPT}; transfer-syntax=*"  # as it lies there, not converted for us
_JSON = "application/dicom+json"


class Pacs:
    """A DICOMweb server.

    Args:
        address: Where it is.
        credentials: Who asks; looked for in the environment and netrc where None.
        limits: What is taken from it.
        retries: How often it is asked again.

    Raises:
        InvalidRequest: If credentials or certificates in the environment are not as they should.
    """

    def __init__(
        self,
        address: Address,
        *,
        credentials: Credentials | None = None,
        limits: Limits | None = None,
        retries: Retries | None = None,
    ):
        self.address = address
        self.limits = limits or Limits()
        self._retries = retries or Retries()
        found = find_credentials(address) if credentials is None else credentials
        self._session = Session(address, found, self.limits)
        self._client: Any = DICOMwebClient(
            address.url, self._session,
            timeout=(self.limits.connect_seconds, self.limits.read_seconds),
        )  # fmt: skip
        self._client.set_http_retry_params(retry=False)  # its own try again whatever went wrong
        self._accept = _ACCEPT_STORED

    def __enter__(self) -> Pacs:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def find_series(self, study: str) -> list[RemoteSeries]:
        """All series of a study, in the order of their numbers (QIDO-RS).

        Args:
            study: Study Instance UID.

        Raises:
            RemoteFailure: If the server cannot be asked, or answers something else.
        """
        rows = self._search(
            lambda at: self._client.search_for_series(
                study, limit=self.limits.page, offset=at, fields=list(SERIES_FIELDS)
            ),
            SERIES_UID, self.limits.series,
        )  # fmt: skip
        found = [series_of(row, study) for row in rows]
        return sorted(found, key=lambda s: (s.number is None, s.number or 0, s.uid))

    def find_instances(self, study: str, series: str) -> list[str]:
        """SOP Instance UIDs of a series, each once (QIDO-RS).

        Raises:
            RemoteFailure: As for `find_series`.
        """
        rows = self._search(
            lambda at: self._client.search_for_instances(
                study, series, limit=self.limits.page, offset=at
            ),
            SOP_UID, self.limits.instances,
        )  # fmt: skip
        for row in rows:
            require_same(row, SERIES_UID, series)
        return [believe_uid(first(row, SOP_UID)) for row in rows]

    def holds(self, study: str, series: str, sop: str) -> bool:
        """Does the server list an instance?"""
        return sop in self.find_instances(study, series)

    def fetch(self, study: str, series: str, sop: str, path: Path, *, most: int) -> None:
        """Retrieve an instance into a file, which is there only when it is whole and the right one.

        Args:
            study: Study Instance UID.
            series: Series Instance UID.
            sop: SOP Instance UID.
            path: The file.
            most: Bytes that it may have.

        Raises:
            RemoteFailure: If the server cannot be asked, or sends something else.
            UnwritableOutput: If the file cannot be written.
        """
        url = str(URI(self.address.url, study, series, sop))
        most = min(most, self.limits.instance_bytes)

        def once() -> None:
            with replacing(path) as part:
                self._download(url, part, most)
                _require_instance(part, study, series, sop)

        self._retries.run(once)

    def send(self, study: str, path: Path) -> Any:
        """Send a DICOM file to be stored in a study (STOW-RS).

        Returns:
            What the server answers, from JSON; None where it says nothing that can be read.

        Raises:
            RemoteFailure: If the server cannot be asked, or refuses; a refusal that names the
                instance (HTTP 409) is returned.
        """
        url = f"{self.address.url}/studies/{study}"

        def once() -> Any:
            body = FilePart(path)
            headers = {"Content-Type": body.content_type, "Accept": _JSON}
            with (
                self._session.told(),
                self._session.post(url, data=body, headers=headers) as response,
            ):
                return _json_of(response)

        return self._retries.run(once)

    def _search(self, ask: Callable[[int], Any], key: str, most: int) -> list[Row]:
        """All rows of a search, page by page; servers that know no pages give all at once."""
        found: dict[str, Row] = {}
        offset = 0
        while True:
            page = self._retries.run(lambda at=offset: self._page(ask, at))
            fresh = {believe_uid(first(row, key)): row for row in page}
            if not fresh.keys() - found.keys():
                return list(found.values())
            found |= fresh
            offset += len(page)
            if len(found) > most:
                raise RemoteFailure(
                    f"the server lists more than the {most} that we take",
                    cure="Name fewer series with --series, or ask those who run the server.",
                )

    def _page(self, ask: Callable[[int], Any], offset: int) -> list[Row]:
        with self._session.told():
            try:
                return rows_of(ask(offset))
            except (ValueError, RecursionError) as error:
                if isinstance(error, requests.RequestException) and not isinstance(
                    error, requests.JSONDecodeError
                ):
                    raise
                raise RemoteFailure(
                    "the server's answer is not the DICOM JSON that was asked for",
                    cure="Check the path of the address, or ask those who run the server.",
                ) from error

    def _download(self, url: str, part: Path, most: int) -> None:
        try:
            self._download_as(self._accept, url, part, most)
        except Refusal as refusal:
            if refusal.status != NOT_ACCEPTABLE or self._accept == _ACCEPT:
                raise
            self._accept = _ACCEPT
            self._download_as(_ACCEPT, url, part, most)

    def _download_as(self, accept: str, url: str, part: Path, most: int) -> None:
        with (
            self._session.told(),
            self._session.allowing(most + MOST_AROUND),
            self._session.get(url, headers={"Accept": accept}) as response,
            open(part, "wb") as file,
        ):
            kind = response.headers.get("Content-Type", "")
            save_only_part(response.iter_content(None), kind, file.write)


def _json_of(response: requests.Response) -> Any:
    try:
        return response.json() if response.content else None
    except (ValueError, RecursionError):
        return None


def _require_instance(path: Path, study: str, series: str, sop: str) -> None:
    """Refuse a file that is not whole, or not the instance that was asked for."""
    try:
        found = read_slice(path)
    except UnreadableInput as error:
        raise RemoteFailure(
            "what the server sends is no sound DICOM file", cure="Ask those who run the server."
        ) from error
    if (found.study_uid, found.series_uid, found.sop_uid) != (study, series, sop):
        raise RemoteFailure(
            "the server sends another instance than the one asked for",
            cure="Ask those who run the server.",
        )
    if found.is_truncated:
        raise RemoteFailure(
            f"the server sends a file of {os.path.getsize(path)} bytes that is cut short",
            cure="Ask those who run the server.",
        )
