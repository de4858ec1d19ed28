"""``unetr bundles``: what can be used to segment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr_app.cli.screen import say, show_table

if TYPE_CHECKING:
    from unetr_app.bundle import BundleCard

EXAMPLES = """Examples:
  unetr bundles
  unetr bundles --json
"""


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the bundles that are installed: modality, labels, spacing, weights, licence."""
    from unetr_app.bundle import list_bundles

    cards = list_bundles()
    if as_json:
        say(json.dumps([_as_dict(card) for card in cards]))
        return
    columns = ("Bundle", "Version", "Modality", ">Labels", "Spacing mm", "Weights", "Licence")
    show_table(columns, [_row(card) for card in cards])
    for card in cards:
        labels = ", ".join(f"{label.value} {label.name}" for label in card.labels)
        say(f"Labels of {card.name}: {labels}.")
        if card.weights is None:
            say(f"{card.name} has no weights. {card.weights_advice}".rstrip())


def _row(card: BundleCard) -> tuple[str, ...]:
    weights = f"{card.weights_bytes / 2**20:.1f} MiB" if card.weights else "none"
    return (
        card.name,
        card.version,
        card.modality or "any",
        str(len(card.labels)),
        _spacing_words(card),
        weights,
        card.weights_licence or "-",
    )


def _spacing(card: BundleCard) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Lowest and highest spacing in training, mm along the RAS axes."""
    return None if card.training_range is None else card.training_range.spacing_mm.trained


def _spacing_words(card: BundleCard) -> str:
    spacing = _spacing(card)
    if spacing is None:
        return "-"
    return " x ".join(
        f"{low:g}" if low == high else f"{low:g}-{high:g}"
        for low, high in zip(*spacing, strict=True)
    )


def _as_dict(card: BundleCard) -> dict[str, Any]:
    spacing = _spacing(card)
    return {
        "name": card.name,
        "version": card.version,
        "description": card.description,
        "modality": card.modality,
        "channels": list(card.channels),
        "labels": {str(label.value): label.name for label in card.labels},
        "roi_size": list(card.roi_size),
        "trained_spacing_mm": spacing and [list(bound) for bound in spacing],
        "weights": card.weights is not None,
        "weights_bytes": card.weights_bytes,
        "weights_hash": card.weights_hash,
        "weights_licence": card.weights_licence,
        "weights_advice": "" if card.weights else card.weights_advice,
    }
