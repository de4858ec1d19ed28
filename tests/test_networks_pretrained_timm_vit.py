from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.vit_reference import (
    HEADS,
    WIDTH,
    State,
    require_parity,
    vit_features,
    vit_state,
    vit_tokens,
    write_checkpoint,
)
from unetr_app.errors import UnusableWeights
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import timm_vit

NONE: dict[str, int] = {}
DISTILLED = {"cls_token": 1, "dist_token": 1}
REGISTERS = {"cls_token": 1, "reg_token": 4}

VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "class token": ({}, {}),
    "no class token": ({"prefix": NONE}, {"class_token": False}),
    "normed after pooling": ({"prefix": NONE, "norm": "fc_norm"}, {"class_token": False}),
    "pooled by attention": ({"prefix": NONE, "pool": True}, {"class_token": False}),
    "distilled": ({"prefix": DISTILLED}, {}),
    "registers without positions": (
        {"prefix": REGISTERS, "placed": 0, "scaled": True},
        {"reg_tokens": 4, "no_embed_class": True, "init_values": 1e-5},
    ),
    "registers with positions": ({"prefix": REGISTERS}, {"reg_tokens": 4}),
    "registers alone": (
        {"prefix": {"reg_token": 2}, "placed": 0},
        {"reg_tokens": 2, "no_embed_class": True, "class_token": False},
    ),
    "gated": ({"gated": True, "scaled": True, "hidden": 36}, {}),
    "no bias of queries": ({"qkv_bias": False}, {"qkv_bias": False}),
    "not square": ({"grid": (2, 5)}, {"img_size": [8, 20]}),
    "nor the patch": ({"grid": (4, 2), "patch": (3, 5)}, {"img_size": [12, 10]}),
    "one block": ({"depth": 1}, {}),
    "grey": ({"channels": 1}, {}),
    "five channels": ({"channels": 5}, {}),
}


def _image(state: State, grid: tuple[int, int] = (3, 3)) -> torch.Tensor:
    _, channels, *patch = state["patch_embed.proj.weight"].shape
    size = [n * p for n, p in zip(grid, patch, strict=True)]
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "name", ["timm_vit_cls", "timm_vit_dino_reg", "timm_vit_gap", "timm_vit_map"]
)
def test_the_shared_fixtures(name: str, shared: Path) -> None:
    folder = shared / "fixtures/encoders" / name
    image = load_file(folder / "input.safetensors")["input"]
    require_parity(folder, image, load_file(folder / "expected.safetensors")["final"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_gives_the_references_features(variant: str, tmp_path: Path) -> None:
    options, said = VARIANTS[variant]
    state = vit_state(**options)
    config = {"architecture": "custom", "model_args": {"num_heads": HEADS, **said}}
    image = _image(state, options.get("grid", (3, 3)))
    folder = write_checkpoint(tmp_path, state, config)
    require_parity(folder, image, vit_features(state, image))


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_a_configuration_heads_and_image_size_are_enough(
    variant: str, tmp_path: Path
) -> None:
    options, said = VARIANTS[variant]
    state = vit_state(**options)
    image = _image(state, options.get("grid", (3, 3)))
    torch.save({"model": state}, tmp_path / "weights.pth")
    given = {"image_size": said["img_size"]} if "img_size" in said else {}
    require_parity(
        tmp_path / "weights.pth", image, vit_features(state, image), num_heads=HEADS, **given
    )


@pytest.mark.parametrize("heads", [1, 2, 3, 6])
@pytest.mark.parametrize("by", ["configuration", "caller"])
def test_any_number_of_heads(heads: int, by: str, tmp_path: Path) -> None:
    state = vit_state()
    said = heads if by == "configuration" else 4
    folder = write_checkpoint(tmp_path, state, {"model_args": {"num_heads": said}})
    given = {} if by == "configuration" else {"num_heads": heads}
    image = _image(state)
    require_parity(folder, image, vit_features(state, image, heads=heads), **given)


def test_the_approximate_activation(tmp_path: Path) -> None:
    state, heads = vit_state(), {"num_heads": HEADS}
    image = _image(state)
    for n in range(2):
        state[f"blocks.{n}.mlp.fc1.weight"] *= 3  # where the two differ most
    expected = vit_features(state, image, approximate="tanh")
    assert (expected - vit_features(state, image)).abs().max() > 1e-4
    config = {"model_args": {**heads, "act_layer": "gelu_tanh"}}
    require_parity(write_checkpoint(tmp_path / "a", state, config), image, expected)
    plain = write_checkpoint(tmp_path / "b", state, {"model_args": heads})
    require_parity(plain, image, expected, activation="gelu_tanh")


def test_registers_of_the_authors_of_dinov2_have_no_positions(tmp_path: Path) -> None:
    state = vit_state(prefix={"cls_token": 1, "register_tokens": 4}, placed=1, scaled=True)
    state["mask_token"] = torch.zeros(1, WIDTH)
    image = _image(state)
    folder = write_checkpoint(tmp_path, state)
    require_parity(folder, image, vit_features(state, image), num_heads=HEADS)


@pytest.mark.parametrize(
    ("registers", "size"),
    [
        ("reg_token", {}),
        ("reg_token", {"pretrained_cfg": {"input_size": [3, 12, 12]}}),
        ("register_tokens", {"image_size": 12}),
    ],
)
def test_nine_tokens_are_no_four_and_five_before_them(
    registers: str, size: dict[str, Any], tmp_path: Path
) -> None:
    state = vit_state(prefix={"cls_token": 1, registers: 4}, placed=0)  # 9 - 5 is a square too
    image = _image(state)
    folder = write_checkpoint(tmp_path, state, {"num_heads": HEADS, **size})
    require_parity(folder, image, vit_features(state, image))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("^", "module."), ("^", "backbone."), ("^", "module.model.visual."),
        (r"blocks\.", "blocks.0."), (r"mlp\.fc1", "mlp.w12"), (r"mlp\.fc2", "mlp.w3"),
        (r"ls([12])\.gamma", r"gamma_\1"),
    ],
)  # fmt: skip
def test_names_as_others_write_them(old: str, new: str, tmp_path: Path) -> None:
    state = vit_state(scaled=True, gated=True)
    image = _image(state)
    renamed = {re.sub(old, new, name, count=1): tensor for name, tensor in state.items()}
    assert renamed.keys() != state.keys()
    torch.save({"teacher": renamed}, tmp_path / "weights.pth")
    require_parity(tmp_path / "weights.pth", image, vit_features(state, image), num_heads=HEADS)


