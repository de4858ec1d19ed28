from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.pyramid_files import (
    DEPTHS,
    HEADS,
    WIDTHS,
    State,
    assert_parity,
    authors_state,
    reference_maps,
)
from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks import ENCODERS, build_network, encoder_from_checkpoint, load_pretrained
from unetr_app.networks.pretrained.layouts import (
    LAYOUTS,
    hf_pvt,
    hf_segformer,
    nvlabs_segformer,
    timm_pvt,
)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_the_authors_names_give_their_features(linear: bool, prefix: str, tmp_path: Path) -> None:
    state = authors_state(linear=linear, qkv_bias=not prefix)
    torch.save(
        {"state_dict": {prefix + k: v for k, v in state.items()}, "meta": {"epoch": 3}},
        tmp_path / "model.pth",
    )
    image = torch.randn(1, 3, 32, 64)
    assert_parity(tmp_path / "model.pth", image, reference_maps(state, image), num_heads=HEADS)


@pytest.mark.parametrize(
    ("file", "linear", "hidden", "family"),
    [
        ("mit_b5.pth", False, (4, 4, 4, 4), "segformer"),
        ("pvt_v2_b5.pth", False, (4, 4, 4, 4), "pvt"),
        ("model.pth", False, (4, 4, 4, 4), "segformer"),
        ("model.pth", False, (8, 8, 4, 4), "pvt"),
        ("model.pth", True, (4, 4, 4, 4), "pvt"),
    ],
)
def test_the_family_is_told_by_feed_forwards_attention_or_name(
    file: str, linear: bool, hidden: tuple[int, ...], family: str, tmp_path: Path
) -> None:
    torch.save(authors_state(linear=linear, hidden=hidden), tmp_path / file)
    encoder, report = encoder_from_checkpoint(tmp_path / file, spatial_dims=2, num_heads=HEADS)
    assert report.encoder == family
    assert type(encoder) is ENCODERS[family]


def test_either_family_takes_the_file(tmp_path: Path) -> None:
    torch.save(authors_state(), tmp_path / "model.pth")
    image = torch.randn(1, 3, 32, 32)
    outputs = []
    for family in ("segformer", "pvt"):
        encoder, report = encoder_from_checkpoint(
            tmp_path / "model.pth", spatial_dims=2, in_channels=3, num_heads=HEADS, encoder=family
        )
        assert report.encoder == family
        outputs.append(encoder(image)[-1])
    torch.testing.assert_close(outputs[0], outputs[1], atol=0, rtol=0)


def test_an_encoder_that_is_there_is_filled(tmp_path: Path) -> None:
    state = authors_state()
    torch.save(state, tmp_path / "model.pth")
    encoder = build_network(
        "segformer", "mlp", spatial_dims=2, in_channels=3, roi_size=32, embed_dims=WIDTHS,
        depths=DEPTHS, num_heads=HEADS, mlp_ratios=(2, 3, 4, 4), width=4, patch_sizes=(7, 3, 3, 3),
    ).encoder.eval()  # fmt: skip
    assert load_pretrained(encoder, tmp_path / "model.pth", num_heads=HEADS).coverage == 1
    image = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        maps = encoder(image)
    torch.testing.assert_close(maps[-1], reference_maps(state, image)[-1], atol=2e-5, rtol=0)


def test_what_no_tensor_says_is_asked_for(tmp_path: Path) -> None:
    torch.save(authors_state(), tmp_path / "model.pth")
    with pytest.raises(UnusableWeights, match="num_heads") as caught:
        encoder_from_checkpoint(tmp_path / "model.pth")
    assert "num_heads" in caught.value.cure
    assert "model.pth" in str(caught.value)


