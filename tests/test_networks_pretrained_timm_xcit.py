from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from unetr_app.errors import UnusableWeights
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import timm_xcit

State = dict[str, Tensor]
WIDTH = 16


def _state(
    *, layers: int = 2, blocks: int = 2, heads: int = 2, qkv_bias: bool = True,
    positions: bool = True,
) -> State:  # fmt: skip
    """Random tensors under timm's names; a patch of 2 to the power of ``layers``."""
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, WIDTH)}
    norms: list[str] = []
    for n in range(layers):
        before, after = (WIDTH >> (layers - n - k) for k in (0, 1))
        shapes[f"patch_embed.proj.{2 * n}.0.weight"] = (after, before if n else 3, 3, 3)
        norms.append(f"patch_embed.proj.{2 * n}.1")
        shapes[f"patch_embed.proj.{2 * n}.1.weight"] = (after,)
    if positions:
        shapes["pos_embed.token_projection.weight"] = (WIDTH, 64, 1, 1)
    for name in (*(f"blocks.{n}" for n in range(blocks)), "cls_attn_blocks.0"):
        shapes |= {f"{name}.norm{n}.weight": (WIDTH,) for n in (1, 2, 3)}
        shapes |= {f"{name}.gamma{n}": (WIDTH,) for n in (1, 2, 3)}
        shapes[f"{name}.attn.qkv.weight"] = (3 * WIDTH, WIDTH)
        shapes[f"{name}.attn.proj.weight"] = (WIDTH, WIDTH)
        shapes[f"{name}.mlp.fc1.weight"] = (24, WIDTH)
        shapes[f"{name}.mlp.fc2.weight"] = (WIDTH, 24)
        if name.startswith("blocks"):
            shapes[f"{name}.attn.temperature"] = (heads, 1, 1)
            shapes |= {f"{name}.local_mp.conv{n}.weight": (WIDTH, 1, 3, 3) for n in (1, 2)}
            shapes[f"{name}.local_mp.bn.weight"] = (WIDTH,)
            norms.append(f"{name}.local_mp.bn")
    shapes |= {"norm.weight": (WIDTH,), "head.weight": (7, WIDTH)}
    state = {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}
    for name in [name for name in state if name.endswith(".weight")]:
        bare = name.endswith(".0.weight") or (name.endswith("qkv.weight") and not qkv_bias)
        if not bare:
            state[name.replace("weight", "bias")] = 0.3 * torch.randn(len(state[name]))
    for name in norms:
        width = len(state[f"{name}.weight"])
        state[f"{name}.running_mean"] = 0.3 * torch.randn(width)
        state[f"{name}.running_var"] = torch.rand(width) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(11)
    return state


