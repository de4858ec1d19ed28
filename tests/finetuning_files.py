"""A bundle whose network is tiny, with random weights, and small data sets to fine-tune it on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from data import phantom
from unetr_app.bundle import find_bundle
from unetr_app.checksum import sha256_of

MR = "hippocampus_mr_unetr_segmentation"
RENAME = "Anterior=Anterior hippocampus,Posterior=Posterior hippocampus"
TINY: dict[str, Any] = {"embed_dim": 12, "num_heads": 2, "feature_size": 4}


def tiny_bundle(folder: Path) -> Path:
    """A copy of the hippocampus bundle whose network has few weights, drawn at random."""
    bundle = shutil.copytree(
        find_bundle(MR), folder, ignore=shutil.ignore_patterns("models", "runs")
    )
    for path in (bundle / "configs").glob("*.*"):
        if path.stem in ("train", "inference"):
            config = yaml.safe_load(path.read_text())
            config["network_def"] |= TINY
            text = json.dumps(config) if path.suffix == ".json" else yaml.safe_dump(config)
            path.write_text(text)
    (bundle / "models").mkdir()
    torch.manual_seed(0)
    torch.save(_network(bundle).state_dict(), bundle / "models" / "model.pt")
    return bundle


def small_dataset(folder: Path, cases: int = 6) -> Path:
    """Phantoms of hippocampi in five folds, and of this many people."""
    return phantom.write_msd_dataset(folder, cases, kind="mr")


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _network(bundle: Path) -> torch.nn.Module:
    from monai.bundle.config_parser import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    return parser.get_parsed_content("network_def")
