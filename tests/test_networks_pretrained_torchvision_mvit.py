from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.mvit_files import Recipe, State, flat_state, reference_maps
from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import timm_mvit, torchvision_mvit
from unetr_app.networks.pretrained.source import Checkpoint

SECOND = Recipe(axes=3, class_token=True, residual="grid")
FIRST = Recipe(
    axes=3, class_token=True, residual="none", relative=False, absolute=True, in_attention=False,
    every_query=False,
)  # fmt: skip
RECIPES = {
    "second": SECOND,
    "class token too": replace(SECOND, residual="all"),
    "no residual": replace(SECOND, residual="none"),
    "deeper": replace(SECOND, depths=(2, 1, 2), widths=(12, 12, 24), heads=(3, 2, 4)),
    "longer": replace(SECOND, size=(8, 2)),
    "first": FIRST,
}

_NAMES = (
    (r"^patch_embed\.proj", "conv_proj"),
    (r"attn\.proj\.", "attn.project.0."),
    (r"attn\.pool_([qkv])\.", r"attn.pool_\1.pool."),
    (r"attn\.norm_([qkv])\.", r"attn.pool_\1.norm_act.0."),
    (r"shortcut_proj_(attn|mlp)", "project"),
    (r"mlp\.fc1", "mlp.0"),
    (r"mlp\.fc2", "mlp.3"),
    (r"^head\.fc", "head.1"),
)


def _random(recipe: Recipe) -> tuple[State, State]:
    """A state with timm's names for the reference, and the same with torchvision's."""
    flat = flat_state(recipe)
    theirs: State = {}
    for name, tensor in flat.items():
        for old, new in _NAMES:
            name = re.sub(old, new, name)
        if name not in ("cls_token", "pos_embed"):
            theirs[name] = tensor
    if recipe.absolute:
        place, time = torch.randn(recipe.size[0] ** 2, 8), torch.randn(recipe.size[1], 8)
        own = torch.randn(8)
        theirs["pos_encoding.spatial_pos"], theirs["pos_encoding.temporal_pos"] = place, time
        theirs["pos_encoding.class_pos"] = own
        grid = (time.unsqueeze(1) + place.unsqueeze(0)).flatten(0, 1)
        flat["pos_embed"] = torch.cat([own.unsqueeze(0), grid]).unsqueeze(0)
    theirs["pos_encoding.class_token"] = flat["cls_token"].flatten()
    return flat, theirs


def _config(recipe: Recipe) -> dict[str, Any]:
    settings = []
    for enter, _, leave, heads, step_q, step_kv in recipe.blocks():
        pooled = recipe.every_query or step_q > 1
        settings.append(
            {
                "num_heads": heads, "input_channels": enter, "output_channels": leave,
                "kernel_q": [3, 3, 3] if pooled else [], "kernel_kv": [3, 3, 3],
                "stride_q": [1, step_q, step_q] if pooled else [],
                "stride_kv": [1, step_kv, step_kv],
            }
        )  # fmt: skip
    side, frames = 4 * recipe.size[0], 2 * recipe.size[1]
    arguments = {
        "spatial_size": [side, side], "temporal_size": frames, "block_setting": settings,
        "residual_pool": recipe.residual != "none", "rel_pos_embed": recipe.relative,
        "residual_with_cls_embed": recipe.residual == "all",
        "proj_after_attn": recipe.in_attention,
    }  # fmt: skip
    return {"architecture": "mvit_v2", "num_classes": 5, "model_args": arguments}


def _folder(tmp_path: Path, state: State, config: Mapping[str, Any] | None) -> Path:
    save_file({name: t.contiguous() for name, t in state.items()}, tmp_path / "model.safetensors")
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def _video(recipe: Recipe) -> Tensor:
    return torch.randn(1, 3, 2 * recipe.size[1], 4 * recipe.size[0], 4 * recipe.size[0])


