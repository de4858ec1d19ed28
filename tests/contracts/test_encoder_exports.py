"""Every encoder of the table leaves Python: as TorchScript, as ONNX, through torch.compile."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.small_encoders import OTHER_SIZE, SMALL_ENCODERS, roi_for, shake, small_encoder
from unetr_app.errors import InvalidRequest
from unetr_app.networks import ENCODERS

pytestmark = [  # torch says both of its own exporters
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
NAMES = sorted(ENCODERS)
NOT_SCRIPTED = {"swin": "MONAI's forward pass rearranges by einops and lets Python decide shapes"}

every_encoder = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.compiler.reset()


def _encoder_and_image(name: str) -> tuple[nn.Module, Tensor]:
    encoder = shake(small_encoder(name))
    return encoder, torch.randn(1, 1, *roi_for(3), generator=torch.Generator().manual_seed(4))


def _require_same(maps: Any, wanted: list[Tensor]) -> None:
    for ours, theirs in zip(maps, wanted, strict=True):
        torch.testing.assert_close(torch.as_tensor(ours), theirs, atol=1e-5, rtol=1e-4)


@every_encoder
def test_torchscript_gives_the_same_maps_for_any_size(name: str) -> None:
    encoder, image = _encoder_and_image(name)
    if name in NOT_SCRIPTED:
        with pytest.raises(InvalidRequest, match=NOT_SCRIPTED[name]):
            torch.jit.script(encoder)
        pytest.skip(NOT_SCRIPTED[name])
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(encoder), file)
    file.seek(0)
    scripted = torch.jit.load(file)
    images = [image]
    if not SMALL_ENCODERS[name].fixed_size:
        images.append(torch.randn(2, 1, *OTHER_SIZE))
    with torch.no_grad():
        for each in images:
            _require_same(scripted(each), encoder(each))


@every_encoder
def test_onnx_gives_the_same_maps(name: str) -> None:
    pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    encoder, image = _encoder_and_image(name)
    with torch.no_grad():
        wanted = encoder(image)
        program: Any = torch.onnx.export(encoder, (image,), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    _require_same(session.run(None, {session.get_inputs()[0].name: image.numpy()}), wanted)


@every_encoder
def test_compiled_whole_it_gives_the_same_maps_and_gradients(name: str) -> None:
    encoder, image = _encoder_and_image(name)
    compiled: Any = torch.compile(encoder, backend="aot_eager", fullgraph=True, dynamic=False)
    gradients: list[list[Tensor | None]] = []
    maps: list[list[Tensor]] = []
    for module in (encoder, compiled):
        encoder.zero_grad()
        maps.append(module(image))
        sum(feature.square().sum() for feature in maps[-1]).backward()  # pyright: ignore
        gradients.append([p.grad for p in encoder.parameters()])
    _require_same(maps[1], maps[0])
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
