"""A DICOMweb server on this machine's loopback, as sound or as broken as a test wants it."""

from __future__ import annotations

import email.parser
import io
import json
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom

Trouble = Callable[["Handler"], bool]
"""Answers a request in place of the server, and says so; false leaves it to the server."""


PATIENT = "Canary^Patient"
"""What the server tells in every list of series, asked or not."""


@dataclass
class Instance:
    study: str
    series: str
    modality: str
    number: int
    data: bytes


@dataclass
class Heard:
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class FakePacs:
    """What the server holds, has heard, and does wrong.

    Args:
        port: Where it listens.
        instances: By SOP Instance UID.
        heard: Requests, in order.
        troubles: Asked in order before the server answers itself.
    """

    port: int = 0
    instances: dict[str, Instance] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"dicomweb+http://127.0.0.1:{self.port}/dicom-web"

    def hold(self, paths: Sequence[Path]) -> str:
        """Take files; gives their Study Instance UID."""
        return [self.take(path.read_bytes()) for path in paths][-1]

    def take(self, data: bytes) -> str:
        header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        self.instances[header.SOPInstanceUID] = Instance(
            header.StudyInstanceUID,
            header.SeriesInstanceUID,
            header.Modality,
            int(header.SeriesNumber),
            data,
        )
        return header.StudyInstanceUID

    def count(self, part: str, method: str = "GET") -> int:
        """How many requests had this in their path?"""
        return sum(part in heard.path and heard.method == method for heard in self.heard)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pacs: FakePacs

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self._begin():
            return
        url = urlsplit(self.path)
        words = url.path.removeprefix("/dicom-web/studies/").split("/")
        if len(words) == 5:
            self._instance(words[4])
        elif words[1:] == ["series"]:
            self._page(self._series(words[0]), url.query)
        else:
            self._page(self._instances(words[2]), url.query)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._begin():
            return
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.parser.BytesParser().parsebytes(head + body)
        (part,) = message.get_payload()
        data = part.get_payload(decode=True)
        uid = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).SOPInstanceUID
        self.pacs.take(data)
        self.say_json(stored_answer(uid))

    def _begin(self) -> bool:
        self.pacs.heard.append(Heard(self.command, self.path, dict(self.headers)))
        return any(trouble(self) for trouble in list(self.pacs.troubles))

    def _series(self, study: str) -> list[dict[str, Any]]:
        found: dict[str, list[Instance]] = {}
        for instance in self.pacs.instances.values():
            if instance.study == study:
                found.setdefault(instance.series, []).append(instance)
        return [
            {"0020000D": tag(study), "0020000E": tag(uid), "00080060": tag(each[0].modality),
             "00200011": tag(each[0].number), "0008103E": tag(f"number {n}"),
             "00201209": tag(len(each)), "00100010": tag({"Alphabetic": PATIENT})}
            for n, (uid, each) in enumerate(found.items(), 1)
        ]  # fmt: skip

    def _instances(self, series: str) -> list[dict[str, Any]]:
        return [
            {"00080018": tag(uid), "0020000E": tag(series)}
            for uid, instance in self.pacs.instances.items()
            if instance.series == series
        ]

    def _page(self, rows: list[Any], query: str) -> None:
        asked = parse_qs(query)
        at, most = int(asked["offset"][0]), int(asked["limit"][0])
        self.say_json(rows[at : at + most])

    def _instance(self, uid: str) -> None:
        if uid not in self.pacs.instances:
            self.say(404)
            return
        self.say_part(self.pacs.instances[uid].data)

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):  # the other side may have had enough
            self.wfile.write(body)

    def say_json(self, value: Any, status: int = 200) -> None:
        self.say(status, json.dumps(value).encode(), Content_Type="application/dicom+json")

    def say_part(self, *parts: bytes) -> None:
        body = b"".join(b"--XX\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % p for p in parts)
        kind = 'multipart/related; type="application/dicom"; boundary=XX'
        self.say(200, body + b"--XX--\r\n", Content_Type=kind)

    def say_endlessly(self, head: bytes, piece: bytes, pause: Callable[[], object]) -> None:
        """Begin an answer and go on until the other side hangs up."""
        self.close_connection = True
        with suppress(OSError):
            self.wfile.write(head)
            while True:
                self.wfile.write(piece)
                pause()


def tag(value: Any) -> dict[str, Any]:
    """An element of DICOM JSON."""
    return {"vr": "UI", "Value": [value]}


def stored_answer(uid: str, *, reason: int | None = None) -> dict[str, Any]:
    """What STOW answers: stored, with an empty sequence of failures as Orthanc has it; or failed.

    Args:
        uid: SOP Instance UID.
        reason: Failure reason.
    """
    item = {"00081155": tag(uid)}
    if reason is None:
        return {"00081199": tag(item), "00081198": {"vr": "SQ"}}
    return {"00081198": tag(item | {"00081197": tag(reason)}), "00081199": {"vr": "SQ"}}


@contextmanager
def serving(pacs: FakePacs, *, wrap: Callable[[Any], Any] | None = None) -> Generator[FakePacs]:
    """Serve on a free port of the loopback.

    Args:
        pacs: What is served.
        wrap: Makes another socket of the server's, for TLS.
    """
    handler = type("PacsHandler", (Handler,), {"pacs": pacs})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # pyright: ignore
    if wrap is not None:
        server.socket = wrap(server.socket)
    pacs.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield pacs
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
