from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.source import (
    Checkpoint,
    count_blocks,
    find_prefix,
    rename,
    strip_prefix,
    unwrap,
)

ONE = torch.zeros(1)


def test_what_the_caller_says_beats_the_configuration_and_that_the_table() -> None:
    config = {"num_heads": 3, "model_args": {"heads": 5}}
    assert Checkpoint({}, config, {"num_heads": 2}).fact("num_heads", published=7) == 2
    assert Checkpoint({}, config).fact("num_heads", "heads", published=7) == 3
    assert Checkpoint({}, config).fact("heads_of_ours", "heads", published=7) == 5
    assert Checkpoint({}, {}).fact("num_heads", "heads", published=7) == 7
    assert Checkpoint({}, {}, {"num_heads": None}).fact_or(4, "num_heads") == 4


def test_zero_and_false_are_said_none_is_not() -> None:
    assert Checkpoint({}, {"eps": 0.0, "bias": False, "heads": None}).fact("eps") == 0.0
    assert Checkpoint({}, {"bias": False}).fact_or(True, "bias") is False
    assert Checkpoint({}, {"heads": None}).fact_or(4, "heads") == 4


def test_what_stands_nowhere_is_an_error_that_names_the_argument() -> None:
    with pytest.raises(UnusableWeights, match="what num_heads is") as caught:
        Checkpoint({}, {"heads": None}, path="a/vit.pt").fact("num_heads", "heads")
    assert "num_heads=..." in caught.value.cure
    assert str(caught.value).startswith("vit.pt: ")


def test_the_reference_s_own_arguments_win_over_what_stands_around_them() -> None:
    config = {"a": 1, "b": 1, "pretrained_cfg": {"b": 2, "c": 2}, "model_args": {"c": 3}}
    said = Checkpoint({}, config).arguments
    assert (said["a"], said["b"], said["c"]) == (1, 2, 3)
    assert Checkpoint({}, {"a": 1, "model_args": [2]}).arguments["a"] == 1


@pytest.mark.parametrize(
    ("config", "path", "row"),
    [
        ({"architecture": "vit_small_patch16_224"}, "model.safetensors", 1),
        ({"_name_or_path": "facebook/vit-small-mae"}, "model.safetensors", 1),
        ({"architecture": "custom"}, "x/vit_small_reg4.pth", 2),
        ({}, "x/vit-small-reg4/model.safetensors", 2),
        ({}, "x/VIT_SMALL", 1),
        ({"architecture": "vit_small"}, "x/vit_small_reg4.pth", 1),
        ({}, "vit_small/x/model.safetensors", None),
        ({}, "", None),
    ],
)
def test_a_published_name_is_looked_for_where_files_bear_it(
    config: dict[str, Any], path: str, row: int | None
) -> None:
    table = {"vit_small": 1, "vit_small_reg4": 2}
    assert Checkpoint({}, config, path=path).published(table) == row


@given(sides=st.tuples(st.integers(1, 9), st.integers(1, 9)), patch=st.integers(1, 5))
def test_tokens_lie_as_the_stated_image_size_says(sides: tuple[int, int], patch: int) -> None:
    size = tuple(patch * n for n in sides)
    tokens = sides[0] * sides[1]
    for config in ({"image_size": size}, {"img_size": list(size)}, {"input_size": (3, *size)}):
        assert Checkpoint({}, config).grid(tokens, (patch, patch)) == sides
    assert Checkpoint({}, {}, {"image_size": size}).grid(tokens, (patch, patch)) == sides


@given(side=st.integers(1, 12), axes=st.integers(2, 3))
def test_or_in_a_square_or_cube(side: int, axes: int) -> None:
    for config in ({}, {"image_size": 7}):  # resized since its configuration was written
        checkpoint = Checkpoint({}, config)
        assert checkpoint.grid(side**axes, (4,) * axes) == (side,) * axes


def test_else_the_image_size_is_asked_for() -> None:
    with pytest.raises(UnusableWeights, match="how 12 tokens lie along 2 axes") as caught:
        Checkpoint({}, {"image_size": 16}).grid(12, (4, 4))
    assert "image_size=" in caught.value.cure
    assert Checkpoint({}, {}).stated_grid((4, 4)) is None


def test_an_image_size_of_the_caller_that_cannot_be_is_refused() -> None:
    checkpoint = Checkpoint({}, {"image_size": 16}, {"image_size": (12, 16)})
    with pytest.raises(UnusableWeights, match=r"are 12 patches of .*positions of 16 tokens"):
        checkpoint.grid(16, (4, 4))


