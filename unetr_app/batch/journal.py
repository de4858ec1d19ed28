"""Journal: ``manifest.jsonl``, one JSON object a line, the newest of a case counts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from unetr_app.batch.lock import FileLock
from unetr_app.batch.outcome import Outcome, Problem
from unetr_app.errors import UnwritableOutput
from unetr_app.io import atomic
from unetr_app.io.lines import append_line
from unetr_app.outputs import MANIFEST
from unetr_app.version import __version__


@dataclass(frozen=True)
class Row:
    """One line of the manifest: an outcome, and what it was made from.

    Args:
        outcome: How the case ended.
        input_from_manifest: Path from the manifest's folder to the input.
        input_hash: `content_hash` of the case's files; empty where they could not be read.
        bundle: Name, version and hashes of the bundle.
        parameters: The options that matter to the outputs.
        hashes: SHA-256 of each output.
        key: `Recipe.key` of the case; empty where it failed.
        forced: Was the input accepted against the bundle's training range?
        tool_version: The package's version.
    """

    outcome: Outcome
    input_from_manifest: str = ""
    input_hash: str = ""
    bundle: dict[str, str] = field(default_factory=dict[str, str])
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    hashes: dict[str, str] = field(default_factory=dict[str, str])
    key: str = ""
    forced: bool = False
    tool_version: str = __version__

    def to_json(self) -> str:
        """The row as one line of JSON, without the line's end."""
        outcome = self.outcome
        error = outcome.error
        return json.dumps(
            {
                "case_id": outcome.case_id,
                "status": outcome.status,
                "input": outcome.input,
                "outputs": list(outcome.outputs),
                "seconds": outcome.seconds,
                "peak_memory_mib": outcome.peak_memory_mib,
                "warnings": list(outcome.warnings),
                "error": error and {"code": error.code, "cause": error.cause, "cure": error.cure},
                "bundle": self.bundle,
                "parameters": self.parameters,
                "input_from_manifest": self.input_from_manifest,
                "input_hash": self.input_hash,
                "output_hashes": self.hashes,
                "forced": self.forced,
                "key": self.key,
                "tool_version": self.tool_version,
            }
        )

    @classmethod
    def from_json(cls, line: str) -> Row | None:
        """Read a line; None where it is torn or of another make."""
        try:
            found = json.loads(line)
            error = found["error"]
            outcome = Outcome(
                case_id=str(found["case_id"]),
                status=found["status"],
                input=str(found["input"]),
                outputs=tuple(str(path) for path in found["outputs"]),
                seconds=float(found["seconds"]),
                peak_memory_mib=float(found.get("peak_memory_mib", 0.0)),
                warnings=tuple(str(words) for words in found["warnings"]),
                error=error and Problem(error["code"], error["cause"], error["cure"]),
            )
            return cls(
                outcome=outcome,
                input_from_manifest=str(found.get("input_from_manifest", "")),
                input_hash=str(found.get("input_hash", "")),
                bundle=cast("dict[str, str]", dict(found["bundle"])),
                parameters=dict(found.get("parameters", {})),
                hashes=cast("dict[str, str]", dict(found.get("output_hashes", {}))),
                key=str(found.get("key", "")),
                forced=bool(found.get("forced", False)),
                tool_version=str(found.get("tool_version", "")),
            )
        except (ValueError, KeyError, TypeError):
            return None


class Journal:
    """The manifest of an output folder; several processes may append to it.

    Each row reaches the disk before `append` returns. A line torn by a crash is passed over when
    reading and closed before the next row, so that it spoils no other.

    Args:
        out: The output folder.
        lock_path: The lock file that appending and compacting hold.
    """

    def __init__(self, out: Path, lock_path: Path):
        self.path = out / MANIFEST
        self._lock_path = lock_path
        self._reading = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._parsed = b""

    def rows(self) -> dict[str, Row]:
        """The newest row of each case, by case id.

        Raises:
            UnwritableOutput: If there is a manifest that cannot be read.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise UnwritableOutput(
                f"the manifest cannot be read: {error.strerror}",
                cure="Check that you may read and write the output folder.",
                path=self.path,
            ) from error
        with self._reading:
            if not content.startswith(self._parsed):  # compacted since
                self._rows, self._parsed = {}, b""
            whole, newline, _ = content[len(self._parsed) :].rpartition(b"\n")
            self._parsed += whole + newline
            for line in whole.decode(errors="replace").split("\n"):
                row = Row.from_json(line)
                if row is not None:
                    self._rows[row.outcome.case_id] = row
            return dict(self._rows)

    def append(self, row: Row) -> None:
        """Add a row; it is on the disk when this returns.

        Raises:
            UnwritableOutput: If it cannot be written; the rows before it are unharmed.
        """
        with FileLock(self._lock_path):
            try:
                append_line(self.path, row.to_json().encode() + b"\n")
            except OSError as error:
                raise UnwritableOutput(
                    f"the manifest cannot be written: {error.strerror}",
                    cure="Check that you may write to the output folder and that there is space.",
                    path=self.path,
                ) from error

    def compact(self, then: Callable[[dict[str, Row]], None]) -> None:
        """Rewrite the manifest as a whole, one row a case in order of case id.

        Args:
            then: Hears the rows while no other process can add any.

        Raises:
            UnwritableOutput: If it cannot be written; the old manifest stays.
        """
        with FileLock(self._lock_path):
            rows = dict(sorted(self.rows().items()))
            text = "".join(row.to_json() + "\n" for row in rows.values())
            if rows:
                atomic.write_text(self.path, text)
            then(rows)
