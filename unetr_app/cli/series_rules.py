"""Options that say which DICOM series are cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from unetr_app.cases import Rules

ModalityOption = Annotated[
    str,
    typer.Option(
        "--modality", metavar="A,B", show_default="any",
        help="Take DICOM series of these modalities only, such as CT,MR.",
    ),
]  # fmt: skip
DescriptionOption = Annotated[
    str,
    typer.Option(
        "--series-description", metavar="REGEX", show_default="any",
        help="Take DICOM series only in whose description this is found.",
    ),
]  # fmt: skip
SlicesOption = Annotated[
    int,
    typer.Option("--min-slices", metavar="N", min=0, help="Take DICOM series only with so many."),
]
RulesOption = Annotated[
    str,
    typer.Option(
        "--rules", metavar="FILE", show_default="none",
        help="Take DICOM series that a rule of this file admits (.yaml, .json); it may say which "
             "series is which channel.",
    ),
]  # fmt: skip


def chosen_rules(modality: str, description: str, min_slices: int, rules: str) -> Rules | None:
    """The rules of the command line and of its file; None where there are none.

    Raises:
        InvalidRequest: If they make no sense, or the file cannot be read.
    """
    if not (modality or description or min_slices or rules):
        return None
    from unetr_app.cases import Rules, make_rule, read_rules

    every = make_rule(modality=modality, description=description, min_slices=min_slices)
    return read_rules(rules, every=every) if rules else Rules(every)