@pytest.mark.parametrize(
    ("value", "dims", "expected"),
    [
        ((8, 8), 2, 8), ((8, 8), 3, 8), ((8, 4), 2, (8, 4)), ((8, 4), 3, (4, 8, 4)),
        ((2, 4, 4), 3, (2, 4, 4)), ((4, 4, 4), 3, 4),
    ],
)  # fmt: skip
def test_sizes_for_the_axes_asked_for(
    value: tuple[int, ...], dims: int, expected: int | tuple[int, ...]
) -> None:
    assert Checkpoint({}, spatial_dims=dims).per_axis(value) == expected


def test_a_file_that_lacks_what_its_configuration_states_is_refused() -> None:
    checkpoint = Checkpoint({}, {"reg_tokens": 4, "class_token": True})
    checkpoint.require_stated("registers", 4, "register_tokens", "num_registers", "reg_tokens")
    checkpoint.require_stated("class tokens", 1, "class_token", "class_token")
    checkpoint.require_stated("others", 3, "others", "others")
    for found, names in ((0, ("reg_tokens",)), (2, ("num_registers", "reg_tokens"))):
        with pytest.raises(UnusableWeights, match=f"holds {found} registers, and 4 belong"):
            checkpoint.require_stated("registers", found, "register_tokens", *names)
    with pytest.raises(UnusableWeights, match="holds 0 others, and 2 belong"):
        checkpoint.require_stated("others", 0, "others", "others", usual=2)
    given_too = Checkpoint({}, {"reg_tokens": 4}, {"register_tokens": 0})
    given_too.require_stated("registers", 0, "register_tokens", "reg_tokens")


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("module.a.b", "a.b"), ("_orig_mod.a", "a"), ("module._orig_mod.module.a", "a"),
        ("a.module.b", "a.module.b"), ("a", "a"), ("modules.a", "modules.a"),
    ],
)  # fmt: skip
def test_what_wrappers_put_before_names_is_taken_off(name: str, bare: str) -> None:
    assert unwrap({name: ONE}) == {bare: ONE}


def test_of_several_prefixes_the_first_that_is_there_is_taken_off() -> None:
    state = {"vit.a": ONE, "model.b": ONE, "c": ONE}
    assert list(strip_prefix(state, "net.", "vit.", "model.")) == ["a", "model.b", "c"]
    assert list(strip_prefix(state, "net.")) == list(state)


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["a.w", "b"], ""),
        (["model.a.w", "model.b", "head"], "model."),
        (["x.y.a.w", "x.y.b"], "x.y."),
        (["one.a.w", "two.a.w", "two.b"], "two."),
        (["ba.w", "bb"], None),
        (["one.a.w", "two.b"], None),
        (["a.w"], None),
        ([], None),
    ],
)
def test_the_prefix_is_what_stands_before_all_landmarks(
    names: list[str], prefix: str | None
) -> None:
    assert find_prefix(names, "a.w", "b") == prefix


def test_blocks_are_counted_and_must_all_be_there() -> None:
    names = ["blocks.0.a", "blocks.1.a", "blocks.10.b", "x.blocks.30.a"]
    names += [f"blocks.{n}.a" for n in range(2, 10)]
    assert count_blocks(names, r"blocks\.(\d+)\.") == 11
    assert count_blocks([], r"blocks\.(\d+)\.") == 0
    with pytest.raises(UnusableWeights, match="holds 11 blocks but not number 3"):
        count_blocks([name for name in names if ".3." not in name], r"blocks\.(\d+)\.")


def _qkv(names: str = "qkv") -> dict[str, Tensor]:
    return {f"0.{name}": torch.full((2, 3), float(n)) for n, name in enumerate(names)}


QKV = [(rf"(\d)\.{name}", rf"block.\1.qkv [{n}/3]") for n, name in enumerate("qkv")]


def test_names_become_ours_and_parts_are_joined_in_order() -> None:
    state = {**_qkv("vkq"), "norm.w": ONE, "head.w": ONE, "odd.norm.w": ONE}
    renamed = rename(state, [*QKV, (r"norm\.(w)", r"last.\1")], [(r"head", "classification head")])
    assert set(renamed.tensors) == {"block.0.qkv", "last.w"}
    assert torch.equal(renamed.tensors["block.0.qkv"], torch.cat([state[f"0.{n}"] for n in "qkv"]))
    assert renamed.origins == {"block.0.qkv": "0.q + 0.k + 0.v", "last.w": "norm.w"}
    assert renamed.skipped == {
        "head.w": "classification head", "odd.norm.w": "unknown to this layout",
    }  # fmt: skip


def test_a_joined_tensor_needs_all_its_parts_and_they_must_fit() -> None:
    with pytest.raises(UnusableWeights, match=r"block.0.qkv needs 3 parts.*only 0.q, 0.v"):
        rename(_qkv("qv"), QKV)
    bent = {**_qkv(), "0.k": torch.zeros(2, 4)}
    with pytest.raises(UnusableWeights, match=r"parts of block.0.qkv do not fit.*\(2, 4\)"):
        rename(bent, QKV)
