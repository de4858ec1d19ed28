from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets.unetr import UNETR
from monai.networks.nets.vit import ViT
from safetensors.torch import load_file
from torch import Tensor

from tests.vit_reference import require_parity, write_checkpoint
from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks import encoder_from_checkpoint, network_from_checkpoint
from unetr_app.networks.pretrained.layouts import monai_vit

# MONAI 1.6.1 makes its sines and cosines with a call that torch will change.
pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")

SIZES: dict[str, Any] = {"hidden_size": 24, "mlp_dim": 40, "num_layers": 2, "num_heads": 4}


def _model(dims: int, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A shaken model of MONAI, and the arguments that it was built with."""
    torch.manual_seed(0)
    arguments = {
        "in_channels": 2, "img_size": (16,) * dims, "patch_size": (4,) * dims,
        "spatial_dims": dims, **SIZES, **options,
    }  # fmt: skip
    model = ViT(**arguments).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model, {"architecture": "monai.networks.nets.ViT", "model_args": arguments}


def _features(model: Any, image: Tensor, patch: Sequence[int]) -> Tensor:
    """MONAI's tokens after the last norm as a map, without the class token."""
    with torch.no_grad():
        tokens = model(image)[1][-1]  # after the last block
        if hasattr(model, "cls_token"):  # MONAI gives the class alone: go through the blocks
            tokens = model.patch_embedding(image)
            tokens = torch.cat([model.cls_token.expand(len(image), -1, -1), tokens], dim=1)
            for block in model.blocks:
                tokens = block(tokens)
            tokens = tokens[:, 1:]
        tokens = model.norm(tokens)
    grid = [n // p for n, p in zip(image.shape[2:], patch, strict=True)]
    return tokens.mT.reshape(len(image), -1, *grid)


def _image(*shape: int) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))