@pytest.mark.parametrize(
    ("options", "pool", "expected"),
    [
        ({"prefix": NONE, "norm": "fc_norm"}, "average", lambda t: t.mean(dim=1)),
        ({"norm": "fc_norm"}, "token", lambda t: t[:, 0]),
        ({"norm": "fc_norm"}, "average", lambda t: t[:, 1:].mean(dim=1)),
    ],
)
def test_the_norm_after_pooling_is_kept_for_it(
    options: dict[str, Any], pool: str, expected: Any, tmp_path: Path
) -> None:
    state = vit_state(**options)
    image = _image(state)
    torch.save(state, tmp_path / "weights.pth")
    encoder: Any = encoder_from_checkpoint(
        tmp_path / "weights.pth", spatial_dims=2, in_channels=3, num_heads=HEADS, pool=pool
    )[0]
    pooled = expected(vit_tokens(state, image))
    weight, bias = state["fc_norm.weight"], state["fc_norm.bias"]
    wanted = torch.nn.functional.layer_norm(pooled, (WIDTH,), weight, bias, 1e-6)
    with torch.no_grad():
        torch.testing.assert_close(encoder.pooled(image), wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "said", "what"),
    [
        ({"norm_pre.weight": torch.ones(WIDTH)}, {}, "before the first block"),
        ({}, {"pre_norm": True}, "before the first block"),
        ({"rope.freqs": torch.ones(2)}, {}, "turns queries and keys"),
        ({}, {"act_layer": "quick_gelu"}, "activation is 'quick_gelu'"),
        ({"blocks.0.attn.q_norm.weight": torch.ones(6)}, {}, r"blocks\.0\.attn\.q_norm"),
        ({"blocks.1.attn.q_bias": torch.ones(6)}, {}, r"blocks\.1\.attn\.q_bias"),
        ({"patch_embed.norm.weight": torch.ones(WIDTH)}, {}, r"patch_embed\.norm"),
        ({"patch_embed.proj.weight": torch.ones(WIDTH, 3, 2, 4, 4)}, {}, "has 5 axes"),
    ],
)
def test_variants_that_compute_something_else_are_refused(
    change: State, said: dict[str, Any], what: str, tmp_path: Path
) -> None:
    config = {"model_args": {"num_heads": HEADS, **said}}
    folder = write_checkpoint(tmp_path, {**vit_state(), **change}, config)
    with pytest.raises(UnusableWeights, match=what):
        encoder_from_checkpoint(folder)


