from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets.unetr import UNETR
from safetensors.torch import load_file, save_file
from torch import Tensor

from unetr_app.errors import UnetrError, UnusableWeights
from unetr_app.networks import build_network, network_from_checkpoint

State = dict[str, Tensor]
SMALL: dict[str, Any] = {
    "in_channels": 2, "out_channels": 3, "img_size": (16, 32, 48), "feature_size": 4,
    "hidden_size": 24, "mlp_dim": 32, "num_heads": 2,
}  # fmt: skip


def _shaken(seed: int = 0, **options: Any) -> UNETR:
    """MONAI's network with no tensor left at its initial value."""
    torch.manual_seed(seed)
    network = UNETR(**(SMALL | options)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in network.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
            elif name.endswith("running_mean"):
                buffer.normal_()
    return network


def _assert_same_output(reference: UNETR, path: Path, image: Tensor, **overrides: Any) -> None:
    ours = network_from_checkpoint(path, **overrides)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), reference(image), atol=1e-4, rtol=1e-5)


def _random_options(seed: int) -> dict[str, Any]:
    pick = random.Random(seed)
    dims, heads = pick.choice([2, 3, 3]), pick.choice([1, 2, 3])
    return {
        "in_channels": pick.choice([1, 2, 4]),
        "out_channels": pick.choice([2, 5, 14]),
        "img_size": tuple(pick.choice([16, 32, 48]) for _ in range(dims)),
        "spatial_dims": dims,
        "feature_size": pick.choice([2, 4, 6]),
        "hidden_size": 8 * heads,
        "num_heads": heads,
        "mlp_dim": pick.choice([12, 32]),
        "proj_type": pick.choice(["conv", "perceptron"]),
        "norm_name": pick.choice(["instance", "batch", ("instance", {"affine": True})]),
        "conv_block": pick.random() < 0.5,
        "res_block": pick.random() < 0.5,
        "qkv_bias": pick.random() < 0.5,
    }


@pytest.mark.parametrize("seed", range(12))
def test_any_configuration_gives_monais_output(seed: int, tmp_path: Path) -> None:
    options = _random_options(seed)
    reference = _shaken(seed, **options)
    torch.save(reference.state_dict(), tmp_path / "unetr.pt")
    image = torch.randn(2, options["in_channels"], *options["img_size"])
    _assert_same_output(
        reference, tmp_path / "unetr.pt", image,
        num_heads=options["num_heads"], roi_size=options["img_size"],
    )  # fmt: skip


def test_the_shared_fixture(shared: Path) -> None:
    folder = shared / "fixtures/encoders/monai_unetr"
    image = load_file(folder / "input.safetensors")["input"]
    expected = load_file(folder / "expected.safetensors")["logits"]
    with torch.no_grad():
        logits = network_from_checkpoint(folder)(image)
    assert (logits - expected).abs().max() < 1e-5


@pytest.mark.parametrize("nested", [True, False])
def test_a_folder_says_its_arguments_itself(nested: bool, tmp_path: Path) -> None:
    norm = ("group", {"num_groups": 2})  # nothing in the tensors tells it from an affine instance
    reference = _shaken(norm_name=norm)
    arguments = SMALL | {"norm_name": norm}
    save_file(reference.state_dict(), tmp_path / "model.safetensors")
    config = {"model_args": arguments} if nested else arguments
    (tmp_path / "config.json").write_text(json.dumps(config))
    _assert_same_output(reference, tmp_path, torch.randn(1, 2, 16, 32, 48))


def _wrapped(state: State, way: str) -> dict[str, Any]:
    return {
        "state_dict": {"epoch": 3, "best_acc": 0.8, "state_dict": state},
        "model": {"model": state, "optimizer": {"param_groups": [{"lr": 0.1}]}},
        "module.": {f"module.{key}": value for key, value in state.items()},
        "compiled": {f"_orig_mod.module.{key}": value for key, value in state.items()},
    }[way]


@pytest.mark.parametrize("way", ["state_dict", "model", "module.", "compiled"])
def test_wrapped_checkpoints_are_unwrapped(way: str, tmp_path: Path) -> None:
    reference = _shaken()
    torch.save(_wrapped(reference.state_dict(), way), tmp_path / "unetr.pth")
    _assert_same_output(
        reference, tmp_path / "unetr.pth", torch.randn(1, 2, 16, 32, 48),
        num_heads=2, roi_size=(16, 32, 48),
    )  # fmt: skip


def _old(state: State, release: str) -> State:
    """Today's tensors as an older MONAI stored them: it had some more, which it never read."""
    width = state["vit.norm.weight"].shape[0]
    old = {k: v for k, v in state.items() if "norm_cross_attn" not in k}
    if release == "0.8":
        old["vit.patch_embedding.cls_token"] = torch.randn(1, 1, width)
        for name in ("encoder2.blocks.0.1", "encoder2.blocks.1.1", "encoder3.blocks.0.1"):
            channels = state[f"{name}.conv1.conv.weight"].shape[0]
            old[f"{name}.conv3.conv.weight"] = torch.randn(channels, channels, 1, 1, 1)
            for tensor in ("weight", "bias"):
                old[f"{name}.norm3.{tensor}"] = torch.randn(channels)
    if release == "1.4":
        for block in range(12):
            stem = f"vit.blocks.{block}"
            old[f"{stem}.norm_cross_attn.weight"] = torch.randn(width)
            old[f"{stem}.norm_cross_attn.bias"] = torch.randn(width)
            for layer in ("to_q", "to_k", "to_v", "out_proj"):
                old[f"{stem}.cross_attn.{layer}.weight"] = torch.randn(width, width)
            old[f"{stem}.cross_attn.out_proj.bias"] = torch.randn(width)
    return old


