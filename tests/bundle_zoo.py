"""Small bundles in the style of a model zoo, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.unet import UNet

SEGRESNET: dict[str, Any] = {
    "_target_": "SegResNet", "blocks_down": [1, 1], "blocks_up": [1], "init_filters": 8,
    "in_channels": 1, "out_channels": 3,
}  # fmt: skip
UNET: dict[str, Any] = {
    "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [4, 8],
    "strides": [2], "num_res_units": 1,
}  # fmt: skip
PREPROCESSING: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": "image", "reader": "NoSuchReader"},
    {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": "no_channel"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
    {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0,
     "b_max": 1, "clip": True},
    {"_target_": "EnsureTyped", "keys": "image"},
]  # fmt: skip
SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
SIGMOID = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
THRESHOLD = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
SAVE = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"}
LARGEST = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1]}
BRATS = {
    "_target_": "Lambdad", "keys": "pred",
    "func": "$lambda x: torch.where(x[[2]] > 0, 4,"
            " torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))",
}  # fmt: skip


def invert(*, nearest: bool = False, keys: str = "pred") -> dict[str, Any]:
    """The step that goes home."""
    return {
        "_target_": "Invertd", "keys": keys, "transform": "@preprocessing", "orig_keys": "image",
        "nearest_interp": nearest, "to_tensor": True,
    }  # fmt: skip


def config(network: dict[str, Any], *post: dict[str, Any], **other: Any) -> dict[str, Any]:
    """What a zoo's ``inference.json`` holds, with a data folder that is not there."""
    return {
        "imports": ["$import glob", "$import os", "$import no_such_package as nsp"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/no/such/folder",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
        "frame": "$nsp.read_csv(@dataset_dir + '/test.csv')",
        "device": "$torch.device('cuda:7')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": PREPROCESSING},
        "dataset": {"_target_": "Dataset", "data": "@frame", "transform": "@preprocessing"},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.5},
        "postprocessing": {"_target_": "Compose", "transforms": [*post, SAVE]},
        "handlers": [
            {"_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/model.pt'",
             "load_dict": {"model": "@network"}},
            {"_target_": "NoSuchHandler"},
        ],
        "evaluator": {"_target_": "NoSuchEvaluator", "network": "@network"},
        "run": ["$@evaluator.run()"],
    } | other  # fmt: skip


def metadata(names: list[str], **image: Any) -> dict[str, Any]:
    """What a zoo's ``metadata.json`` holds."""
    channels = {"num_channels": 1, "spatial_shape": ["8*n", "8*n", "8*n"], "modality": "CT"}
    return {
        "version": "0.5.4", "description": "A model of a zoo.",
        "network_data_format": {
            "inputs": {"image": channels | {"channel_def": {"0": "image"}} | image},
            "outputs": {"pred": {
                "num_channels": len(names), "channel_def": {str(n): v for n, v in enumerate(names)},
            }},
        },
    }  # fmt: skip


def write_zoo_bundle(
    folder: Path, inference: dict[str, Any], facts: dict[str, Any], *, ending: str = "json",
    weights: Any = None,
) -> Path:  # fmt: skip
    """Write a bundle; its weights are those of a random network of its ``network_def``."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(facts))
    text = json.dumps(inference) if ending == "json" else yaml.safe_dump(inference)
    (folder / "configs" / f"inference.{ending}").write_text(text)
    if weights is None:
        weights = random_network(inference["network_def"]).state_dict()
    torch.save(weights, folder / "models" / "model.pt")
    return folder


def random_network(definition: dict[str, Any]) -> torch.nn.Module:
    """Of a definition as above, the same weights each time."""
    torch.manual_seed(1)
    kinds = {"SegResNet": SegResNet, "UNet": UNet}
    options = {key: value for key, value in definition.items() if key != "_target_"}
    return kinds[definition["_target_"]](**options).eval()
