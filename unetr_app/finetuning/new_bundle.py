"""New bundle: the base's files under a new version, and the record of how it came about."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unetr_app.bundle.trust import folder_hash
from unetr_app.errors import UnusableBundle, UnwritableOutput
from unetr_app.finetuning.base_bundle import BaseBundle
from unetr_app.finetuning.result import Finetuned
from unetr_app.finetuning.workplace import FOLDER, RECORD
from unetr_app.io.atomic import write_json, write_text

_LEFT_OUT = frozenset({"models", "runs", "eval", FOLDER, RECORD})  # where they lie on top
_ALWAYS_LEFT_OUT = shutil.ignore_patterns(".git", "__pycache__", "*.pyc", "training_curve.*")
_OURS = 0o755
_METADATA = Path("configs/metadata.json")
_README = Path("docs/README.md")


def copy_base(base: BaseBundle, folder: Path) -> None:
    """Copy a bundle with its weights; other weights and runs stay behind.

    Nothing where it is done, and all over again where the copy's programs are not the base's.

    Raises:
        UnwritableOutput: If the operating system refuses.
    """
    is_copied = (folder / base.weights).is_file()
    if is_copied and folder_hash(folder) == folder_hash(base.card.path):
        return
    part = folder.with_name("copying")
    try:
        for old in (part, folder):
            shutil.rmtree(old, ignore_errors=True)
        _copy_tree(base.card.path, part)
        (part / base.weights).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base.card.path / base.weights, part / base.weights)
        part.replace(folder)
    except (OSError, shutil.Error) as error:
        raise UnwritableOutput(
            "the bundle could not be copied; the disk may be full", path=folder.parent.parent,
            cure="Free some space and run the same command again.",
        ) from error  # fmt: skip


def _copy_tree(source: Path, target: Path) -> None:
    """Copy files without their modes: of a base that cannot be written to, a bundle that can."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        always = _ALWAYS_LEFT_OUT(folder, names)
        return always | (_LEFT_OUT.intersection(names) if Path(folder) == source else set())

    shutil.copytree(source, target, ignore=left_out, copy_function=shutil.copyfile)
    for folder, _, _ in os.walk(target):
        Path(folder).chmod(_OURS)


def next_version(version: str) -> str:
    """The next minor version.

    Example:
        >>> next_version("0.1.3"), next_version("2"), next_version("beta")
        ('0.2.0', '2.1.0', 'beta.1')
    """
    found = re.match(r"(\d+)(?:\.(\d+))?(?:\.|$)", version)
    if not found:
        return f"{version}.1"
    return f"{found[1]}.{int(found[2] or 0) + 1}.0"


def record(base: BaseBundle, result: Finetuned, facts: dict[str, Any]) -> dict[str, Any]:
    """What ``finetuning.json`` says; nothing of a patient, no path and no name of a case.

    Args:
        base: What was started from.
        result: What came of it.
        facts: Further entries.
    """
    scores = [*result.labels, result.together]
    return {
        "base": {
            "bundle": base.card.name,
            "version": base.card.version,
            "weights_hash": base.card.weights_hash,
        },
        "verdict": result.verdict,
        "advice": result.advice,
        "dice": [asdict(score) for score in scores],
        "gain": result.gain,
        "gain_interval_95": result.interval,
        "cases": {"trained": result.trained, "held_out": facts["held_out_cases"]},
        "seconds": round(result.seconds, 1),
        "peak_bytes": result.peak_bytes,
        "warnings": [*result.warnings],
    } | {key: value for key, value in facts.items() if key != "held_out_cases"}


def describe(folder: Path, base: BaseBundle, result: Finetuned) -> None:
    """Write version, changelog, name and read-me of the new bundle.

    Raises:
        UnusableBundle: If the metadata cannot be read.
        UnwritableOutput: If the operating system refuses.
    """
    path = folder / _METADATA
    try:
        metadata = json.loads((base.card.path / _METADATA).read_text(encoding="utf-8"))
        known = metadata.get("changelog")
        version = next_version(base.card.version)
        line = (
            f"fine-tuned from {base.card.name} {base.card.version} on {result.trained} cases; mean "
            f"Dice on {result.together.cases} held-out cases {_figures(result)}"
        )
        metadata |= {
            "version": version,
            "changelog": (known if isinstance(known, dict) else {}) | {version: line},
            "name": f"{metadata.get('name', base.card.name)}, fine-tuned",
            "weights_advice": f"They were made by unetr finetune; {RECORD} says of what.",
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UnusableBundle(f"metadata.json of {base.card.name} cannot be read") from error
    if result.verdict == "worse":
        metadata["intended_use"] = f"{metadata.get('intended_use', '')} {result.advice}".strip()
    write_json(path, metadata)
    _describe_in_words(folder, base, result, f"{line[0].upper()}{line[1:]}.")


def _describe_in_words(folder: Path, base: BaseBundle, result: Finetuned, line: str) -> None:
    source = base.card.path / _README
    text = source.read_text(encoding="utf-8", errors="replace") if source.is_file() else ""
    rows = [
        f"| {score.name} | {_figure(score.before)} | {_figure(score.after)} | {score.cases} |"
        for score in (*result.labels, result.together)
    ]
    table = "\n".join(["| Label | Dice before | Dice after | Cases |", "|---|---|---|---|", *rows])
    head = f"# Fine-tuned from {base.card.name} {base.card.version}\n\n{line} {result.advice}"
    tail = "What follows is the base's own description; its figures are not this bundle's."
    write_text(folder / _README, f"{head}\n\n{table}\n\n{tail}\n\n{text}")


def _figures(result: Finetuned) -> str:
    return f"{_figure(result.together.before)} before, {_figure(result.together.after)} after"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
