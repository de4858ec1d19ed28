from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.mvit_files import Recipe, State, flat_state, reference_maps, staged
from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import timm_mvit, timm_vit
from unetr_app.networks.pretrained.source import Checkpoint

RECIPES = {
    "plain": Recipe(),
    "heads": Recipe(widths=(12, 12, 24), heads=(3, 2, 4), depths=(2, 1, 2)),
    "class token": Recipe(class_token=True),
    "feed-forward": Recipe(in_attention=False, class_token=True),
    "no residual": Recipe(residual="none"),
    "positions": Recipe(absolute=True, class_token=True, relative=False),
    "both positions": Recipe(absolute=True),
    "coarse from the start": Recipe(stride_q=(2, 1, 2), stride_kv=(2, 2, 1)),
}


def _cfg(recipe: Recipe) -> dict[str, Any]:
    """timm's configuration, as far as it is not what timm takes where it is silent."""
    return {
        "depths": recipe.depths,
        "embed_dim": recipe.widths,
        "num_heads": recipe.heads,
        "expand_attn": recipe.in_attention,
        "use_cls_token": recipe.class_token,
        "use_abs_pos": recipe.absolute,
        "rel_pos_type": "spatial" if recipe.relative else "none",
        "residual_pooling": recipe.residual == "all",
        "stride_q": [(step, step) for step in recipe.stride_q],
        "stride_kv": [(step, step) for step in recipe.stride_kv],
    }


def _folder(tmp_path: Path, state: State, config: Mapping[str, Any] | None = None) -> Path:
    save_file({name: t.contiguous() for name, t in state.items()}, tmp_path / "model.safetensors")
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def _timm(tmp_path: Path, recipe: Recipe, **changes: Any) -> Path:
    arguments = {"cfg": _cfg(recipe) | changes, "img_size": 4 * recipe.size[0]}
    state = staged(flat_state(recipe), recipe.depths)
    return _folder(tmp_path, state, {"architecture": "mvitv2", "model_args": arguments})


def _image(recipe: Recipe = RECIPES["plain"]) -> Tensor:
    return torch.randn(2, 3, 4 * recipe.size[0], 4 * recipe.size[0])


def _assert_close(maps: list[Tensor], expected: list[Tensor]) -> None:
    assert len(maps) == len(expected)
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def _assert_every_slice(maps: list[Tensor], expected: list[Tensor]) -> None:
    _assert_close(maps, [e.unsqueeze(2).expand_as(m) for e, m in zip(expected, maps, strict=True)])


@pytest.mark.parametrize("name", RECIPES)
def test_features_of_images(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name]
    path = _timm(tmp_path, recipe)
    encoder, report = encoder_from_checkpoint(path, spatial_dims=2, in_channels=3)
    image = _image(recipe)
    assert report.coverage == 1.0
    with torch.no_grad():
        _assert_close(encoder(image), reference_maps(recipe, flat_state(recipe), image))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("depth", [16, 48])
def test_features_of_volumes_constant_along_depth(name: str, depth: int, tmp_path: Path) -> None:
    recipe = RECIPES[name]
    path = _timm(tmp_path, recipe)
    encoder, report = encoder_from_checkpoint(path, in_channels=3)
    image = _image(recipe)
    assert report.coverage == 1.0
    with torch.no_grad():
        expected = reference_maps(recipe, flat_state(recipe), image)
        maps = encoder(image.unsqueeze(2).expand(-1, -1, depth, -1, -1))
    _assert_every_slice(maps, expected)


@pytest.mark.parametrize(
    "strides",
    [
        {"patch_stride": (2, 4, 4)},
        {"stride_q": [1, (1, 2, 2), (1, 2, 2)], "stride_kv": [(1, 4, 4), (1, 2, 2), 1]},
    ],
)
def test_strides_along_depth_are_the_callers_to_choose(
    strides: dict[str, Any], tmp_path: Path
) -> None:
    recipe = RECIPES["class token"]
    path = _timm(tmp_path, recipe)
    encoder, _ = encoder_from_checkpoint(path, in_channels=3, roi_size=(16, 32, 32), **strides)
    image = _image(recipe)
    with torch.no_grad():
        expected = reference_maps(recipe, flat_state(recipe), image)
        maps = encoder(image.unsqueeze(2).expand(-1, -1, 16, -1, -1))
    _assert_every_slice(maps, expected)


