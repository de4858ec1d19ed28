from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from unetr_app.errors import InvalidRequest
from unetr_app.networks import build_network

SMALL: dict[str, Any] = {"embed_dim": 12, "depth": 3, "num_heads": 2, "feature_size": 4}


@pytest.mark.parametrize(
    ("roi", "patch"),
    [
        ((32, 32, 32), 16),
        ((16, 24, 8), (8, 8, 4)),
        ((12, 18, 6), (6, 6, 3)),
        ((20, 28, 20), 4),
        ((8, 10, 6), 2),
        ((9, 15, 5), (3, 5, 5)),
        ((32, 48), 16),
        ((30, 20), (10, 5)),
    ],
)
@pytest.mark.parametrize(("channels_in", "channels_out"), [(1, 3), (4, 2)])
def test_logits_have_the_shape_of_the_image(
    roi: tuple[int, ...], patch: Any, channels_in: int, channels_out: int
) -> None:
    network = build_network(
        in_channels=channels_in, out_channels=channels_out, spatial_dims=len(roi),
        roi_size=roi, patch_size=patch, **SMALL,
    )  # fmt: skip
    logits = network(torch.zeros(2, channels_in, *roi))
    assert logits.shape == (2, channels_out, *roi)


def test_inputs_of_other_sizes_than_the_roi_are_taken() -> None:
    network = build_network(roi_size=16, patch_size=8, **SMALL).eval()
    for shape in [(24, 16, 32), (8, 16, 8)]:
        assert network(torch.zeros(1, 1, *shape)).shape == (1, 2, *shape)


@pytest.mark.parametrize("levels", [0, 1, 3])
def test_deep_supervision_gives_coarser_logits_in_training_alone(levels: int) -> None:
    network = build_network(roi_size=16, patch_size=8, deep_supervision=levels, **SMALL)
    image = torch.zeros(1, 1, 16, 16, 16)
    trained = network.train()(image)
    shapes = [tuple(t.shape[2:]) for t in trained] if levels else [tuple(trained.shape[2:])]
    strides = network.decoder.strides
    assert shapes == [tuple(16 // s for s in stride) for stride in strides[: levels + 1]]  # pyright: ignore
    assert isinstance(network.eval()(image), torch.Tensor)


def test_more_levels_of_supervision_than_there_are_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="deep_supervision 4 must be 0 to 3"):
        build_network(roi_size=16, patch_size=8, deep_supervision=4, **SMALL)


def test_an_unknown_option_is_refused_with_what_there_is() -> None:
    with pytest.raises(InvalidRequest, match="no option featur_size") as caught:
        build_network(roi_size=16, patch_size=8, featur_size=4)
    assert "feature_size" in caught.value.cure
    assert "patch_size" in caught.value.cure


@pytest.mark.parametrize(("part", "name"), [("encoder", "vitt"), ("decoder", "unet")])
def test_an_unknown_part_is_refused_with_what_there_is(part: str, name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"no {part} '{name}'"):
        build_network(**{part: name})


@pytest.mark.parametrize("supervision", [0, 1])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_it_scripts_and_gives_the_same(supervision: int) -> None:
    network = build_network(
        roi_size=16, patch_size=8, deep_supervision=supervision, drop_path=0.1, **SMALL
    ).eval()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    buffer.seek(0)
    scripted = torch.jit.load(buffer)
    for shape in [(16, 16, 16), (24, 16, 8)]:
        image = torch.randn(1, 1, *shape)
        with torch.no_grad():
            torch.testing.assert_close(scripted(image), network(image), atol=1e-6, rtol=1e-5)


def test_the_same_seed_builds_the_same_network() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(build_network(roi_size=16, patch_size=8, **SMALL).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_every_weight_learns() -> None:
    network = build_network(roi_size=16, patch_size=8, layer_scale=0.1, **SMALL).train()
    network(torch.randn(2, 1, 16, 16, 16)).square().mean().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None]
    assert idle == []
