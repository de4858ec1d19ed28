from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.timesformer_files import FACEBOOK, HUGGING_FACE, published_state, video_encoder
from unetr_app.errors import UnusableWeights
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import (
    LAYOUTS,
    facebook_timesformer,
    hf_timesformer,
    timm_vit,
)
from unetr_app.networks.pretrained.source import Checkpoint


def _save(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save({"epoch": 15, "model_state": state, "cfg": "MODEL:\n  NAME: vit"}, path)
    return path


def _run(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return encoder(image)


@pytest.mark.parametrize("attention", ["divided", "joint"])
@pytest.mark.parametrize("prefix", ["model.", ""])
def test_every_tensor_finds_its_place(tmp_path: Path, attention: str, prefix: str) -> None:
    encoder = video_encoder(attention=attention, mlp_dim=20)
    state = published_state(encoder, FACEBOOK)
    state = {prefix + name.removeprefix("model."): tensor for name, tensor in state.items()}
    state[prefix + "head.weight"] = torch.zeros(2, 12)
    path = _save(tmp_path / "checkpoint_epoch_00015.pyth", state)
    found, report = encoder_from_checkpoint(path, in_channels=3, num_heads=3)
    assert report.layout == "Facebook TimeSformer"
    assert report.coverage == 1
    assert [r.note for r in report.of("skipped")] == ["classification head"]
    image = torch.randn(1, 3, 3, 16, 16)
    for ours, expected in zip(_run(found, image), _run(encoder, image), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_it_reads_what_transformers_names_otherwise(shared: Path, tmp_path: Path) -> None:
    folder = shared / "fixtures/encoders/hf_timesformer"
    theirs: Any = encoder_from_checkpoint(folder, in_channels=3)[0]
    path = _save(tmp_path / "a.pyth", published_state(theirs, FACEBOOK))
    ours, _ = encoder_from_checkpoint(path, in_channels=3, num_heads=2)
    image = torch.randn(1, 3, 4, 32, 32)
    torch.testing.assert_close(_run(ours, image), _run(theirs, image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["TimeSformer_divST_8x32_224_K400.pyth", "TimeSformer_divST_96x4_224_K600.pyth"]
)
def test_a_published_name_tells_heads_and_blocks(name: str) -> None:
    width, frames = 768, 8
    shapes = {
        "model.cls_token": (1, 1, width), "model.pos_embed": (1, 197, width),
        "model.time_embed": (1, frames, width), "model.patch_embed.proj.weight": (width, 3, 16, 16),
    }  # fmt: skip
    for n in range(12):
        shapes[f"model.blocks.{n}.temporal_fc.weight"] = (width, width)
        shapes[f"model.blocks.{n}.mlp.fc1.weight"] = (4 * width, width)
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    source = facebook_timesformer.read(Checkpoint(state, path=f"weights/{name}"))
    assert (source.options["num_heads"], source.options["depth"]) == (12, 12)
    assert source.image_size == (8, 224, 224)
    cut = {name: tensor for name, tensor in state.items() if ".11." not in name}
    with pytest.raises(UnusableWeights, match="11 blocks, and 12 belong"):
        facebook_timesformer.read(Checkpoint(cut, path=name))


def test_a_name_says_nothing_of_a_file_with_other_channels(tmp_path: Path) -> None:
    state = published_state(video_encoder(), FACEBOOK)
    path = _save(tmp_path / "TimeSformer_divST_8x32_224_K400.pyth", state)
    with pytest.raises(UnusableWeights, match="num_heads"):
        encoder_from_checkpoint(path, in_channels=3)


def test_one_layout_alone_recognises_each_file() -> None:
    facebook = published_state(video_encoder(), FACEBOOK)
    bare = [name.removeprefix("model.") for name in facebook]
    transformers = published_state(video_encoder(), HUGGING_FACE)
    for names, layout in (
        (facebook, facebook_timesformer),
        (bare, facebook_timesformer),
        (transformers, hf_timesformer),
    ):
        assert [known for known in LAYOUTS if known.recognises(list(names))] == [layout]
    assert not facebook_timesformer.recognises(
        ["patch_embed.proj.weight", "pos_embed", "blocks.0.attn.qkv.weight"]
    )
    assert timm_vit.recognises(["patch_embed.proj.weight", "pos_embed", "blocks.0.attn.qkv.weight"])