@pytest.mark.parametrize("in_attention", [True, False])
def test_facebooks_names_need_the_strides(in_attention: bool, tmp_path: Path) -> None:
    recipe = replace(RECIPES["class token"], in_attention=in_attention)
    state = {
        name.replace("shortcut_proj_attn", "proj").replace("shortcut_proj_mlp", "proj"): tensor
        for name, tensor in flat_state(recipe).items()
    }
    torch.save({"model_state": state, "epoch": 300}, tmp_path / "mvit.pyth")
    encoder, report = encoder_from_checkpoint(
        tmp_path / "mvit.pyth", spatial_dims=2, in_channels=3,
        patch_stride=4, stride_q=[1, 2, 2], stride_kv=[4, 2, 1],
    )  # fmt: skip
    image = _image(recipe)
    assert report.coverage == 1.0
    with torch.no_grad():
        _assert_close(encoder(image), reference_maps(recipe, flat_state(recipe), image))


def test_facebooks_videos_add_no_query_to_the_class_token(tmp_path: Path) -> None:
    recipe = Recipe(axes=3, class_token=True, residual="grid")
    state = {k.replace("shortcut_proj_attn", "proj"): v for k, v in flat_state(recipe).items()}
    torch.save({"model_state": state}, tmp_path / "mvit.pyth")
    encoder, report = encoder_from_checkpoint(
        tmp_path / "mvit.pyth", in_channels=3, patch_stride=(2, 4, 4),
        stride_q=[1, (1, 2, 2), (1, 2, 2)], stride_kv=[(1, 4, 4), (1, 2, 2), 1],
    )  # fmt: skip
    video = torch.randn(1, 3, 8, 32, 32)
    assert report.coverage == 1.0
    assert encoder.strides == ((2, 4, 4), (2, 8, 8), (2, 16, 16))
    with torch.no_grad():
        _assert_close(encoder(video), reference_maps(recipe, flat_state(recipe), video))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_shared_fixture(shared: Path, spatial_dims: int) -> None:
    folder = shared / "fixtures/encoders/timm_mvitv2"
    image = load_file(folder / "input.safetensors")["input"]
    expected = load_file(folder / "expected.safetensors")
    encoder, report = encoder_from_checkpoint(folder, spatial_dims=spatial_dims, in_channels=3)
    if spatial_dims == 3:
        image = image.unsqueeze(2).expand(-1, -1, 64, -1, -1)
    with torch.no_grad():
        maps = encoder(image)
    assert report.coverage == 1.0
    assert {record.note for record in report.of("skipped")} == {"classification head"}
    for feature, name in zip(maps, ("stage0", "stage1", "stage2", "final"), strict=True):
        slices = [feature] if spatial_dims == 2 else feature.unbind(2)
        for slice_ in slices:
            assert slice_.shape == expected[name].shape
            assert (slice_ - expected[name]).abs().max() < 1e-5


@pytest.mark.parametrize("mode", ["max", "avg"])
@pytest.mark.parametrize("depth", [16, 32])
def test_pooling_without_weights_holds_along_depth(mode: str, depth: int, tmp_path: Path) -> None:
    recipe = Recipe()
    state = {k: v for k, v in flat_state(recipe).items() if not _is_pooling(k)}
    cfg = _cfg(recipe) | {"mode": mode, "kernel_qkv": (3, 3)}
    path = _folder(tmp_path, staged(state, recipe.depths), {"model_args": {"cfg": cfg}})
    flat, _ = encoder_from_checkpoint(path, spatial_dims=2, in_channels=3)
    volumetric, report = encoder_from_checkpoint(path, in_channels=3)
    assert report.coverage == 1.0
    image = _image()
    with torch.no_grad():
        expected = flat(image)
        maps = volumetric(image.unsqueeze(2).expand(-1, -1, depth, -1, -1))
    _assert_every_slice(maps, expected)


def _is_pooling(name: str) -> bool:
    return any(f".{part}_{letter}." in name for part in ("pool", "norm") for letter in "qkv")