@pytest.mark.parametrize("release", ["0.8", "1.3", "1.4"])
@pytest.mark.parametrize("proj_type", ["conv", "perceptron"])
def test_layouts_that_todays_monai_refuses(release: str, proj_type: str, tmp_path: Path) -> None:
    affine = ("instance", {"affine": True})
    reference = _shaken(proj_type=proj_type, norm_name=affine)
    old = _old(reference.state_dict(), release)
    with pytest.raises(RuntimeError, match="Error\\(s\\) in loading state_dict"):
        _shaken(proj_type=proj_type, norm_name=affine).load_state_dict(old)
    torch.save(old, tmp_path / "old.pth")
    _assert_same_output(
        reference, tmp_path / "old.pth", torch.randn(1, 2, 16, 32, 48),
        num_heads=2, roi_size=(16, 32, 48),
    )  # fmt: skip


def test_the_published_size_needs_no_further_words(tmp_path: Path) -> None:
    reference = _shaken(
        img_size=32, feature_size=2, hidden_size=768, num_heads=12, mlp_dim=16, in_channels=1
    )
    torch.save(reference.state_dict(), tmp_path / "unetr.pth")
    _assert_same_output(reference, tmp_path / "unetr.pth", torch.randn(1, 1, 32, 32, 32))


def test_a_network_that_a_config_built_takes_monais_names() -> None:
    reference = _shaken()
    ours = build_network(
        in_channels=2, out_channels=3, roi_size=(16, 32, 48), patch_size=16, embed_dim=24,
        mlp_dim=32, num_heads=2, depth=12, taps=[4, 7, 10, 12], qkv_bias=False, norm_eps=1e-5,
        feature_size=4,
    ).eval()  # fmt: skip
    ours.load_state_dict(reference.state_dict())
    image = torch.randn(1, 2, 16, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), reference(image), atol=1e-4, rtol=1e-5)


def _broken(state: State, how: str) -> State:
    key = "vit.blocks.3.mlp.linear1.weight"
    if how == "missing":
        return {k: v for k, v in state.items() if k != "vit.blocks.3.norm1.weight"}
    if how == "needed first":
        return {k: v for k, v in state.items() if k != "encoder1.layer.conv1.conv.weight"}
    if how == "shorter":
        return {k: v for k, v in state.items() if not k.startswith("vit.blocks.11.")}
    changes: dict[str, State] = {
        "shape": {key: torch.zeros(32, 25)},
        "nan": {key: torch.full_like(state[key], torch.nan)},
        "unknown": {"decoder9.conv.weight": torch.zeros(1)},
        "no axes": {"vit.patch_embedding.position_embeddings": torch.zeros(())},
        "no number": {"vit.blocks.x.norm1.weight": torch.zeros(24)},
        "tokens": {"vit.patch_embedding.position_embeddings": torch.zeros(1, 5, 24)},
    }
    return state | changes[how]


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("missing", "blocks.3.norm1.weight"),
        ("needed first", "'encoder1.layer.conv1.conv.weight' is missing"),
        ("shorter", "11 transformer blocks"),
        ("shape", r"'vit.blocks.3.mlp.linear1.weight' has shape \(32, 25\)"),
        ("nan", "'vit.blocks.3.mlp.linear1.weight' holds values that are not finite"),
        ("unknown", "'decoder9.conv.weight'"),
        ("tokens", "positions of 5 tokens"),
        ("no axes", "make no UNETR"),
        ("no number", "make no UNETR"),
    ],
)
def test_damage_is_refused_and_the_tensor_named(how: str, what: str, tmp_path: Path) -> None:
    torch.save(_broken(_shaken().state_dict(), how), tmp_path / "bad.pt")
    with pytest.raises(UnusableWeights, match=what) as caught:
        network_from_checkpoint(tmp_path / "bad.pt", num_heads=2, roi_size=(16, 32, 48))
    assert "bad.pt" in str(caught.value)


def test_what_no_tensor_says_is_asked_for(tmp_path: Path) -> None:
    torch.save(_shaken().state_dict(), tmp_path / "unetr.pt")
    with pytest.raises(UnusableWeights, match="attention heads") as caught:
        network_from_checkpoint(tmp_path / "unetr.pt")
    assert "num_heads" in caught.value.cure
    with pytest.raises(UnusableWeights, match="6 tokens lie along 3 axes") as caught:
        network_from_checkpoint(tmp_path / "unetr.pt", num_heads=2)
    assert "roi_size" in caught.value.cure


@pytest.mark.parametrize(
    "config", [{"num_heads": "two"}, {"num_heads": 0}, {"norm_name": 5}, {"norm_name": "none"}]
)
def test_arguments_that_make_no_network_are_refused(config: State, tmp_path: Path) -> None:
    torch.save(_shaken().state_dict(), tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(json.dumps(SMALL | config))
    with pytest.raises(UnetrError):
        network_from_checkpoint(tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(UnetrError, match=r"conv.weight"):
        network_from_checkpoint(tmp_path / "other.pt")