def _waves(height: int, width: int) -> Tensor:
    """(1, 64, height, width): sines and cosines of the row, then of the column."""
    divisors = 10000 ** (2 * (torch.arange(32) // 2) / 32)
    rows, columns = (
        (torch.arange(n) + 1)[:, None] / (n + 1e-6) * 2 * math.pi / divisors
        for n in (height, width)
    )
    even = torch.arange(32) % 2 == 0
    rows, columns = (torch.where(even, angle.sin(), angle.cos()) for angle in (rows, columns))
    rows, columns = rows[:, None].expand(-1, width, -1), columns.expand(height, -1, -1)
    return torch.cat([rows, columns], dim=2).permute(2, 0, 1)[None]


class _Reference:
    """The maps after every block, written out over timm's tensors."""

    def __init__(self, state: State, heads: int):
        self.state, self.heads = state, heads

    def __call__(self, image: Tensor) -> list[Tensor]:
        x = image
        for n in range(sum(name.endswith(".0.weight") for name in self.state)):
            x = functional.gelu(x) if n else x
            kernel = self.state[f"patch_embed.proj.{2 * n}.0.weight"]
            x = functional.conv2d(x, kernel, stride=2, padding=1)
            x = self._batch_norm(x, f"patch_embed.proj.{2 * n}.1")
        if "pos_embed.token_projection.weight" in self.state:
            x = x + functional.conv2d(
                _waves(*x.shape[2:]), *self._affine("pos_embed.token_projection")
            )
        shape, x, maps = x.shape, x.flatten(2).mT, []
        for n in range(sum(name.endswith("temperature") for name in self.state)):
            x = self._block(x, f"blocks.{n}", shape)
            maps.append(x.mT.reshape(shape))
        return maps

    def _block(self, x: Tensor, name: str, shape: torch.Size) -> Tensor:
        gammas = [self.state[f"{name}.gamma{n}"] for n in (1, 2, 3)]
        x = x + gammas[0] * self._attention(self._norm(x, f"{name}.norm1"), f"{name}.attn")
        local = self._norm(x, f"{name}.norm3").mT.reshape(shape)
        for step in ("conv1", "conv2"):
            local = functional.conv2d(
                local, *self._affine(f"{name}.local_mp.{step}"), padding=1, groups=WIDTH
            )
            if step == "conv1":
                local = self._batch_norm(functional.gelu(local), f"{name}.local_mp.bn")
        x = x + gammas[2] * local.flatten(2).mT
        hidden = functional.linear(self._norm(x, f"{name}.norm2"), *self._affine(f"{name}.mlp.fc1"))
        return x + gammas[1] * functional.linear(
            functional.gelu(hidden), *self._affine(f"{name}.mlp.fc2")
        )

    def _attention(self, x: Tensor, name: str) -> Tensor:
        qkv = functional.linear(x, *self._affine(f"{name}.qkv")).mT  # (B, 3 C, N)
        q, k, v = (part.unflatten(1, (self.heads, -1)) for part in qkv.chunk(3, dim=1))
        q, k = q / q.norm(dim=-1, keepdim=True), k / k.norm(dim=-1, keepdim=True)
        weights = (q @ k.mT * self.state[f"{name}.temperature"]).softmax(-1)
        return functional.linear((weights @ v).flatten(1, 2).mT, *self._affine(f"{name}.proj"))

    def _affine(self, name: str) -> tuple[Tensor, Tensor | None]:
        return self.state[f"{name}.weight"], self.state.get(f"{name}.bias")

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (WIDTH,), *self._affine(name), 1e-6)

    def _batch_norm(self, x: Tensor, name: str) -> Tensor:
        running = (self.state[f"{name}.running_{what}"] for what in ("mean", "var"))
        return functional.batch_norm(x, *running, *self._affine(name))


def _assert_parity(path: Path, image: Tensor, expected: list[Tensor], **overrides: Any) -> None:
    """In two dimensions, and on volumes that are constant along depth in three."""
    channels, taps = image.shape[1], list(range(1, len(expected) + 1))
    encoder, report = encoder_from_checkpoint(
        path, spatial_dims=2, in_channels=channels, taps=taps, **overrides
    )
    with torch.no_grad():
        for ours, theirs in zip(encoder(image), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)
    assert report.coverage == 1
    for slices, thickness in ((1, 4), (3, 4), (4, 2)):
        patch = (thickness, *encoder.strides[0])
        deep, report = encoder_from_checkpoint(
            path, in_channels=channels, patch_size=patch, taps=taps, **overrides
        )
        assert report.coverage == 1
        volume = image.unsqueeze(2).repeat(1, 1, slices * thickness, 1, 1)
        with torch.no_grad():
            for ours, theirs in zip(deep(volume), expected, strict=True):
                wanted = theirs.unsqueeze(2).expand(-1, -1, slices, -1, -1)
                torch.testing.assert_close(ours, wanted, atol=2e-5, rtol=0)


def test_the_shared_fixture(shared: Path) -> None:
    folder = shared / "fixtures/encoders/timm_xcit"
    image = load_file(folder / "input.safetensors")["input"]
    expected = load_file(folder / "expected.safetensors")
    _assert_parity(folder, image, [expected[name] for name in sorted(expected)])


@pytest.mark.parametrize(
    "options",
    [{}, {"layers": 4, "heads": 4}, {"layers": 3, "blocks": 1}, {"qkv_bias": False, "heads": 1}],
)
def test_any_configuration_gives_the_references_features(
    options: dict[str, Any], tmp_path: Path
) -> None:
    state = _state(**options)
    save_file(state, tmp_path / "xcit.safetensors")
    patch = 2 ** options.get("layers", 2)
    image = torch.randn(2, 3, 2 * patch, 3 * patch)
    expected = _Reference(state, options.get("heads", 2))(image)
    _assert_parity(tmp_path / "xcit.safetensors", image, expected)


def _facebooks(state: State) -> State:
    """As Facebook's own files name it."""
    return {name.replace("pos_embed.", "pos_embeder."): tensor for name, tensor in state.items()}


def _timms(state: State) -> State:
    """Queries, keys and values of the class attention apart."""
    split: State = {}
    for name, tensor in state.items():
        if name.startswith("cls_attn_blocks") and ".qkv." in name:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                split[name.replace("qkv", letter)] = part.clone()
        else:
            split[name] = tensor
    return split


@pytest.mark.parametrize("names", [_facebooks, _timms])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_facebooks_and_timms_names(names: Any, prefix: str, tmp_path: Path) -> None:
    state = _state()
    renamed = {prefix + name: tensor for name, tensor in names(state).items()}
    torch.save({"model": renamed, "epoch": 400}, tmp_path / "xcit.pth")
    image = torch.randn(2, 3, 8, 12)
    _assert_parity(tmp_path / "xcit.pth", image, _Reference(state, 2)(image))
    _, report = encoder_from_checkpoint(tmp_path / "xcit.pth")
    reasons = {record.name.split(".")[0]: record.note for record in report.of("skipped")}
    assert set(reasons) == {"cls_token", "cls_attn_blocks", "norm", "head"}
    assert all(reason != "unknown to this layout" for reason in reasons.values())


def test_larger_patches_serve_smaller_ones(tmp_path: Path) -> None:
    save_file(_state(layers=4), tmp_path / "xcit.safetensors")
    encoder, report = encoder_from_checkpoint(tmp_path / "xcit.safetensors", patch_size=(2, 8, 8))
    assert report.coverage == 1
    assert encoder(torch.zeros(1, 1, 8, 16, 24))[-1].shape == (1, WIDTH, 4, 2, 3)


def test_a_network_without_positions_says_so(tmp_path: Path) -> None:
    state = _state(positions=False)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UnusableWeights, match="what positions is") as caught:
        encoder_from_checkpoint(tmp_path)
    assert "positions=" in caught.value.cure
    (tmp_path / "config.json").write_text(json.dumps({"model_args": {"use_pos_embed": False}}))
    image = torch.randn(2, 3, 8, 12)
    _assert_parity(tmp_path, image, _Reference(state, 2)(image))


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("blocks.1.", "holds 3 blocks but not number 1"),
        ("blocks.2.", "holds 2 blocks, and 3 belong"),
        ("blocks.0.attn.temperature", "blocks.0.attn.temperature"),
        ("patch_embed.proj.2.", r"patch_embed.proj of the file are \[0, 4\]"),
        ("patch_embed.proj.4.", "another shape or type than is needed"),
        ("patch_embed", r"patch_embed.proj of the file are \[\]"),
    ],
)
def test_files_that_are_not_whole_are_refused(part: str, what: str, tmp_path: Path) -> None:
    state = {k: v for k, v in _state(blocks=3, layers=3).items() if not k.startswith(part)}
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_args": {"depth": 3}}))
    with pytest.raises(UnusableWeights, match=what):
        encoder_from_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["xcit_small_12_p16_224", "xcit_small_12_p8_384_dist", "dino_xcit_small_12_p16_pretrain"],
)
def test_a_published_name_tells_how_many_blocks_there_are(name: str, tmp_path: Path) -> None:
    save_file(_state(), tmp_path / f"{name}.safetensors")
    with pytest.raises(UnusableWeights, match="2 blocks, and 12 belong"):
        encoder_from_checkpoint(tmp_path / f"{name}.safetensors")


def test_other_families_are_not_taken_for_it() -> None:
    assert timm_xcit.recognises(_state())
    assert not timm_xcit.recognises({"patch_embed.proj.weight", "blocks.0.attn.qkv.weight"})