def test_norms_without_bias_and_norms_after_the_branch_are_refused(tmp_path: Path) -> None:
    state = {k: v for k, v in vit_state().items() if not re.search(r"norm\d?\.bias", k)}
    folder = write_checkpoint(tmp_path / "rms", state, {"num_heads": HEADS})
    with pytest.raises(UnusableWeights, match="norms have no bias"):
        encoder_from_checkpoint(folder)
    config = {"architecture": "vit_base_patch16_rpn_224", "num_heads": HEADS}
    folder = write_checkpoint(tmp_path / "post", vit_state(), config)
    with pytest.raises(UnusableWeights, match="post-norm"):
        encoder_from_checkpoint(folder)


@pytest.mark.parametrize(
    ("gone", "said", "what"),
    [
        ("cls_token", {"no_embed_class": True}, "0 class tokens, and 1 belong"),
        ("reg_token", {"reg_tokens": 4, "no_embed_class": True}, "0 register tokens, and 4"),
        ("blocks.2", {"depth": 3}, "holds 2 blocks, and 3 belong"),
        ("blocks.1", {}, "holds 3 blocks but not number 1"),
        ("blocks.0.mlp.fc1.weight", {}, "feed_forward.expand.weight' is missing"),
    ],
)
def test_a_file_that_lacks_what_belongs_to_it_is_refused(
    gone: str, said: dict[str, Any], what: str, tmp_path: Path
) -> None:
    state = vit_state(prefix=REGISTERS, placed=0, depth=3)
    part = {name: tensor for name, tensor in state.items() if not name.startswith(gone)}
    folder = write_checkpoint(tmp_path, part, {"model_args": {"num_heads": HEADS, **said}})
    with pytest.raises(UnusableWeights, match=what):
        encoder_from_checkpoint(folder)


@pytest.mark.parametrize(
    "gone",
    ["norm.weight", "norm.bias", "blocks.0.attn.qkv.bias", "blocks.0.ls1.gamma", "cls_token"],
)
def test_one_tensor_that_is_gone_is_missed_and_changes_no_option(gone: str, tmp_path: Path) -> None:
    state = vit_state(scaled=True, prefix={"cls_token": 1}, placed=0)
    del state[gone]
    folder = write_checkpoint(tmp_path, state)
    options: dict[str, Any] = {"spatial_dims": 2, "num_heads": HEADS}
    if gone == "cls_token":  # nothing says that it ever was
        assert encoder_from_checkpoint(folder, **options)[1].coverage == 1
        return
    with pytest.raises(UnusableWeights, match="the file lacks"):
        encoder_from_checkpoint(folder, **options)
    encoder, report = encoder_from_checkpoint(folder, minimum_coverage=0.9, **options)
    assert len(report.of("missing")) == 1
    assert {"norm.weight", "blocks.0.scale1.gamma", "blocks.0.attention.qkv.bias"} <= set(
        encoder.state_dict()
    )


def test_whether_there_is_a_last_norm_is_asked_for_where_nothing_says_it(tmp_path: Path) -> None:
    state = {k: v for k, v in vit_state().items() if not k.startswith("norm.")}
    image = _image(state)
    bare = write_checkpoint(tmp_path / "bare", state)
    with pytest.raises(UnusableWeights, match="what final_norm is"):
        encoder_from_checkpoint(bare, num_heads=HEADS)
    expected = vit_features(state, image)
    require_parity(bare, image, expected, num_heads=HEADS, final_norm=False)
    said = {"model_args": {"num_heads": HEADS, "final_norm": False}}
    require_parity(write_checkpoint(tmp_path / "said", state, said), image, expected)
    silent = write_checkpoint(tmp_path / "silent", state, {"model_args": {"num_heads": HEADS}})
    with pytest.raises(UnusableWeights, match=r"lacks what vit calls norm\.weight, norm\.bias"):
        encoder_from_checkpoint(silent)


def test_relatives_are_not_taken_for_it() -> None:
    names = set(vit_state())
    assert timm_vit.recognises(names)
    assert timm_vit.recognises({f"backbone.{name}" for name in names})
    assert not timm_vit.recognises(names - {"pos_embed"})
    assert not timm_vit.recognises(names | {"blocks.0.temporal_attn.qkv.weight"})
    assert not timm_vit.recognises({"pos_embed", "patch_embed.proj.weight", "stages.0.weight"})
    assert not timm_vit.recognises({f"my{name}" for name in names})
