"""Writes each bundle's configs/inference.json from its configs/inference.yaml.

People read and edit the YAML; tools that look for JSON by name get the same content.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"


def as_json(config: Path) -> str:
    """The content of a YAML config as JSON text."""
    return json.dumps(yaml.safe_load(config.read_text(encoding="utf-8")), indent=2) + "\n"


def main() -> None:
    """Write the JSON beside every YAML."""
    for config in sorted(BUNDLES.glob("*/configs/inference.yaml")):
        config.with_suffix(".json").write_text(as_json(config), encoding="utf-8")


if __name__ == "__main__":
    main()
