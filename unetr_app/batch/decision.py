"""Whether a case must be done, and under which id; decided from the manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from unetr_app.batch.fingerprint import Recipe
from unetr_app.batch.folder import OutputFolder
from unetr_app.batch.inputs import input_hash as hash_of
from unetr_app.batch.journal import Row
from unetr_app.batch.options import BatchOptions
from unetr_app.cases import Case
from unetr_app.errors import UnreadableInput
from unetr_app.io.dicom.web.address import is_address
from unetr_app.io.names import short_hash


@dataclass(frozen=True)
class Decision:
    """What is to become of a case.

    Args:
        needed: Must it be done?
        reason: Why, in a few words.
        input_hash: `unetr_app.batch.inputs.input_hash` of it.
    """

    needed: bool
    reason: str
    input_hash: str


def path_from(folder: Path, input_path: str) -> str:
    """The way from a folder to an input, so that the input is found from anywhere.

    An address on a network is the same from everywhere.
    """
    if is_address(input_path):
        return input_path
    absolute = os.path.abspath(input_path)
    try:
        return Path(os.path.relpath(absolute, folder)).as_posix()
    except ValueError:  # another drive
        return Path(absolute).as_posix()


def settle(case: Case, rows: Mapping[str, Row], folder: OutputFolder) -> Case:
    """The case under an id that no other input's results have.

    Two runs into one folder may bring two inputs of one name; the second gets a hash of its path
    behind its id, so that it never replaces the first one's results.

    Args:
        case: As found.
        rows: The newest manifest row of each case.
        folder: The output folder.
    """
    row = rows.get(case.id)
    if row is None or row.input_from_manifest == path_from(folder.root, case.input):
        return case
    if _has_content(case, row.input_hash):  # the same input, moved
        return case
    return replace(case, id=f"{case.id}-{short_hash(os.path.abspath(case.input))}")


def _has_content(case: Case, input_hash: str) -> bool:
    try:
        return hash_of(case) == input_hash
    except UnreadableInput:
        return False


def decide(
    case: Case, row: Row | None, *, recipe: Recipe, options: BatchOptions, folder: OutputFolder
) -> Decision:
    """Must a case be done, given its newest row?

    Args:
        case: Under its settled id.
        row: Its newest manifest row, if any.
        recipe: What it would be made with now.
        options: Whether to redo what is done, and to accept what was refused.
        folder: Where its results are looked at.

    Raises:
        UnreadableInput: If its files cannot be read.
    """
    input_hash = hash_of(case)
    if row is None:
        return Decision(True, "new", input_hash)
    if row.outcome.status == "failed":
        return Decision(True, "failed before", input_hash)
    if options.overwrite:
        return Decision(True, "overwrite", input_hash)
    reason = _change(row, recipe, input_hash)
    if not reason and row.forced and not options.force:
        reason = "was accepted by --force"
    if not reason and not folder.holds(row.hashes):
        reason = "results missing or changed"
    return Decision(bool(reason), reason or "already done", input_hash)


def _change(row: Row, recipe: Recipe, input_hash: str) -> str:
    if row.key == recipe.key(input_hash, forced=row.forced):
        return ""
    if row.input_hash != input_hash:
        return "input changed"
    if row.bundle != recipe.bundle:
        return "bundle changed"
    if row.parameters != recipe.parameters:
        return "options changed"
    return "made by another version of unetr-app"
