"""What holds for every encoder of the table, in images and in volumes."""

from __future__ import annotations

import inspect
import io
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from monai.networks.layers import DropPath as MonaiDropPath
from torch import Tensor, nn

from tests.small_encoders import (
    OTHER_SIZE,
    SMALL_ENCODERS,
    roi_for,
    shake,
    small_encoder,
    small_options,
)
from unetr_app.errors import InvalidRequest
from unetr_app.networks import DECODERS, ENCODERS, build_network
from unetr_app.networks.layers import DropPath
from unetr_app.training import channels_last

NAMES = sorted(ENCODERS)
ANY_SIZE = [name for name in NAMES if not SMALL_ENCODERS[name].fixed_size]
ONE_SIZE = [name for name in NAMES if SMALL_ENCODERS[name].fixed_size]
DECODER_OPTIONS: dict[str, dict[str, Any]] = {"unetr": {"feature_size": 4}, "mlp": {"width": 8}}

every_encoder = pytest.mark.parametrize("name", NAMES)
in_2d_and_3d = pytest.mark.parametrize("dims", [2, 3], ids=["2d", "3d"])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _image(shape: tuple[int, ...], batch: int = 2, channels: int = 1) -> Tensor:
    return torch.randn(batch, channels, *shape, generator=torch.Generator().manual_seed(2))


