"""Child process: the parent's side of `unetr_app.finetuning.child`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import unetr_app
from unetr_app import errors
from unetr_app.errors import Cancelled, DeviceMemory, UnetrError, UnusableBundle
from unetr_app.io.atomic import write_json

_LOOK_EVERY = 0.2  # seconds
_GRACE = 5.0  # seconds from the request to end to the kill
_KILLED = -9


def run_child(
    job: dict[str, Any], folder: Path, *, cwd: Path, log: Path,
    look: Callable[[], None], should_stop: Callable[[], bool],
) -> int:  # fmt: skip
    """Run a job in a process of its own until it ends.

    Args:
        job: See `unetr_app.finetuning.child`; the files ``done`` and ``error`` are added.
        folder: For the job's files.
        cwd: Where the process runs.
        log: What it says is added to this file.
        look: Called several times a second, to look how far it is.
        should_stop: Asked as often.

    Returns:
        The most bytes that it held; 0 where the system does not say.

    Raises:
        Cancelled: If ``should_stop`` said so; the process has ended.
        UnetrError: What it raised; `UnusableBundle` for what is none of ours.
    """
    done, error = folder / "done.json", folder / "error.json"
    for path in (done, error):
        path.unlink(missing_ok=True)
    path = write_json(folder / "job.json", job | {"done": str(done), "error": str(error)})
    with log.open("ab") as said:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "unetr_app.finetuning.child", str(path)],
            stdin=subprocess.PIPE, stdout=said, stderr=said, cwd=cwd, env=_environment(),
            start_new_session=True,
        )  # fmt: skip
        try:
            while child.poll() is None:
                if should_stop():
                    raise Cancelled("asked to stop", cure="Run the same command again to go on.")
                look()
                time.sleep(_LOOK_EVERY)
        finally:
            _end(child)
    look()
    if child.returncode:
        raise _error_of(child.returncode, error)
    return int(_read(done).get("peak_bytes", 0))


def _environment() -> dict[str, str]:
    """Ours, so that the child finds this very package, and leaves no compiled copies about."""
    here = str(Path(unetr_app.__file__).parents[1])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}


def _end(child: subprocess.Popen[bytes]) -> None:
    """Close its standard input, at which it ends; kill it where it does not."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _error_of(code: int, path: Path) -> UnetrError:
    found = _read(path)
    if found:
        kinds = {kind.code: kind for kind in vars(errors).values() if _is_error(kind)}
        kind = kinds.get(str(found.get("code")), UnusableBundle)
        return kind(str(found.get("what")), cure=str(found.get("cure") or ""))
    if code == _KILLED:
        return DeviceMemory(
            "the operating system ended the process, as it does where memory runs out",
            cure="Use a machine with more memory; the same command goes on where it stopped.",
        )
    return UnusableBundle(
        f"the process ended with code {code}", cure="Look at unfinished/log.txt of the new bundle."
    )


def _is_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, UnetrError)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