def _assert_close(maps: list[Tensor], expected: list[Tensor]) -> None:
    assert len(maps) == len(expected)
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_features_of_videos(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name]
    flat, theirs = _random(recipe)
    path = _folder(tmp_path, theirs, _config(recipe))
    encoder, report = encoder_from_checkpoint(path, in_channels=3)
    video = _video(recipe)
    assert report.coverage == 1.0
    with torch.no_grad():
        _assert_close(encoder(video), reference_maps(recipe, flat, video))


@pytest.mark.parametrize("shape", [(8, 48, 32), (4, 32, 64)])
def test_videos_of_another_size_interpolate_the_tables(
    shape: tuple[int, int, int], tmp_path: Path
) -> None:
    flat, theirs = _random(SECOND)
    path = _folder(tmp_path, theirs, _config(SECOND))
    video = torch.randn(1, 3, *shape)
    for roi_size in (None, shape):  # interpolated as they run, or once as they are loaded
        encoder, _ = encoder_from_checkpoint(path, in_channels=3, roi_size=roi_size)
        with torch.no_grad():
            _assert_close(encoder(video), reference_maps(SECOND, flat, video))


def test_the_shared_fixture(shared: Path) -> None:
    folder = shared / "fixtures/encoders/torchvision_mvit3d"
    video = load_file(folder / "input.safetensors")["input"]
    expected = load_file(folder / "expected.safetensors")
    encoder, report = encoder_from_checkpoint(folder, in_channels=3)
    with torch.no_grad():
        maps = encoder(video)
    assert report.coverage == 1.0
    for feature, name in zip(maps, ("block0", "block2", "final"), strict=True):
        assert feature.shape == expected[name].shape
        assert (feature - expected[name]).abs().max() < 1e-5


def _published(recipe: Recipe) -> Checkpoint:
    """Tensors without data, in the sizes of mvit_v2_s and mvit_v1_b; nothing names them."""
    recipe = replace(
        recipe, widths=(96, 192, 384, 768), depths=(1, 2, 11, 2), heads=(1, 2, 4, 8),
        stride_q=(1, 2, 2, 2), stride_kv=(8, 4, 2, 1), size=(56, 8),
    )  # fmt: skip
    with torch.device("meta"):
        flat = flat_state(recipe)
    theirs: State = {}
    for name, tensor in flat.items():
        for old, new in _NAMES:
            name = re.sub(old, new, name)
        theirs[name] = tensor
    theirs["pos_encoding.class_token"] = theirs.pop("cls_token").flatten()
    if theirs.pop("pos_embed", None) is not None:
        for part, count in (("spatial", 56 * 56), ("temporal", 8)):
            theirs[f"pos_encoding.{part}_pos"] = torch.empty(count, 96, device="meta")
        theirs["pos_encoding.class_pos"] = torch.empty(96, device="meta")
    return Checkpoint(theirs, path="file.pth")


@pytest.mark.parametrize("recipe", [SECOND, FIRST], ids=["mvit_v2_s", "mvit_v1_b"])
def test_published_sizes_need_no_further_words(recipe: Recipe) -> None:
    source = torchvision_mvit.read(_published(recipe))
    assert source.options["depths"] == [1, 2, 11, 2]
    assert source.options["stride_q"] == [1, (1, 2, 2), (1, 2, 2), (1, 2, 2)]
    assert source.options["stride_kv"] == [(1, 8, 8), (1, 4, 4), (1, 2, 2), 1]
    assert source.options["patch_stride"] == (2, 4, 4)
    assert source.options["residual_pooling"] == recipe.residual
    assert source.options["pool_every_query"] == recipe.every_query
    assert source.options["balance_depth"] is False
    assert source.image_size == (16, 224, 224)