def _run(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return encoder(image)


def _loss(maps: list[Tensor]) -> Tensor:
    """A sum to which every value of every map adds something else."""
    generator = torch.Generator().manual_seed(3)
    return torch.stack([(m * torch.randn(m.shape, generator=generator)).sum() for m in maps]).sum()


def _require_promise(encoder: Any, maps: list[Tensor], image: Tensor) -> None:
    assert len(maps) == len(encoder.channels) == len(encoder.strides) > 0
    for feature, channels, stride in zip(maps, encoder.channels, encoder.strides, strict=True):
        assert len(stride) == image.ndim - 2
        grid = (n // s for n, s in zip(image.shape[2:], stride, strict=True))
        assert feature.shape == (len(image), channels, *grid)
        assert feature.dtype == image.dtype


def test_no_encoder_is_forgotten_here() -> None:
    assert set(SMALL_ENCODERS) == set(ENCODERS), "add a row to tests/small_encoders.py"


@every_encoder
@in_2d_and_3d
@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("channels_in", [1, 3])
def test_every_encoder_keeps_the_promise_of_its_two_tuples(
    name: str, dims: int, uneven: bool, channels_in: int
) -> None:
    encoder: Any = small_encoder(name, dims, in_channels=channels_in, uneven=uneven)
    assert all(type(count) is int for count in encoder.channels)
    assert all(type(n) is int for stride in encoder.strides for n in stride)
    assert isinstance(encoder.channels, tuple)
    assert isinstance(encoder.strides, tuple)
    for finer, coarser in itertools.pairwise(encoder.strides):
        assert all(b % a == 0 for a, b in zip(finer, coarser, strict=True))
    assert (len(set(encoder.strides[0])) > 1) == (uneven or (name, dims) == ("timesformer", 3))
    image = _image(roi_for(dims, uneven=uneven), channels=channels_in)
    _require_promise(encoder, _run(encoder, image), image)


@pytest.mark.parametrize("name", ANY_SIZE)
@in_2d_and_3d
def test_any_size_that_the_strides_divide_is_taken(name: str, dims: int) -> None:
    encoder: Any = small_encoder(name, dims)
    one_more = tuple(n + s for n, s in zip(roi_for(dims), encoder.strides[-1], strict=True))
    for shape in (OTHER_SIZE[-dims:], one_more):
        image = _image(shape, batch=1)
        _require_promise(encoder, _run(encoder, image), image)


@pytest.mark.parametrize("name", ONE_SIZE)
@in_2d_and_3d
def test_an_encoder_for_one_size_says_which(name: str, dims: int) -> None:
    wanted = re.escape(str(list(roi_for(dims))))
    with pytest.raises(ValueError, match=f"roi_size {wanted} alone"):
        small_encoder(name, dims)(_image(OTHER_SIZE[-dims:]))


@every_encoder
@in_2d_and_3d
def test_a_size_that_the_strides_do_not_divide_is_refused_in_words(name: str, dims: int) -> None:
    encoder: Any = small_encoder(name, dims)
    coarsest = encoder.strides[-1]
    for axis in (n for n in range(dims) if coarsest[n] > 1):
        shape = list(roi_for(dims))
        shape[axis] += 1
        with pytest.raises(ValueError, match=str(shape[axis])) as caught:
            encoder(_image(tuple(shape)))
        assert name in ONE_SIZE or str(coarsest[axis]) in str(caught.value)
        with pytest.raises(InvalidRequest, match=rf"roi_size.*{shape[axis]}"):
            small_encoder(name, dims, roi_size=shape)


@every_encoder
@in_2d_and_3d
def test_other_axes_and_channels_are_refused_in_words(name: str, dims: int) -> None:
    encoder = small_encoder(name, dims, in_channels=2)
    image = _image(roi_for(dims), channels=2)
    for other in (image[:, :1], image[0], image.unsqueeze(2), torch.cat([image, image], dim=1)):
        with pytest.raises(ValueError, match=f"channels 2, {dims} spatial axes") as caught:
            encoder(other)
        assert str(list(other.shape)) in str(caught.value)


@every_encoder
@in_2d_and_3d
def test_every_weight_and_every_voxel_takes_part(name: str, dims: int) -> None:
    encoder = shake(small_encoder(name, dims)).train()  # first weights may be zero: shaken
    image = _image(roi_for(dims)).requires_grad_()
    _loss(encoder(image)).backward()
    idle = [key for key, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)
    assert image.grad is not None
    assert bool(image.grad.ne(0).all())


@every_encoder
@in_2d_and_3d
def test_samples_of_a_batch_do_not_meet(name: str, dims: int) -> None:
    encoder = shake(small_encoder(name, dims))
    image = _image(roi_for(dims), batch=3)
    alone = [_run(encoder, image[n : n + 1]) for n in range(3)]
    for level, feature in enumerate(_run(encoder, image)):
        apart = torch.cat([maps[level] for maps in alone])
        torch.testing.assert_close(feature, apart, atol=1e-5, rtol=1e-4)


@every_encoder
def test_the_seed_decides_the_weights_and_nothing_else_the_maps(name: str) -> None:
    def built(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        options = small_options(name, 3)
        return ENCODERS[name](1, roi_for(3), spatial_dims=3, **options).eval()  # pyright: ignore

    one, same, other = built(5), built(5), built(6)
    states = [encoder.state_dict() for encoder in (one, same, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])
    image = _image(roi_for(3))
    for ours, again in zip(_run(one, image), _run(same, image), strict=True):
        assert torch.equal(ours, again)


def _kept(encoder: nn.Module, image: Tensor) -> tuple[list[Tensor], int]:
    """The maps, and how many numbers are kept for the backward pass."""
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    torch.manual_seed(9)  # of drop path
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        return encoder(image), sum(kept)


@every_encoder
@in_2d_and_3d
def test_checkpointing_changes_memory_alone(name: str, dims: int) -> None:
    plain = shake(small_encoder(name, dims, drop_path=0.3)).train()
    frugal = small_encoder(name, dims, drop_path=0.3, gradient_checkpointing=True).train()
    frugal.load_state_dict(plain.state_dict())
    image = _image(roi_for(dims))
    (wanted, kept), (maps, kept_less) = _kept(plain, image), _kept(frugal, image)
    assert kept_less < kept
    for ours, theirs in zip(maps, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)
    _loss(wanted).backward()
    _loss(maps).backward()
    for (key, ours), theirs in zip(frugal.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4, msg=key)
    for (key, ours), theirs in zip(frugal.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=key)  # running statistics learn once


@every_encoder
def test_paths_are_dropped_in_training_alone_and_more_often_in_later_blocks(name: str) -> None:
    encoder, plain = small_encoder(name, drop_path=0.9), small_encoder(name)
    rates = [m.rate for m in encoder.modules() if isinstance(m, DropPath)]
    rates += [m.drop_prob for m in encoder.modules() if isinstance(m, MonaiDropPath)]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.9)
    image = _image(roi_for(3), batch=4)
    for ours, theirs in zip(_run(encoder, image), _run(plain, image), strict=True):
        torch.testing.assert_close(ours, theirs)

    def trained(module: nn.Module, seed: int) -> Tensor:
        torch.manual_seed(seed)
        return _run(module.train(), image)[-1]

    assert torch.equal(trained(encoder, 1), trained(encoder, 1))
    assert not torch.allclose(trained(encoder, 1), trained(encoder, 2))
    torch.testing.assert_close(trained(plain, 1), trained(plain, 2))


@every_encoder
def test_a_layer_scale_of_one_changes_nothing_and_of_zero_much(name: str) -> None:
    row = SMALL_ENCODERS[name]
    has_one = "layer_scale" in inspect.signature(ENCODERS[name].__init__).parameters
    assert has_one != bool(row.no_layer_scale)
    if not has_one:
        pytest.skip(row.no_layer_scale)
    image = _image(roi_for(3))
    wanted = _run(small_encoder(name, layer_scale=None), image)
    for ours, theirs in zip(_run(small_encoder(name, layer_scale=1.0), image), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)
    silent = _run(small_encoder(name, layer_scale=0.0), image)
    assert not torch.allclose(silent[-1], wanted[-1], atol=1e-3)


@every_encoder
@in_2d_and_3d
def test_a_state_dict_carries_the_whole_encoder(name: str, dims: int) -> None:
    encoder = shake(small_encoder(name, dims))
    file = io.BytesIO()
    torch.save(encoder.state_dict(), file)
    file.seek(0)
    other = small_encoder(name, dims)
    other.load_state_dict(torch.load(file, weights_only=True))
    image = _image(roi_for(dims))
    for ours, theirs in zip(_run(other, image), _run(encoder, image), strict=True):
        assert torch.equal(ours, theirs)


def _as_double(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    return encoder.double()(image.double())


def _as_channels_last(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    return channels_last(encoder)(image.to(memory_format=torch.channels_last_3d))


def _as_half(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        return encoder(image)


@every_encoder
@pytest.mark.parametrize(
    ("way", "error"),
    [(_as_double, 1e-4), (_as_channels_last, 1e-4), (_as_half, 0.1)],
    ids=["float64", "channels_last", "autocast"],
)
def test_other_numbers_in_memory_are_the_same_maps(
    name: str, way: Callable[[nn.Module, Tensor], list[Tensor]], error: float
) -> None:
    image = _image(roi_for(3))
    wanted = _run(small_encoder(name), image)
    maps = way(small_encoder(name).train(), image)
    _loss([m.to(torch.float64) for m in maps]).backward()
    with torch.no_grad():
        maps = way(small_encoder(name), image)
    if way is _as_double:
        assert {m.dtype for m in maps} == {torch.float64}
    for ours, theirs in zip(maps, wanted, strict=True):
        assert (ours - theirs).norm() <= error * theirs.norm()  # false of NaN


@every_encoder
@in_2d_and_3d
@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_any_decoder_takes_it_supervised_at_every_level(name: str, dims: int, decoder: str) -> None:
    roi = roi_for(dims)
    torch.manual_seed(0)
    network = build_network(
        name, decoder, in_channels=2, out_channels=3, spatial_dims=dims, roi_size=roi,
        deep_supervision=1, encoder_options=small_options(name, dims),
        decoder_options=DECODER_OPTIONS[decoder],
    )  # fmt: skip
    image = _image(roi, channels=2)
    logits: Any = shake(network).train()(image)
    coarse: Any = network.decoder.strides
    assert logits[0].shape == (2, 3, *roi)
    assert logits[1].shape == (2, 3, *(n // s for n, s in zip(roi, coarse[1], strict=True)))
    _loss(logits).backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []
    alone = _run(network.eval(), image)
    assert isinstance(alone, Tensor)
    assert alone.shape == (2, 3, *roi)
