"""Findings: what was measured of a case, kept so that a worklist need not read images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from unetr_app.io import write_json
from unetr_app.review.case_folder import CaseFolder
from unetr_app.review.stamps import read_object
from unetr_app.review.statistics import LabelStatistics

_HIGHEST = 1e12  # what is beyond, or no number, is damage


@dataclass(frozen=True)
class Findings:
    """What a worklist shows of them.

    Args:
        flags: Short words on quality; None where nobody looked.
        uncertainty: Mean within the labels; None where unknown.
        modality: DICOM modality code; empty where unknown.
        labels: Voxels, volume and mean of each label; empty where nobody measured.
    """

    flags: tuple[str, ...] | None = None
    uncertainty: float | None = None
    modality: str = ""
    labels: tuple[LabelStatistics, ...] = ()

    @classmethod
    def of(cls, folder: CaseFolder) -> Findings:
        """Those of a case; empty where there are none, or the file is damaged."""
        found = read_object(folder.findings)
        flags: Any = found.get("flags")
        words = tuple(map(str, cast("list[Any]", flags))) if isinstance(flags, list) else None
        labels: Any = found.get("labels")
        rows = cast("list[Any]", labels) if isinstance(labels, list) else []
        return cls(
            words, _number(found.get("uncertainty")), str(found.get("modality") or ""),
            tuple(row for row in map(_label, rows) if row is not None),
        )  # fmt: skip


def said_of(row: LabelStatistics) -> dict[str, Any]:
    """What findings keep of a label's statistics."""
    return {
        "value": row.value, "name": row.name, "voxels": row.voxels,
        "millilitres": row.millilitres, "mean": row.mean,
    }  # fmt: skip


def _label(said: Any) -> LabelStatistics | None:
    """What `said_of` said; None where it is damaged."""
    try:
        value, voxels = (int(_number(said[key]) or 0) for key in ("value", "voxels"))
        millilitres = _number(said["millilitres"]) or 0.0
        return LabelStatistics(
            value, str(said["name"]), (0, 0, 0), voxels, millilitres, _number(said["mean"])
        )
    except (KeyError, TypeError):
        return None


def _number(said: Any) -> float | None:
    """A number as it may be; None where it is none, or damage."""
    is_number = isinstance(said, int | float) and not isinstance(said, bool)
    return float(said) if is_number and abs(said) <= _HIGHEST else None


def note_findings(folder: CaseFolder, findings: Mapping[str, Any]) -> None:
    """Add findings to those that are known; equal keys are replaced.

    Args:
        folder: The case's review.
        findings: ``flags`` (sentences), ``uncertainty`` (0 to 1), ``modality``, ``labels`` (of
            `said_of`), and whatever else JSON holds.

    Raises:
        UnwritableOutput: If they cannot be written.
    """
    said = {k: list(v) if isinstance(v, tuple) else v for k, v in findings.items()}
    known = read_object(folder.findings)
    if known | said != known:
        folder.make()
        write_json(folder.findings, known | said)
