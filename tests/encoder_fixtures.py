"""The shared checkpoints of every source layout: what they hold and how ours are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

ERROR = 1e-4
NOT_ASKED = {"hf_mask2former"}  # for a decoder, not an encoder


@dataclass(frozen=True)
class EncoderFixture:
    """One folder of shared checkpoints.

    Args:
        encoder: The encoder that it fills.
        maps: Names of the expected features that our maps must equal, finest first; "" for a map
            that the file does not hold.
        stride: Voxels of a token of the last map along depth.
        options: Arguments that make our maps those of the file.
        thin: Arguments for tokens of fewer slices, and how many slices the last map's then have.
        pool: How the reference pools, where the file holds the pooled feature.
        volumetric: Is it a checkpoint for volumes, with a volume for input?
        unsaid: Facts that stand in config.json alone.
    """

    encoder: str
    maps: Sequence[str]
    stride: int
    options: Mapping[str, Any] = field(default_factory=dict)
    thin: tuple[Mapping[str, Any], int] | None = None
    pool: str = ""
    volumetric: bool = False
    unsaid: Mapping[str, Any] = field(default_factory=dict)


_BLOCKS = ["block0", "block1", "block2", "final"]
_STAGES = ["stage0", "stage1", "stage2", "stage3"]
_TAPS = {"taps": [1, 2, 3, 4]}
_THIN_PATCH = ({"patch_size": (2, 8, 8)}, 2)
_THIN_PYRAMID = ({"patch_strides": [(1, 4, 4), (1, 2, 2), (2, 2, 2), (1, 2, 2)]}, 2)
_THIN_MVIT = (
    {"patch_stride": (2, 4, 4), "stride_q": [1, (1, 2, 2), (2, 2, 2), (1, 2, 2)]}, 4
)  # fmt: skip
_TWO_HEADS = {"num_heads": 2}
_PYRAMID_HEADS = {"num_heads": (1, 2, 4, 6)}

FIXTURES: dict[str, EncoderFixture] = {
    "hf_dinov2": EncoderFixture(
        "vit", ["", "", "", "final"], 7, _TAPS, ({"patch_size": (3, 7, 7)}, 3), unsaid=_TWO_HEADS
    ),
    "hf_segformer": EncoderFixture(
        "segformer", _STAGES, 32, {}, _THIN_PYRAMID, unsaid=_PYRAMID_HEADS
    ),
    "hf_timesformer": EncoderFixture(
        "timesformer", ["tokens"], 1, {"taps": [4]}, volumetric=True, unsaid=_TWO_HEADS
    ),
    "hf_vit": EncoderFixture(
        "vit", ["", "", "", "final"], 8, _TAPS, _THIN_PATCH, unsaid=_TWO_HEADS
    ),
    "monai_unetr": EncoderFixture(
        "vit", ["", "", "", ""], 16, volumetric=True,
        unsaid={"image_size": (32, 48, 32), "num_heads": 4},
    ),
    "timm_convmixer": EncoderFixture("convmixer", ["final"], 8, {"taps": [3]}, _THIN_PATCH),
    "timm_mixer": EncoderFixture("mixer", ["final"], 8, {"taps": [3]}, _THIN_PATCH),
    "timm_mvitv2": EncoderFixture(
        "mvit", [*_STAGES[:3], "final"], 32, {}, _THIN_MVIT,
        unsaid={"patch_stride": 4, "stride_q": [1, 2, 2, 2], "stride_kv": [4, 2, 1, 1]},
    ),
    "timm_pvtv2": EncoderFixture("pvt", _STAGES, 32, {}, _THIN_PYRAMID, unsaid=_PYRAMID_HEADS),
    "timm_vit_cls": EncoderFixture(
        "vit", _BLOCKS, 8, _TAPS, _THIN_PATCH, pool="token", unsaid=_TWO_HEADS
    ),
    "timm_vit_dino_reg": EncoderFixture(
        "vit", _BLOCKS, 8, _TAPS, _THIN_PATCH, pool="token", unsaid=_TWO_HEADS
    ),
    "timm_vit_gap": EncoderFixture(
        "vit", _BLOCKS, 8, _TAPS, _THIN_PATCH, pool="average", unsaid=_TWO_HEADS
    ),
    "timm_vit_map": EncoderFixture(
        "vit", _BLOCKS, 8, _TAPS, _THIN_PATCH, pool="attention", unsaid=_TWO_HEADS
    ),
    "timm_xcit": EncoderFixture(
        "xcit", ["block0", "block1"], 16, {}, ({"patch_size": (4, 16, 16)}, 4)
    ),
    "torchvision_mvit3d": EncoderFixture(
        "mvit", ["block0", "block2", "final"], 2, volumetric=True,
        unsaid={
            "stride_q": [1, (1, 2, 2), (1, 2, 2)],
            "stride_kv": [(1, 4, 4), (1, 2, 2), 1],
            "residual_pooling": "grid",
        },
    ),
}  # fmt: skip
ENCODERS_ALONE = sorted(FIXTURES.keys() - {"monai_unetr"})  # whose features the file holds
OF_IMAGES = sorted(name for name, row in FIXTURES.items() if not row.volumetric)
OF_VOLUMES = sorted(name for name, row in FIXTURES.items() if row.volumetric)


def folder_of(shared: Path, name: str) -> Path:
    """The folder of one fixture; skips where it is absent."""
    folder = shared / "fixtures" / "encoders" / name
    if not folder.is_dir():
        pytest.skip(f"no fixture {name} in the shared data")
    return folder


def read_input(folder: Path) -> Tensor:
    """(B, C, H, W), or (B, C, D, H, W) where the checkpoint is for volumes."""
    image = load_file(folder / "input.safetensors")["input"]
    return image.transpose(1, 2) if folder.name == "hf_timesformer" else image


def read_expected(folder: Path) -> dict[str, Tensor]:
    """Features by name, with the axes of ours."""
    expected = load_file(folder / "expected.safetensors")
    if folder.name == "hf_timesformer":  # (B, h w D, C), depth running fastest
        _, _, slices, height, width = read_input(folder).shape
        tokens = expected["tokens"].unflatten(1, (height // 8, width // 8, slices))
        expected["tokens"] = tokens.permute(0, 4, 3, 1, 2)
    return expected


def run(network: nn.Module, image: Tensor) -> Any:
    """Maps or logits without gradients."""
    with torch.no_grad():
        return network(image)


def require_equal(found: Tensor, expected: Tensor) -> None:
    """Equal shapes, equal values within `ERROR`; a volume in each of its slices; NaN never is."""
    if found.ndim == expected.ndim + 1:
        expected = expected.unsqueeze(2).expand(-1, -1, found.shape[2], -1, -1)
    torch.testing.assert_close(found, expected, atol=ERROR, rtol=0)


def require_expected(encoder: nn.Module, folder: Path, *, slices: int = 0) -> None:
    """The encoder's maps are those that the file holds.

    Args:
        encoder: Filled from the folder.
        folder: Of the fixture.
        slices: For an image as a volume that is constant along depth, how deep it is.
    """
    image, expected = read_input(folder), read_expected(folder)
    if slices:
        image = image.unsqueeze(2).expand(-1, -1, slices, -1, -1)
    maps = run(encoder, image)
    names = FIXTURES[folder.name].maps
    assert len(maps) == len(names)
    strides: Any = encoder.strides
    for feature, stride, name in zip(maps, strides, names, strict=True):
        if slices:
            assert feature.shape[2] == slices // stride[0]
        if name:
            require_equal(feature, expected[name])
