from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.vit_reference import (
    HEADS,
    WIDTH,
    State,
    require_parity,
    vit_features,
    vit_state,
    write_checkpoint,
)
from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks import encoder_from_checkpoint, load_pretrained
from unetr_app.networks.encoders import ConvMixer, TimeSformer, VisionTransformer
from unetr_app.networks.inflation import repeat_over_depth, resize_kernel, resize_positions

CONFIG = {"architecture": "custom", "model_args": {"num_heads": HEADS}}
SIZES: dict[str, Any] = {
    "patch_size": 4, "embed_dim": WIDTH, "depth": 2, "num_heads": HEADS, "mlp_dim": 40,
    "class_token": True,
}  # fmt: skip


def _image(size: int = 12) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def _vit(roi_size: tuple[int, ...] = (12, 12, 12), channels: int = 1, **options: Any) -> nn.Module:
    dims = len(roi_size)
    return VisionTransformer(channels, roi_size, spatial_dims=dims, **{**SIZES, **options})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole checkpoint of a small vision transformer."""
    return write_checkpoint(tmp_path / "checkpoint", vit_state(), CONFIG)


def test_the_encoder_is_ready_to_use(folder: Path) -> None:
    encoder, report = encoder_from_checkpoint(folder)
    assert not encoder.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in encoder.parameters())
    assert (report.layout, report.encoder, report.coverage) == ("timm ViT", "vit", 1.0)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "weights.pth", "weights.bin"])
def test_files_and_folders_of_every_kind(name: str, tmp_path: Path) -> None:
    state, image = vit_state(), _image()
    write_checkpoint(tmp_path, state, CONFIG)
    if not name.endswith("safetensors"):
        (tmp_path / "model.safetensors").unlink()
        torch.save({"state_dict": state}, tmp_path / name)
    require_parity(tmp_path / name, image, vit_features(state, image))
    if name.startswith("model"):
        require_parity(tmp_path, image, vit_features(state, image))


@pytest.mark.parametrize(
    ("given", "roi"),
    [
        ({}, (12, 12, 12)),
        ({"spatial_dims": 2}, (12, 12)),
        ({"roi_size": 20}, (20, 20, 20)),
        ({"roi_size": (4, 24, 8)}, (4, 24, 8)),
        ({"patch_size": (2, 4, 6)}, (12, 12, 12)),
        ({"patch_size": 5}, (10, 10, 10)),
        ({"patch_size": 3, "roi_size": (3, 6, 9)}, (3, 6, 9)),
    ],
)
def test_positions_are_laid_out_for_the_roi_or_the_image_of_the_checkpoint(
    given: dict[str, Any], roi: tuple[int, ...], folder: Path
) -> None:
    encoder: Any = encoder_from_checkpoint(folder, **given)[0]
    patch = encoder.strides[0]
    assert encoder.positions.shape[2:] == tuple(n // p for n, p in zip(roi, patch, strict=True))
    for shape in (roi, tuple(2 * n for n in roi)):
        maps = encoder(torch.zeros(1, 1, *shape))
        assert maps[-1].shape[2:] == tuple(n // p for n, p in zip(shape, patch, strict=True))


def test_a_large_image_lays_out_no_volume_as_deep(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, vit_state(grid=(32, 30)), {
        "num_heads": HEADS, "image_size": [128, 120],
    })  # fmt: skip
    encoder: Any = encoder_from_checkpoint(folder)[0]
    assert encoder.positions.shape[2:] == (24, 32, 30)


@pytest.mark.parametrize("patch", [2, (8, 2, 6), (1, 4, 4), (16, 3, 5)])
def test_another_patch_resizes_kernel_and_positions(patch: Any, folder: Path) -> None:
    sizes = (patch,) * 3 if isinstance(patch, int) else patch
    roi = tuple(2 * n for n in sizes)
    encoder, report = encoder_from_checkpoint(folder, in_channels=3, patch_size=patch, roi_size=roi)
    state = vit_state()
    kernel = resize_kernel(state["patch_embed.proj.weight"], sizes[1:])
    torch.testing.assert_close(
        encoder.get_parameter("embed.weight"), repeat_over_depth(kernel, sizes[0])
    )
    positions = state["pos_embed"][:, 1:].mT.reshape(1, WIDTH, 3, 3)
    wanted = resize_positions(positions, [2, 2, 2])
    torch.testing.assert_close(encoder.get_parameter("positions"), wanted)
    assert report.coverage == 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dims", [2, 3])
def test_any_number_of_channels(channels: int, dims: int, folder: Path) -> None:
    encoder, report = encoder_from_checkpoint(folder, in_channels=channels, spatial_dims=dims)
    assert encoder(torch.zeros(1, channels, *(12,) * dims))[-1].shape[1] == WIDTH
    note = next(r.note for r in report.records if r.name == "embed.weight")
    assert (f"3 channels to {channels}" in note) == (channels != 3)
    image = _image()[:, :1]
    whole, _ = encoder_from_checkpoint(folder, in_channels=3, spatial_dims=2)
    if channels == 1 and dims == 2:
        with torch.no_grad():
            alike = whole(image.expand(-1, 3, -1, -1))[-1]
            torch.testing.assert_close(encoder(image)[-1], alike, atol=2e-5, rtol=0)


def test_options_of_the_encoder_may_be_given_and_win(folder: Path) -> None:
    encoder: Any = encoder_from_checkpoint(
        folder, taps=[2], drop_path=0.2, norm_eps=1e-3, pool="average", num_heads=2
    )[0]
    assert (encoder.taps, encoder.blocks[1].drop_path.rate) == ([2], 0.2)
    assert (encoder.norm.eps, encoder.blocks[0].attention.num_heads) == (1e-3, 2)
    rotary, report = encoder_from_checkpoint(folder, positions="rotary")
    assert "positions" not in rotary.state_dict()
    assert [r.note for r in report.of("skipped") if r.name == "pos_embed"] == [
        "this encoder was built without it"
    ]


def test_what_is_said_against_the_configuration_is_told(tmp_path: Path) -> None:
    arguments = {"num_heads": HEADS, "depth": 2, "img_size": [12, 12]}
    folder = write_checkpoint(tmp_path, vit_state(), {"model_args": arguments})
    same = {"num_heads": HEADS, "depth": 2, "image_size": 12}
    assert encoder_from_checkpoint(folder, **same)[1].overruled == ()
    _, report = encoder_from_checkpoint(folder, num_heads=2 * HEADS, depth=1)
    assert set(report.overruled) == {
        f"num_heads is {2 * HEADS}, not {HEADS}",
        "depth is 1, not 2",
    }
    assert "Otherwise than the checkpoint: " in str(report)


@pytest.mark.parametrize(
    "gone",
    [r"patch_embed\.proj\.bias", r"blocks\.0\.norm1\.bias", r".*attn\.proj\.bias", r".*norm2\..*"],
)
def test_whatever_belongs_to_the_checkpoints_network_must_be_there(
    gone: str, tmp_path: Path
) -> None:
    state = {k: v for k, v in vit_state().items() if not re.fullmatch(gone, k)}
    folder = write_checkpoint(tmp_path, state, CONFIG)
    with pytest.raises(UnusableWeights, match="lacks what vit calls"):
        encoder_from_checkpoint(folder)
    with pytest.raises(UnusableWeights, match=r"lacks what vit calls|no bias here, not so"):
        load_pretrained(_vit(), folder)
    _, report = encoder_from_checkpoint(folder, minimum_coverage=0.9)
    assert report.of("missing")


def test_what_the_caller_adds_starts_as_it_was_initialised(folder: Path) -> None:
    encoder, report = encoder_from_checkpoint(folder, layer_scale=0.5)
    assert all(".scale" in record.name for record in report.of("missing"))
    assert bool((encoder.blocks[0].scale1.gamma == 0.5).all())


@pytest.mark.parametrize("name", ["num_head", "image_sizes", "roi"])
def test_an_unknown_argument_is_refused_with_those_that_are_known(name: str, folder: Path) -> None:
    with pytest.raises(InvalidRequest, match=f"vit has no option {name}") as caught:
        encoder_from_checkpoint(folder, **{name: 3})
    assert "num_heads" in caught.value.cure
    with pytest.raises(InvalidRequest, match=f"vit has no option {name}"):
        load_pretrained(_vit(), folder, **{name: 3})


@pytest.mark.parametrize("dims", [1, 4])
def test_axes_are_two_or_three(dims: int, folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="must be 2 or 3"):
        encoder_from_checkpoint(folder, spatial_dims=dims)


def test_what_nothing_says_is_an_error_that_names_the_argument(tmp_path: Path) -> None:
    torch.save(vit_state(), tmp_path / "weights.pth")
    with pytest.raises(UnusableWeights, match="what num_heads is") as caught:
        encoder_from_checkpoint(tmp_path / "weights.pth")
    assert "num_heads=..." in caught.value.cure
    assert str(caught.value).startswith("weights.pth: ")
    with pytest.raises(UnusableWeights, match="what num_heads is"):
        load_pretrained(_vit(), tmp_path / "weights.pth")
    with pytest.raises(InvalidRequest, match="no multiple of num_heads 5"):
        encoder_from_checkpoint(tmp_path / "weights.pth", num_heads=5)


def _published(depth: int = 12) -> State:
    """Tensors of the smallest published size, as empty as it gets."""
    state = {"cls_token": torch.zeros(1, 1, 192), "pos_embed": torch.zeros(1, 5, 192)}
    shapes: dict[str, tuple[int, ...]] = {
        "norm1.weight": (192,), "norm1.bias": (192,), "norm2.weight": (192,), "norm2.bias": (192,),
        "attn.qkv.weight": (576, 192), "attn.qkv.bias": (576,), "attn.proj.weight": (192, 192),
        "attn.proj.bias": (192,), "mlp.fc1.weight": (8, 192), "mlp.fc1.bias": (8,),
        "mlp.fc2.weight": (192, 8), "mlp.fc2.bias": (192,),
    }  # fmt: skip
    for n in range(depth):
        state |= {f"blocks.{n}.{name}": torch.zeros(shape) for name, shape in shapes.items()}
    state |= {"patch_embed.proj.weight": torch.zeros(192, 3, 2, 2)}
    state |= {"patch_embed.proj.bias": torch.zeros(192)}
    return state | {"norm.weight": torch.zeros(192), "norm.bias": torch.zeros(192)}


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224.pth", "deit_tiny_patch16_224-a1311bcf.pth", "ViT-Tiny.pt"]
)
def test_the_name_of_the_file_tells_what_it_is_published_with(name: str, tmp_path: Path) -> None:
    torch.save({"model": _published()}, tmp_path / name)
    encoder: Any = encoder_from_checkpoint(tmp_path / name)[0]
    assert encoder.blocks[0].attention.num_heads == 3
    torch.save({"model": _published(depth=9)}, tmp_path / name)
    with pytest.raises(UnusableWeights, match="holds 9 blocks, and 12 belong") as caught:
        encoder_from_checkpoint(tmp_path / name)
    assert "depth=..." in caught.value.cure
    assert (
        len(encoder_from_checkpoint(tmp_path / name, depth=9)[0].get_submodule("blocks")._modules)
        == 9
    )


def test_a_checkpoint_that_covers_too_little_is_refused_and_names_what_is_missing(
    tmp_path: Path,
) -> None:
    state = {k: v for k, v in vit_state().items() if not k.startswith("blocks.1.mlp")}
    folder = write_checkpoint(tmp_path, state, CONFIG)
    with pytest.raises(UnusableWeights, match=r"fills 8\d\.\d% of vit, less than 90%") as caught:
        encoder_from_checkpoint(folder)
    assert "blocks.1.feed_forward.expand.weight" in str(caught.value)
    assert "minimum_coverage" in caught.value.cure
    _, report = encoder_from_checkpoint(folder, minimum_coverage=0.8)
    assert len(report.of("missing")) == 4
    encoder = _vit()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(UnusableWeights, match="less than 90%"):
        load_pretrained(encoder, folder)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert load_pretrained(encoder, folder, minimum_coverage=0.8) == report


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_training_has_spoilt_are_refused(value: float, tmp_path: Path) -> None:
    state = vit_state()
    state["blocks.1.mlp.fc1.weight"][3, 4] = value
    with pytest.raises(UnusableWeights, match=r"'blocks\.1\.mlp\.fc1\.weight' holds values"):
        encoder_from_checkpoint(write_checkpoint(tmp_path, state, CONFIG))


def test_a_tensor_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    state = {**vit_state(), "blocks.1.attn.proj.weight": torch.zeros(WIDTH, WIDTH + 1)}
    with pytest.raises(UnusableWeights, match=r"blocks\.1\.attn\.proj\.weight \(24 x 25, not"):
        encoder_from_checkpoint(write_checkpoint(tmp_path, state, CONFIG))


class _Evil:
    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "pytorch_model.bin"])
@pytest.mark.parametrize("by", ["torch", "pickle"])
def test_a_file_that_would_run_code_is_refused_and_nothing_runs(
    name: str, by: str, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    value = {**vit_state(), "evil": _Evil(canary)}
    if by == "torch":
        torch.save(value, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(pickle.dumps({"evil": _Evil(canary)}))
    encoder = _vit()
    for load in (encoder_from_checkpoint, lambda path: load_pretrained(encoder, path)):
        for path in (tmp_path, tmp_path / name):
            with pytest.raises(UnusableWeights, match="could run code"):
                load(path)
    assert not canary.exists()


def test_names_of_no_layout_are_refused_with_the_layouts_that_are_known(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(2), "b": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(UnusableWeights, match=r"no layout .* a\.weight, b") as caught:
        encoder_from_checkpoint(tmp_path / "weights.pt")
    assert "timm ViT" in caught.value.cure
    assert "MONAI ViT" in caught.value.cure


@pytest.mark.parametrize(
    "config",
    [
        {"num_heads": "two"}, {"num_heads": [2]}, {"num_heads": HEADS, "image_size": {"h": 1}},
        {"num_heads": HEADS, "depth": "many"}, {"num_heads": HEADS, "norm_eps": "small"},
    ],
)  # fmt: skip
def test_a_configuration_of_nonsense_is_said_in_words(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UnusableWeights, match="make no encoder") as caught:
        encoder_from_checkpoint(write_checkpoint(tmp_path, vit_state(), config))
    assert "config.json" in caught.value.cure


def test_another_family_is_refused_but_where_its_weights_serve(folder: Path) -> None:
    with pytest.raises(UnusableWeights, match=r"holds vit \(timm ViT\); mixer was asked for"):
        encoder_from_checkpoint(folder, encoder="mixer")
    encoder, report = encoder_from_checkpoint(folder, encoder="timesformer")
    assert isinstance(encoder, TimeSformer)
    assert report.coverage == 1
    mixer = ConvMixer(1, (8, 8, 8), patch_size=4, embed_dim=8, depth=1, kernel_size=3)
    with pytest.raises(UnusableWeights, match="convmixer was asked for"):
        load_pretrained(mixer, folder)
    with pytest.raises(InvalidRequest, match="Linear is no encoder of ours"):
        load_pretrained(nn.Linear(2, 2), folder)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"roi_size": (8, 20, 16)},
        {"patch_size": (2, 4, 6), "roi_size": (4, 12, 12)},
        {"roi_size": (12, 12), "channels": 3},
        {"taps": [2], "drop_path": 0.1, "gradient_checkpointing": True},
    ],
)
def test_an_encoder_that_is_there_is_filled_as_one_that_is_built(
    options: dict[str, Any], folder: Path
) -> None:
    encoder = _vit(**options).train()
    report = load_pretrained(encoder, folder)
    assert encoder.training
    assert report.coverage == 1
    roi = options.get("roi_size", (12, 12, 12))
    built, _ = encoder_from_checkpoint(
        folder, spatial_dims=len(roi), in_channels=options.get("channels", 1), roi_size=roi,
        patch_size=options.get("patch_size", 4),
    )  # fmt: skip
    for name, value in built.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], value)


def test_a_shallower_one_takes_the_first_blocks_and_says_so(folder: Path) -> None:
    encoder = _vit(depth=1)
    report = load_pretrained(encoder, folder)
    assert report.coverage == 1
    unused = {r.name for r in report.of("skipped") if r.note.endswith("built without it")}
    assert unused
    assert all(name.startswith("blocks.1.") for name in unused)


def test_without_class_token_the_report_says_what_is_left_out(folder: Path) -> None:
    report = load_pretrained(_vit(class_token=False), folder)
    assert [(r.name, r.shape) for r in report.of("skipped") if "built" in r.note] == [
        ("cls_token", (1, 1, WIDTH))
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_heads": 2}, "num_heads is 2 here and 4 there"),
        ({"norm_eps": 1e-5}, "norm_eps is 1e-05 here and 1e-06 there"),
        ({"activation": "gelu_tanh"}, "activation is gelu_tanh here and gelu there"),
        ({"layer_scale": 0.1}, "scale1 is LayerScale here and Identity there"),
        ({"qkv_bias": False}, "qkv has no bias here"),
    ],
)
def test_one_built_with_other_options_is_not_filled_in_silence(
    options: dict[str, Any], words: str, folder: Path
) -> None:
    encoder = _vit(**options)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(UnusableWeights, match=words) as caught:
        load_pretrained(encoder, folder)
    assert str(caught.value).startswith("checkpoint: ")
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert load_pretrained(encoder, folder, **options).coverage > 0.9  # said, it is meant


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision(precision: torch.dtype, tmp_path: Path) -> None:
    state, image = vit_state(), _image()
    stored = {name: tensor.to(precision) for name, tensor in state.items()}
    folder = write_checkpoint(tmp_path, stored, CONFIG)
    expected = vit_features({name: tensor.float() for name, tensor in stored.items()}, image)
    require_parity(folder, image, expected)


@pytest.mark.weights
def test_real_weights_of_dinov2(shared: Path) -> None:
    folder = shared / "weights/dinov2_vit_small_patch14"
    if not folder.is_dir():
        pytest.skip("no weights of DINOv2 in the shared data")
    built, report = encoder_from_checkpoint(folder, patch_size=(4, 8, 8), roi_size=(16, 32, 32))
    encoder: Any = built
    assert report.coverage == 1
    assert (encoder.blocks[0].attention.num_heads, len(encoder.blocks)) == (6, 12)
    assert encoder(torch.rand(1, 1, 16, 32, 32))[-1].shape == (1, 384, 4, 4, 4)
