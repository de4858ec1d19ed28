"""Downloads go on where they broke off, and nothing unverified appears under its name."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from data.download import download, md5_of
from unetr_app.errors import UnreadableInput, UnwritableOutput

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@dataclass
class Behaviour:
    """What the server does: cut each answer, ignore Range, answer an error."""

    content: bytes = CONTENT
    cut_after: int = 0
    ranges: bool = True
    error: int = 0
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, behaviour, *args):
        self.behaviour = behaviour
        super().__init__(*args)

    def do_GET(self):
        does = self.behaviour
        wanted = self.headers.get("Range", "")
        does.asked.append(wanted)
        if does.error:
            self.send_error(does.error)
            return
        start = int(wanted[6:-1]) if wanted and does.ranges else 0
        if start >= len(does.content):
            self.send_error(416)
            return
        body = does.content[start:]
        self.send_response(206 if wanted and does.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        if wanted and does.ranges:
            last = len(does.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
        self.end_headers()
        self.wfile.write(body[: does.cut_after or None])

    def log_message(self, *args):
        return


@pytest.fixture
def server() -> Iterator[tuple[str, Behaviour]]:
    behaviour = Behaviour()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, behaviour))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/set.tar", behaviour
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_a_whole_file_arrives_and_progress_reaches_the_end(server, tmp_path):
    url, _ = server
    seen: list[tuple[int, int]] = []
    path = download(url, tmp_path / "a" / "set.tar", md5=MD5, progress=lambda *n: seen.append(n))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in path.parent.iterdir()] == ["set.tar"]


def test_broken_connections_are_continued_from_the_last_byte(server, tmp_path):
    url, behaviour = server
    behaviour.cut_after = 70_000
    path = download(url, tmp_path / "set.tar", md5=MD5, wait_s=0)
    assert path.read_bytes() == CONTENT
    assert behaviour.asked == ["", *(f"bytes={n * 70_000}-" for n in (1, 2, 3, 4))]


def test_a_part_of_an_earlier_run_is_continued(server, tmp_path):
    url, behaviour = server
    (tmp_path / "set.tar.part").write_bytes(CONTENT[:123_456])
    assert download(url, tmp_path / "set.tar", md5=MD5).read_bytes() == CONTENT
    assert behaviour.asked == ["bytes=123456-"]


def test_a_part_that_was_whole_is_only_verified(server, tmp_path):
    url, _ = server
    (tmp_path / "set.tar.part").write_bytes(CONTENT)
    assert download(url, tmp_path / "set.tar", md5=MD5).read_bytes() == CONTENT


def test_a_server_without_ranges_is_read_from_the_start(server, tmp_path):
    url, behaviour = server
    behaviour.ranges = False
    (tmp_path / "set.tar.part").write_bytes(b"x" * 1000)
    assert download(url, tmp_path / "set.tar", md5=MD5).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"", b"wrong beginning"])
def test_a_wrong_checksum_leaves_nothing_behind(server, tmp_path, part):
    url, behaviour = server
    if part:
        (tmp_path / "set.tar.part").write_bytes(part)
    else:
        behaviour.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(UnreadableInput, match=f"not {MD5}"):
        download(url, tmp_path / "set.tar", md5=MD5)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_verified_not_fetched(server, tmp_path):
    url, behaviour = server
    (tmp_path / "set.tar").write_bytes(CONTENT)
    download(url, tmp_path / "set.tar", md5=MD5)
    assert behaviour.asked == []
    (tmp_path / "set.tar").write_bytes(b"other")
    with pytest.raises(UnreadableInput, match="damaged, or another file"):
        download(url, tmp_path / "set.tar", md5=MD5)


def test_no_progress_ends_after_the_attempts_and_keeps_the_part(server, tmp_path):
    url, behaviour = server
    (tmp_path / "set.tar.part").write_bytes(CONTENT[:1000])
    behaviour.error = 503
    with pytest.raises(UnreadableInput, match=r"503.*goes on where it stopped"):
        download(url, tmp_path / "set.tar", md5=MD5, attempts=3, wait_s=0)
    assert len(behaviour.asked) == 3
    assert (tmp_path / "set.tar.part").read_bytes() == CONTENT[:1000]


def test_a_missing_file_is_not_asked_for_again(server, tmp_path):
    url, behaviour = server
    behaviour.error = 404
    with pytest.raises(UnreadableInput, match="404"):
        download(url, tmp_path / "set.tar", md5=MD5, wait_s=0)
    assert len(behaviour.asked) == 1


def test_no_server_is_an_error_with_a_cure(tmp_path):
    with pytest.raises(UnreadableInput, match="--from"):
        download("http://127.0.0.1:9/x", tmp_path / "x", md5=MD5, attempts=2, wait_s=0)


def test_an_unwritable_place_is_said_so(server, tmp_path):
    url, _ = server
    (tmp_path / "set.tar.part").mkdir()
    with pytest.raises(UnwritableOutput):
        download(url, tmp_path / "set.tar", md5=MD5, attempts=1)


def test_md5_of_is_the_standard_one(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    assert md5_of(tmp_path / "x") == "d41d8cd98f00b204e9800998ecf8427e"