OPTIONS: list[dict[str, Any]] = [
    {},
    {"classification": True, "num_classes": 3},
    {"qkv_bias": True, "num_heads": 2},
    {"in_channels": 1, "pos_embed_type": "sincos"},
    {"num_layers": 1, "save_attn": True},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("embedding", ["conv", "perceptron"])
def test_images_and_volumes_of_equal_slices(
    options: dict[str, Any], embedding: str, tmp_path: Path
) -> None:
    model, config = _model(2, proj_type=embedding, **options)
    image = _image(options.get("in_channels", 2), 16, 16)
    folder = write_checkpoint(tmp_path, model.state_dict(), config)
    require_parity(folder, image, _features(model, image, (4, 4)))


@pytest.mark.parametrize(
    "options",
    [
        *OPTIONS,
        {"img_size": (8, 16, 24)},
        {"patch_size": (8, 4, 2)},
        {"img_size": (8, 16, 24), "patch_size": (4, 8, 8), "classification": True},
    ],
)
@pytest.mark.parametrize("embedding", ["conv", "perceptron"])
def test_volumes_that_are_not_constant(
    options: dict[str, Any], embedding: str, tmp_path: Path
) -> None:
    model, config = _model(3, proj_type=embedding, **options)
    said = config["model_args"]
    image = _image(said["in_channels"], *said["img_size"])
    folder = write_checkpoint(tmp_path, model.state_dict(), config)
    encoder, report = encoder_from_checkpoint(folder, in_channels=said["in_channels"])
    assert report.coverage == 1
    with torch.no_grad():
        expected = _features(model, image, said["patch_size"])
        torch.testing.assert_close(encoder(image)[-1], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_linear_embedding_tells_no_patch_which_the_caller_then_says(
    dims: int, tmp_path: Path
) -> None:
    model, _ = _model(dims, proj_type="perceptron")
    torch.save(model.state_dict(), tmp_path / "vit.pt")
    given: dict[str, Any] = {"spatial_dims": dims, "in_channels": 2, "num_heads": 4}
    with pytest.raises(UnusableWeights, match="what patch_size is"):
        encoder_from_checkpoint(tmp_path / "vit.pt", **given)
    with pytest.raises(UnusableWeights, match="no channels of"):
        encoder_from_checkpoint(tmp_path / "vit.pt", patch_size=5, **given)
    encoder, _ = encoder_from_checkpoint(tmp_path / "vit.pt", patch_size=4, **given)
    image = _image(2, *(16,) * dims)
    with torch.no_grad():
        expected = _features(model, image, (4,) * dims)
        torch.testing.assert_close(encoder(image)[-1], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("embedding", ["conv", "perceptron"])
def test_the_patch_that_is_asked_for_is_no_fact_of_the_checkpoint(
    embedding: str, tmp_path: Path
) -> None:
    model, config = _model(3, proj_type=embedding)
    folder = write_checkpoint(tmp_path, model.state_dict(), config)
    encoder: Any = encoder_from_checkpoint(folder, in_channels=2, patch_size=(2, 4, 8))[0]
    assert encoder.strides[0] == (2, 4, 8)
    assert encoder.embed.weight.shape == (24, 2, 2, 4, 8)


@pytest.mark.parametrize("key", ["model.{}", "module.{}", "network.vit.{}", "module.net.{}"])
def test_names_that_training_scripts_wrap(key: str, tmp_path: Path) -> None:
    model, _ = _model(2)
    state = {key.format(name): tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "vit.pth")
    image = _image(2, 16, 16)
    expected = _features(model, image, (4, 4))
    require_parity(tmp_path / "vit.pth", image, expected, num_heads=4)


def test_names_of_earlier_releases_and_tensors_that_nothing_reads(tmp_path: Path) -> None:
    model, config = _model(2)
    state = model.state_dict()
    assert any("norm_cross_attn" in name for name in state)
    old = {
        name.replace("position_embeddings", "position_embedding"): tensor
        for name, tensor in state.items()
        if "norm_cross_attn" not in name
    }
    old["patch_embedding.cls_token"] = torch.zeros(1, 1, 24)
    image = _image(2, 16, 16)
    folder = write_checkpoint(tmp_path, old, config)
    require_parity(folder, image, _features(model, image, (4, 4)))


def _unetr(**options: Any) -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(0)
    arguments = {
        "in_channels": 1, "out_channels": 2, "img_size": (16, 32, 16), "feature_size": 4,
        "hidden_size": 12, "mlp_dim": 20, "num_heads": 3, **options,
    }  # fmt: skip
    return UNETR(**arguments).eval(), {"model_args": arguments}


@pytest.mark.parametrize("embedding", ["conv", "perceptron"])
def test_the_encoder_of_a_unetr_gives_the_maps_that_unetr_takes(
    embedding: str, tmp_path: Path
) -> None:
    model, config = _unetr(proj_type=embedding)
    folder = write_checkpoint(tmp_path, model.state_dict(), config)
    built, report = encoder_from_checkpoint(folder)
    encoder: Any = built
    assert encoder.taps == [4, 7, 10, 12]
    assert report.coverage == 1
    assert {r.note for r in report.of("skipped")} == {
        "decoder of UNETR", "never read by the forward pass",
    }  # fmt: skip
    image = _image(1, 16, 32, 16)
    with torch.no_grad():
        last, hidden = model.vit(image)
        for found, n in zip(encoder(image), (3, 6, 9), strict=False):
            wanted = hidden[n].mT.reshape(found.shape)
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        found = encoder(image)[-1]
        torch.testing.assert_close(found, last.mT.reshape(found.shape), atol=1e-5, rtol=0)


def test_the_shared_unetr_alone_and_in_its_network_is_one_encoder(shared: Path) -> None:
    folder = shared / "fixtures/encoders/monai_unetr"
    encoder, _ = encoder_from_checkpoint(folder, in_channels=2, roi_size=(32, 48, 32))
    image = load_file(folder / "input.safetensors")["input"]
    with torch.no_grad():
        wanted: Any = network_from_checkpoint(folder).encoder(image)
        for found, one in zip(encoder(image), wanted, strict=True):
            torch.testing.assert_close(found, one, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("gone", "config", "what"),
    [
        ("vit.blocks.11.", {"num_heads": 3}, "holds 11 blocks, and 12 belong"),
        ("vit.blocks.5.", {"num_heads": 3}, "holds 12 blocks but not number 5"),
        ("none", {}, "what num_heads is"),
        ("none", {"num_heads": 3, "num_layers": 13}, "holds 12 blocks, and 13 belong"),
        ("none", {"num_heads": 3, "classification": True}, "0 class tokens, and 1 belong"),
    ],
)
def test_what_is_not_whole_is_refused(
    gone: str, config: dict[str, Any], what: str, tmp_path: Path
) -> None:
    state = {k: v for k, v in _unetr()[0].state_dict().items() if not k.startswith(gone)}
    folder = write_checkpoint(tmp_path, state, {"img_size": (16, 32, 16), **config})
    with pytest.raises(UnusableWeights, match=what):
        encoder_from_checkpoint(folder)


def test_a_volumetric_checkpoint_builds_no_network_for_images(tmp_path: Path) -> None:
    model, config = _model(3)
    folder = write_checkpoint(tmp_path, model.state_dict(), config)
    with pytest.raises(InvalidRequest, match="volumetric"):
        encoder_from_checkpoint(folder, spatial_dims=2)


def test_relatives_are_not_taken_for_it() -> None:
    names = set(_model(2)[0].state_dict())
    assert monai_vit.recognises(names)
    assert monai_vit.recognises({f"vit.{name}" for name in names})
    assert not monai_vit.recognises({n for n in names if "position_embeddings" not in n})
    assert not monai_vit.recognises({n for n in names if "mlp.linear1" not in n})