def _b0() -> State:
    """A file of the size of MiT-B0, empty but for the shapes."""
    widths = (32, 64, 160, 256)
    state: State = {}
    for n, w in enumerate(widths):
        kernel, before, ratio = (3, widths[n - 1], (4, 2, 1)[n - 1]) if n else (7, 3, 8)
        stage = {f"patch_embed{n + 1}.proj.weight": (w, before, kernel, kernel)}
        stage |= {f"{name}.weight": (w,) for name in (f"patch_embed{n + 1}.norm", f"norm{n + 1}")}
        for b in range(2):
            block = f"block{n + 1}.{b}"
            stage |= {f"{block}.norm1.weight": (w,), f"{block}.norm2.weight": (w,)}
            stage |= {f"{block}.attn.q.weight": (w, w), f"{block}.attn.proj.weight": (w, w)}
            stage[f"{block}.attn.kv.weight"] = (2 * w, w)
            if ratio > 1:
                stage[f"{block}.attn.sr.weight"] = (w, w, ratio, ratio)
                stage[f"{block}.attn.norm.weight"] = (w,)
            stage[f"{block}.mlp.fc1.weight"] = (4 * w, w)
            stage[f"{block}.mlp.dwconv.dwconv.weight"] = (4 * w, 1, 3, 3)
            stage[f"{block}.mlp.fc2.weight"] = (w, 4 * w)
        for name, shape in stage.items():
            state[name] = torch.zeros(shape)
            state[name.replace("weight", "bias")] = torch.zeros(shape[0])
    return state


def test_the_published_size_needs_no_further_words(tmp_path: Path) -> None:
    torch.save(_b0(), tmp_path / "mit_b0.pth")
    encoder, report = encoder_from_checkpoint(tmp_path / "mit_b0.pth", spatial_dims=2)
    assert report.coverage == 1
    assert [stage.blocks[0].attention.num_heads for stage in encoder.stages] == [1, 2, 5, 8]  # pyright: ignore
    assert sum(p.numel() for p in encoder.parameters()) == 3_319_392 - 2 * 49 * 32  # one channel


def test_a_named_file_that_lost_a_block_is_refused(tmp_path: Path) -> None:
    state = {k: v for k, v in _b0().items() if not k.startswith("block4.1.")}
    torch.save(state, tmp_path / "mit_b0.pth")
    with pytest.raises(UnusableWeights, match=r"\(2, 2, 2, 1\) blocks a stage, and \(2, 2, 2, 2\)"):
        encoder_from_checkpoint(tmp_path / "mit_b0.pth", spatial_dims=2)
    torch.save(state, tmp_path / "model.pth")  # no name, and no longer a published size
    with pytest.raises(UnusableWeights, match="num_heads"):
        encoder_from_checkpoint(tmp_path / "model.pth", spatial_dims=2)


@pytest.mark.parametrize(
    ("lost", "what"),
    [
        ("block2.0.", "stages.1.blocks.0."),
        ("patch_embed2.proj.weight", "stages.1.embed.weight"),
        ("patch_embed1.", "stages.0.embed.weight"),
        ("block3.0.mlp.fc1.weight", "stages.2.blocks.0.feed_forward.expand.weight"),
    ],
)
def test_what_a_file_lacks_is_named(lost: str, what: str, tmp_path: Path) -> None:
    state = {k: v for k, v in authors_state().items() if not k.startswith(lost)}
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(UnusableWeights, match=what):
        encoder_from_checkpoint(tmp_path / "model.pth", spatial_dims=2, num_heads=HEADS)


def test_heads_that_do_not_divide_are_refused(tmp_path: Path) -> None:
    torch.save(authors_state(), tmp_path / "model.pth")
    with pytest.raises(InvalidRequest, match="no multiple of num_heads"):
        encoder_from_checkpoint(tmp_path / "model.pth", num_heads=(3, 3, 3, 3))


def test_one_layout_alone_knows_each_file() -> None:
    authors = authors_state().keys()
    first_version = {name.replace("mlp.dwconv.dwconv", "mlp.none") for name in authors}
    assert [layout for layout in LAYOUTS if layout.recognises(authors)] == [nvlabs_segformer]
    for layout in (hf_pvt, hf_segformer, nvlabs_segformer, timm_pvt):
        assert not layout.recognises(first_version)