def test_tables_of_another_roi_are_resized_once(tmp_path: Path) -> None:
    path = _timm(tmp_path, RECIPES["plain"])
    encoder, report = encoder_from_checkpoint(
        path, spatial_dims=2, in_channels=3, roi_size=(48, 32)
    )
    resized = [record.name for record in report.of("resized")]
    assert "blocks.0.attention.positions.0.table" in resized
    assert "blocks.0.attention.positions.1.table" not in resized
    assert encoder.blocks[0].attention.positions[0].table.shape == (23, 8)  # pyright: ignore


def _published(name: str) -> Checkpoint:
    """Tensors without data, in the sizes of a published network; the configuration names it."""
    sizes = {
        "mvitv2_tiny": Recipe(widths=(96, 192, 384, 768), depths=(1, 2, 5, 2)),
        "mvitv2_base_cls": Recipe(
            widths=(96, 192, 384, 768), depths=(2, 3, 16, 3), class_token=True
        ),
        "mvitv2_large": Recipe(
            widths=(144, 288, 576, 1152), depths=(2, 6, 36, 4), in_attention=False
        ),
    }
    recipe = replace(
        sizes[name], heads=tuple(2**n * (sizes[name].widths[0] // 72) for n in range(4)),
        stride_q=(1, 2, 2, 2), stride_kv=(4, 2, 1, 1), size=(56, 1),
    )  # fmt: skip
    with torch.device("meta"):
        state = staged(flat_state(recipe), recipe.depths)
    config = {"architecture": name, "pretrained_cfg": {"input_size": [3, 224, 224]}}
    return Checkpoint(state, config, spatial_dims=3)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("name", ["mvitv2_tiny", "mvitv2_base_cls", "mvitv2_large"])
def test_published_sizes_need_no_further_words(name: str, named: bool) -> None:
    checkpoint = _published(name)
    source = timm_mvit.read(checkpoint if named else replace(checkpoint, config={}))
    assert source.options["stride_kv"] == [4, 2, 1, 1]
    assert source.options["stride_q"] == [1, 2, 2, 2]
    assert (source.options["patch_kernel"], source.options["patch_stride"]) == (7, 4)
    assert source.options["class_token"] == ("cls" in name)
    assert source.options["expand_in_attention"] == (name != "mvitv2_large")
    assert source.image_size == (224, 224)


def test_a_published_network_cut_short_builds_no_smaller_one() -> None:
    checkpoint = _published("mvitv2_tiny")
    cut = {k: v for k, v in checkpoint.state.items() if not k.startswith("stages.2.blocks.4.")}
    with pytest.raises(UnusableWeights, match=r"\[1, 2, 4, 2\] blocks .* \[1, 2, 5, 2\]"):
        timm_mvit.read(replace(checkpoint, state=cut))
    with pytest.raises(UnusableWeights, match="stride_kv"):
        timm_mvit.read(replace(checkpoint, state=cut, config={}))


def test_what_nothing_says_is_asked_for_by_name(tmp_path: Path) -> None:
    recipe = Recipe(depths=(1, 2, 2))
    path = _folder(tmp_path, staged(flat_state(recipe), recipe.depths))
    with pytest.raises(UnusableWeights, match="patch_stride, stride_q, stride_kv"):
        encoder_from_checkpoint(path, in_channels=3)
    # With these the tables of relative positions tell the strides of queries.
    encoder, _ = encoder_from_checkpoint(
        path, spatial_dims=2, in_channels=3, patch_stride=4, image_size=32, stride_kv=[4, 2, 1]
    )
    assert encoder.strides == ((4, 4), (8, 8), (16, 16))


def test_heads_without_a_tensor_of_their_size_are_asked_for(tmp_path: Path) -> None:
    recipe = Recipe(relative=False)
    state = {k: v for k, v in flat_state(recipe).items() if not _is_pooling(k)}
    cfg = _cfg(recipe) | {"mode": "max"}
    cfg.pop("num_heads")
    path = _folder(tmp_path, staged(state, recipe.depths), {"model_args": {"cfg": cfg}})
    encoder, _ = encoder_from_checkpoint(path, in_channels=3, num_heads=[2, 4, 8])
    assert [block.attention.num_heads for block in encoder.blocks] == [2, 4, 4, 8]  # pyright: ignore


def _broken(state: State, how: str) -> State:
    dropped = {
        "stage": "stages.2.", "block": "stages.1.blocks.1.", "first block": "stages.1.blocks.0.",
        "norm": "stages.1.blocks.0.norm2.", "stem": "patch_embed.",
    }  # fmt: skip
    if how in dropped:
        return {k: v for k, v in state.items() if not k.startswith(dropped[how])}
    changes: dict[str, State] = {
        "shape": {"stages.0.blocks.0.attn.qkv.weight": torch.zeros(24, 9)},
        "unknown": {"stages.0.blocks.0.attn.gate.weight": torch.zeros(8)},
        "nan": {"norm.weight": torch.full((16,), torch.nan)},
        "apart": {"stages.0.blocks.0.attn.q.weight": torch.zeros(8, 8)},
        "widths": {"stages.1.blocks.1.norm2.weight": torch.zeros(24)},
    }
    return state | changes[how]


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("stage", r"\[1, 2\] blocks in its stages, and \[1, 2, 1\]"),
        ("block", r"\[1, 1, 1\] blocks in its stages"),
        ("first block", "not number 0"),
        ("norm", "blocks.1.norm2.weight' is missing"),
        ("stem", "patch_embed.proj.weight' is missing"),
        ("shape", r"stages.0.blocks.0.attn.qkv.weight \(24 x 9"),
        ("unknown", "stages.0.blocks.0.attn.gate.weight"),
        ("nan", "not finite"),
        ("apart", "made apart"),
        ("widths", "several widths"),
    ],
)
def test_damage_is_refused_and_named(how: str, what: str, tmp_path: Path) -> None:
    path = _timm(tmp_path, RECIPES["plain"])
    _folder(tmp_path, _broken(staged(flat_state(RECIPES["plain"]), (1, 2, 1)), how))
    with pytest.raises(UnusableWeights, match=what):
        encoder_from_checkpoint(path, in_channels=3)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"stride_kv": [(1, 1)] * 3}, "tables of relative positions are for grids of 8, 4, 4"),
        ({"stride_q": [(1, 1), (1, 1), (2, 2)]}, "tables of relative positions"),
        ({"norm_layer": "batchnorm2d"}, "its norms are batchnorm2d"),
        ({"depths": (1, 2, 3)}, r"\[1, 2, 1\] blocks"),
    ],
)
def test_a_configuration_that_contradicts_the_tensors_is_refused(
    changes: dict[str, Any], what: str, tmp_path: Path
) -> None:
    with pytest.raises(UnusableWeights, match=what):
        encoder_from_checkpoint(_timm(tmp_path, RECIPES["plain"], **changes), in_channels=3)


