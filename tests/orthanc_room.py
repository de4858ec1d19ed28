"""A real Orthanc in a network of its own, with the loopback alone, and a way for tests into it.

Orthanc 1.10 listens on every address whatever its configuration says, so it runs in a network
namespace that has no other. A thread of this process enters it; sockets and processes that the
thread makes are inside, everything else stays outside.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PORT = 8042
USER, PASSWORD = "anna", "s3cret-Canary"
ADDRESS = f"dicomweb+http://127.0.0.1:{PORT}/dicom-web"
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")


class Room:
    """The network with the server.

    Args:
        thread: One thread that is inside.
    """

    def __init__(self, thread: ThreadPoolExecutor):
        self._thread = thread

    def run(self, work: Callable[[], T]) -> T:
        """Do something inside."""
        return self._thread.submit(work).result(timeout=120)


def missing() -> str:
    """Why there can be no room here; empty where there can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    absent = [name for name in ("unshare", "ip", "Orthanc") if _found(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    if _plugin() is None:
        return "Orthanc's plugin for DICOMweb is not installed"
    if os.geteuid() != 0:
        return "entering a network namespace needs root"
    tried = subprocess.run(
        [_found("unshare") or "", "--net", _found("ip") or "", "link", "set", "lo", "up"],
        capture_output=True, check=False,
    )  # fmt: skip
    return "" if tried.returncode == 0 else "network namespaces are not allowed here"


@contextmanager
def orthanc(folder: Path) -> Generator[Room]:
    """Start the server in a network of its own.

    Args:
        folder: For its data.
    """
    (folder / "data").mkdir(parents=True)
    config = folder / "orthanc.json"
    config.write_text(json.dumps({
        "StorageDirectory": str(folder / "data"), "IndexDirectory": str(folder / "data"),
        "HttpPort": PORT, "RemoteAccessAllowed": True, "DicomServerEnabled": False,
        "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(_plugin())], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }))  # fmt: skip
    script = f'"{_found("ip")}" link set lo up && exec "{_found("Orthanc")}" "$0"'
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [_found("unshare") or "", "--net", "sh", "-c", script, str(config)],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        with ThreadPoolExecutor(1, initializer=_enter, initargs=(process,)) as thread:
            room = Room(thread)
            room.run(lambda: _wait_until_ready(process))
            yield room
    finally:
        process.terminate()
        process.wait(timeout=30)


def _found(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _plugin() -> Path | None:
    found = (path for folder in _PLUGINS for path in Path(folder).glob("libOrthancDicomWeb.so*"))
    return next(found, None)


def _enter(process: subprocess.Popen[bytes]) -> None:
    """Move this thread, and no other, into the network of a process."""
    theirs = Path(f"/proc/{process.pid}/ns/net")
    ours = os.readlink("/proc/self/ns/net")
    end = time.monotonic() + 30
    while os.readlink(theirs) == ours and time.monotonic() < end:
        time.sleep(0.01)
    handle = os.open(theirs, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, _NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(handle)


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            opener.open(f"http://127.0.0.1:{PORT}/system", timeout=5).close()
        except urllib.error.HTTPError:  # it wants a password: it is there
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("Orthanc did not start")
