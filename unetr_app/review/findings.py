"""Findings: what was measured of a case, kept so that a worklist need not read images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from unetr_app.io import write_json
from unetr_app.review.case_folder import CaseFolder
from unetr_app.review.stamps import read_object

_HIGHEST = 1e6  # what is beyond, or no number, is damage


@dataclass(frozen=True)
class Findings:
    """What a worklist shows of them.

    Args:
        flags: Short words on quality; None where nobody looked.
        uncertainty: Mean within the labels; None where unknown.
        modality: DICOM modality code; empty where unknown.
    """

    flags: tuple[str, ...] | None = None
    uncertainty: float | None = None
    modality: str = ""

    @classmethod
    def of(cls, folder: CaseFolder) -> Findings:
        """Those of a case; empty where there are none, or the file is damaged."""
        found = read_object(folder.findings)
        flags: Any = found.get("flags")
        words = tuple(map(str, cast("list[Any]", flags))) if isinstance(flags, list) else None
        number: Any = found.get("uncertainty")
        is_number = isinstance(number, int | float) and abs(number) <= _HIGHEST
        return cls(words, float(number) if is_number else None, str(found.get("modality") or ""))


def note_findings(folder: CaseFolder, findings: Mapping[str, Any]) -> None:
    """Add findings to those that are known; equal keys are replaced.

    Args:
        folder: The case's review.
        findings: ``flags`` (short words), ``uncertainty`` (0 to 1), ``modality``, and whatever else
            JSON holds.

    Raises:
        UnwritableOutput: If they cannot be written.
    """
    said = {k: list(v) if isinstance(v, tuple) else v for k, v in findings.items()}
    known = read_object(folder.findings)
    if known | said != known:
        folder.make()
        write_json(folder.findings, known | said)