def test_tables_that_the_file_should_have_are_missed(tmp_path: Path) -> None:
    recipe = RECIPES["plain"]
    path = _timm(tmp_path, recipe)
    state = {k: v for k, v in flat_state(recipe).items() if "rel_pos_w" not in k}
    _folder(path, staged(state, recipe.depths))
    _, report = encoder_from_checkpoint(path, spatial_dims=2, in_channels=3, minimum_coverage=0.5)
    missing = [record.name for record in report.of("missing")]
    assert missing == [f"blocks.{n}.attention.positions.1.table" for n in range(4)]


def test_a_roi_that_the_strides_do_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no multiple of the coarsest stride"):
        encoder_from_checkpoint(_timm(tmp_path, RECIPES["plain"]), in_channels=3, roi_size=40)


def test_the_names_alone_tell_the_layout() -> None:
    flat = flat_state(RECIPES["both positions"])
    names = staged(flat, (1, 2, 1)).keys()
    assert timm_mvit.recognises(names)
    assert timm_mvit.recognises(flat.keys())
    assert timm_mvit.recognises([f"backbone.{name}" for name in names])
    assert not timm_mvit.recognises(["blocks.0.attn.qkv.weight", "patch_embed.proj.weight"])
    assert not timm_mvit.recognises(["blocks.0.attn.rel_pos_h", "blocks.0.attn.qkv.weight"])
    assert not timm_vit.recognises(names)
