from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets.unetr import UNETR

from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks import build_network

SMALL: dict[str, Any] = {"embed_dim": 12, "depth": 3, "num_heads": 2, "feature_size": 4}
PYRAMID: dict[str, Any] = {
    "embed_dims": (4, 6, 8, 8), "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4),
    "patch_strides": (2, 2, 2, 1),
}  # fmt: skip
VIT: dict[str, Any] = {"patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 2}


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


@pytest.mark.parametrize(
    ("encoder", "options"), [("segformer", PYRAMID), ("vit", VIT), ("vit", VIT | {"patch_size": 1})]
)
@pytest.mark.parametrize("dims", [2, 3])
def test_logits_at_a_coarser_stride_are_upsampled_to_the_image(
    encoder: str, options: dict[str, Any], dims: int
) -> None:
    roi = (8, 16, 24)[:dims]
    network = build_network(
        encoder, "mlp", spatial_dims=dims, out_channels=3, roi_size=roi, width=6, **options
    ).eval()
    image = torch.randn(2, 1, *roi)
    with torch.no_grad():
        coarse = network.head(network.decoder(image, network.encoder(image))[0])
        logits = network(image)
    assert coarse.shape[2:] == tuple(
        n // s
        for n, s in zip(roi, network.decoder.strides[0], strict=True)  # pyright: ignore
    )
    mode = "trilinear" if dims == 3 else "bilinear"
    expected = torch.nn.functional.interpolate(coarse, roi, mode=mode, align_corners=False)
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize(("encoder", "options"), [("segformer", PYRAMID), ("vit", VIT)])
@pytest.mark.parametrize("levels", [1, 2])
def test_the_mlp_decoder_supervises_the_encoders_maps(
    encoder: str, options: dict[str, Any], levels: int
) -> None:
    network = build_network(
        encoder, "mlp", roi_size=16, width=6, deep_supervision=levels, **options
    )
    image = torch.randn(2, 1, 16, 24, 16)
    trained = network.train()(image)
    assert trained[0].shape == (2, 2, 16, 24, 16)
    strides = network.encoder.strides[1 : 1 + levels]  # pyright: ignore
    assert [tuple(t.shape[2:]) for t in trained[1:]] == [
        tuple(n // s for n, s in zip((16, 24, 16), stride, strict=True))
        for stride in strides  # pyright: ignore
    ]
    sum(logits.square().mean() for logits in trained).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_upsampled_logits_script_for_any_shape() -> None:
    network = build_network(
        "segformer", "mlp", roi_size=16, width=6, deep_supervision=1, drop_path=0.1, **PYRAMID
    ).eval()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    buffer.seek(0)
    scripted = torch.jit.load(buffer)
    for shape in [(16, 16, 16), (24, 16, 8)]:
        image = torch.randn(1, 1, *shape)
        with torch.no_grad():
            torch.testing.assert_close(scripted(image), network(image), atol=1e-6, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_upsampled_logits_export_to_onnx(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = build_network("segformer", "mlp", roi_size=(8, 16, 24), width=6, **PYRAMID).eval()
    image = torch.randn(1, 1, 8, 16, 24)
    path = tmp_path / "network.onnx"
    torch.onnx.export(network, (image,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path)
    (logits,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), network(image), atol=1e-5, rtol=1e-4)


def _state(**arguments: Any) -> dict[str, Any]:
    torch.manual_seed(7)
    return {k: v.shape for k, v in build_network(roi_size=16, **arguments).state_dict().items()}


def test_tables_of_options_are_as_good_as_options() -> None:
    plain = _state(**SMALL, patch_size=8)
    of_encoder = {name: value for name, value in SMALL.items() if name != "feature_size"}
    tables = {
        "encoder_options": of_encoder | {"patch_size": 8}, "decoder_options": {"feature_size": 4},
    }  # fmt: skip
    assert _state(**tables) == plain
    assert _state(encoder_options=of_encoder, patch_size=8, feature_size=4) == plain


def test_options_by_name_win_over_the_tables() -> None:
    table = {"encoder_options": VIT, "decoder_options": {"feature_size": 8}}
    assert _state(**table, embed_dim=24, feature_size=4) == _state(
        **(VIT | {"embed_dim": 24}), feature_size=4
    )


@pytest.mark.parametrize(
    ("table", "name"), [("encoder_options", "vit"), ("decoder_options", "mlp")]
)
def test_an_unknown_option_in_a_table_is_refused_with_what_there_is(table: str, name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{name} has no option featur_size") as caught:
        build_network(decoder="mlp", roi_size=16, patch_size=8, **{table: {"featur_size": 4}})
    assert ("patch_size" in caught.value.cure) == (name == "vit")
    assert ("width" in caught.value.cure) == (name == "mlp")


def test_weights_of_another_network_are_refused_in_few_words() -> None:
    small: dict[str, Any] = {"roi_size": 16, "patch_size": 8, "embed_dim": 24, "num_heads": 2}
    network = build_network("vit", depth=2, feature_size=4, **small)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for other in (
        build_network("vit", depth=3, feature_size=4, **small),
        build_network("vit", depth=2, feature_size=8, **small),
        build_network("segformer", "mlp", roi_size=32),
    ):
        with pytest.raises(UnusableWeights, match="do not fit") as caught:
            network.load_state_dict(other.state_dict())
        assert "such as --encoder" in caught.value.cure
        assert len(str(caught.value)) < 600
    with pytest.raises(UnusableWeights, match=r"lack encoder\.norm\.bias; they hold besides x"):
        network.load_state_dict(
            {k: v for k, v in before.items() if k != "encoder.norm.bias"}
            | {"x": before["head.conv.conv.bias"]}
        )
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_of_monais_unetr_do_not_fit_other_encoders() -> None:
    monai = UNETR(1, 2, (32, 32, 32), feature_size=4, hidden_size=24, mlp_dim=96, num_heads=2)
    network = build_network("segformer", "mlp", roi_size=32)
    for state in (monai.state_dict(), network.state_dict() | {"head.conv.conv.bias": 0.5}):
        with pytest.raises(UnusableWeights, match="do not fit this network"):
            network.load_state_dict(state)