def test_a_published_network_cut_short_builds_no_smaller_one() -> None:
    checkpoint = _published(SECOND)
    cut = {k: v for k, v in checkpoint.state.items() if not k.startswith("blocks.15.")}
    with pytest.raises(UnusableWeights, match="stride_kv"):
        torchvision_mvit.read(replace(checkpoint, state=cut))
    for said in ({"config": {"architecture": "mvit_v2_s"}}, {"path": "mvit_v2_s-ae3be167.pth"}):
        with pytest.raises(UnusableWeights, match="15 blocks, and 16 belong"):
            torchvision_mvit.read(replace(checkpoint, state=cut, **said))


def test_what_nothing_says_is_asked_for_by_name(tmp_path: Path) -> None:
    flat, theirs = _random(SECOND)
    path = _folder(tmp_path, theirs, None)
    with pytest.raises(UnusableWeights, match="stride_q, stride_kv, residual_pooling"):
        encoder_from_checkpoint(path, in_channels=3)
    encoder, _ = encoder_from_checkpoint(
        path, in_channels=3, stride_q=[1, (1, 2, 2), (1, 2, 2)],
        stride_kv=[(1, 4, 4), (1, 2, 2), 1], residual_pooling="grid",
    )  # fmt: skip
    video = _video(SECOND)
    with torch.no_grad():
        _assert_close(encoder(video), reference_maps(SECOND, flat, video))


def _broken(state: State, how: str) -> State:
    dropped = {
        "last block": "blocks.3.", "block": "blocks.1.", "norm": "blocks.1.norm2.",
        "stem": "conv_proj.bias",
    }  # fmt: skip
    if how in dropped:
        return {k: v for k, v in state.items() if not k.startswith(dropped[how])}
    changes: dict[str, State] = {
        "shape": {"blocks.0.attn.qkv.weight": torch.zeros(24, 9)},
        "unknown": {"blocks.0.attn.gate.weight": torch.zeros(8)},
        "nan": {"norm.weight": torch.full((16,), torch.nan)},
    }
    return state | changes[how]


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("last block", "3 blocks, and 4 belong"),
        ("block", "not number 1"),
        ("norm", "blocks.1.norm2.weight' is missing"),
        ("shape", r"blocks.0.attn.qkv.weight \(24 x 9"),
        ("unknown", "blocks.0.attn.gate.weight"),
        ("nan", "not finite"),
    ],
)
def test_damage_is_refused_and_named(how: str, what: str, tmp_path: Path) -> None:
    path = _folder(tmp_path, _broken(_random(SECOND)[1], how), _config(SECOND))
    with pytest.raises(UnusableWeights, match=what):
        encoder_from_checkpoint(path, in_channels=3)


def test_a_missing_tensor_is_reported(tmp_path: Path) -> None:
    path = _folder(tmp_path, _broken(_random(SECOND)[1], "stem"), _config(SECOND))
    with pytest.raises(UnusableWeights, match=r"lacks what mvit calls embed\.bias"):
        encoder_from_checkpoint(path, in_channels=3)
    _, report = encoder_from_checkpoint(path, in_channels=3, minimum_coverage=0.9)
    assert [record.name for record in report.of("missing")] == ["embed.bias"]


def test_a_video_network_makes_no_encoder_of_images(tmp_path: Path) -> None:
    path = _folder(tmp_path, _random(SECOND)[1], _config(SECOND))
    with pytest.raises(InvalidRequest, match="volumetric"):
        encoder_from_checkpoint(path, spatial_dims=2, in_channels=3)


@pytest.mark.parametrize("recipe", [SECOND, FIRST], ids=["second", "first"])
def test_the_names_alone_tell_the_layout(recipe: Recipe) -> None:
    flat, theirs = _random(recipe)
    assert torchvision_mvit.recognises(theirs.keys())
    assert torchvision_mvit.recognises([f"model.{name}" for name in theirs])
    assert not torchvision_mvit.recognises(flat.keys())
    assert not timm_mvit.recognises(theirs.keys())
