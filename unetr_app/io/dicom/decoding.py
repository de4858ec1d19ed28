"""Decoder: compressed pixels, decoded in a child process with limits of memory and time.

Decoders of compressed pictures are C and C++ code that meets files from anywhere. A picture that
unpacks without end, or makes a decoder crash, costs the case that it is part of and nothing more.
One child serves many frames; a thread that decodes while another does has a child of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike

MEMORY_BYTES = 3 * 2**30
"""Most memory of a child, its libraries included: a slice of 8192 x 8192 pixels, many times."""

SECONDS = 60.0
"""Longest time for one frame; a slice of 512 x 512 takes some milliseconds."""

_SCRIPT = Path(__file__).with_name("decoder_child.py")
_LONGEST_ANSWER = 4096
_COPY = "Copy or export the file again."
_UNPACK = "Unpack the file where it comes from, or with dcmtk or gdcmconv --raw, if it is right."


class Decoder:
    """A child process that decodes frames, one at a time.

    Args:
        memory_bytes: Most memory of the child; kept where the system can (Linux).
        seconds: Longest time for one frame.
        command: What to run instead of our own child; for tests.
    """

    def __init__(
        self, memory_bytes: int = MEMORY_BYTES, seconds: float = SECONDS,
        command: Sequence[str] = (),
    ):  # fmt: skip
        self._seconds = seconds
        self._late = False
        argv = command or (sys.executable, "-P", str(_SCRIPT))
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [*argv, str(memory_bytes), str(seconds + 5)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, **threads},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip

    @property
    def is_alive(self) -> bool:
        """Can it take another frame?"""
        return self._process.poll() is None

    def decode(
        self, source: bytes, options: Mapping[str, Any], path: PathLike
    ) -> NDArray[np.generic]:
        """The pixels of one packed frame.

        Args:
            source: The frame without its encapsulation (DICOM PS3.5 A.4).
            options: pydicom's options for it; ``transfer_syntax_uid`` is one.
            path: The file, for messages.

        Returns:
            (rows, columns) whole numbers, as stored.

        Raises:
            UnreadableInput: If the frame is damaged, or needs more memory or time than allowed.
        """
        self._late = False
        watch = threading.Timer(self._seconds, self._too_late)
        watch.daemon = True
        watch.start()
        try:
            reply, content = self._ask(source, options)
        except (OSError, ValueError, EOFError) as error:
            self.close()
            raise self._ended(path) from error
        finally:
            watch.cancel()
        if reply.get("error") == "memory":
            raise _too_much(path)
        rows, columns = int(options.get("rows", 0)), int(options.get("columns", 0))
        if "error" in reply or list(reply["shape"]) != [rows, columns]:
            raise UnreadableInput(
                "the compressed pixels are damaged, or not of the size that the headers state",
                cure=_COPY, path=path,
            )  # fmt: skip
        return np.frombuffer(content, np.dtype(str(reply["dtype"]))).reshape(rows, columns)

    def close(self) -> None:
        """End the child."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # what was still to be written goes nowhere
                    continue
        self._process.wait()

    def _ask(self, source: bytes, options: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = json.dumps({"length": len(source), "options": dict(options)}).encode()
        self._process.stdin.write(request + b"\n" + source)
        self._process.stdin.flush()
        line = self._process.stdout.readline(_LONGEST_ANSWER)
        reply: object = json.loads(line) if line else None
        if not isinstance(reply, dict):
            raise EOFError
        answer = cast("dict[str, Any]", reply)
        size = int(answer.get("bytes", 0))
        if size > int(options.get("rows", 0)) * int(options.get("columns", 0)) * 8:
            self.close()  # the rest of its answer would be taken for the next
            return {"error": "damaged"}, b""
        content = self._process.stdout.read(size)
        if len(content) < size:
            raise EOFError
        return answer, content

    def _too_late(self) -> None:
        self._late = True
        self._process.kill()

    def _ended(self, path: PathLike) -> UnreadableInput:
        if self._late:
            return UnreadableInput(
                f"decoding its pixels took more than {self._seconds:g} s: it may be damaged, or "
                "made to do harm", cure=_UNPACK, path=path,
            )  # fmt: skip
        return UnreadableInput(
            "its compressed pixels made the decoder crash, or need more memory than is allowed: "
            "it may be damaged, or made to do harm", cure=_UNPACK, path=path,
        )  # fmt: skip


def _too_much(path: PathLike) -> UnreadableInput:
    return UnreadableInput(
        "decoding its pixels needs more memory than is allowed: it may be damaged, or made to do "
        "harm", cure=_UNPACK, path=path,
    )  # fmt: skip


_idle: list[tuple[int, Decoder]] = []  # process id of who started it, so that a fork has its own
_lock = threading.Lock()


def decode_frame(source: bytes, options: Mapping[str, Any], path: PathLike) -> NDArray[np.generic]:
    """The pixels of one packed frame, by a child process that stays for the next.

    Args:
        source: As for `Decoder.decode`.
        options: As for `Decoder.decode`.
        path: The file, for messages.

    Raises:
        UnreadableInput: If the frame is damaged, or needs more memory or time than allowed.
    """
    decoder = _take()
    try:
        return decoder.decode(source, options, path)
    finally:
        if decoder.is_alive:
            with _lock:
                _idle.append((os.getpid(), decoder))


def close_decoders() -> None:
    """End the children that wait for work; the next frame starts another."""
    with _lock:
        ours = [decoder for owner, decoder in _idle if owner == os.getpid()]
        _idle.clear()
    for decoder in ours:
        decoder.close()


def _take() -> Decoder:
    with _lock:
        while _idle:
            owner, decoder = _idle.pop()
            if owner == os.getpid() and decoder.is_alive:
                return decoder
    return Decoder()


atexit.register(close_decoders)
