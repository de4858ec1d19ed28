from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.explain_encoders import NOT_OVER_PLACES, OVER_PLACES, ROI, Convolutions, Means, tiny
from unetr_app.errors import Cancelled, InvalidRequest, UnusableWeights
from unetr_app.explain import FieldMean, ReceptiveField, receptive_fields
from unetr_app.networks import ENCODERS


def field_of(
    encoder: nn.Module, shape: tuple[int, ...] = (11, 13, 15), **options: int
) -> ReceptiveField:
    (found,) = receptive_fields(encoder, [torch.randn(1, 1, *shape)], **options)
    return found


def test_one_convolution_of_kernel_3_is_exactly_3_voxels_wide():
    field = field_of(Convolutions((3, 3, 3)))
    assert field.extent == (3, 3, 3)
    assert field.radius(1.0) == (1.5, 1.5, 1.5)
    assert field.position == field.centre == (5, 6, 7)
    expected = np.zeros((11, 13, 15))
    expected[4:7, 5:8, 6:9] = 1 / 27
    np.testing.assert_allclose(field.mass, expected, atol=1e-6)


@given(
    st.lists(st.tuples(*[st.sampled_from([1, 3, 5])] * 3), min_size=1, max_size=3),
)
def test_convolutions_in_a_row_add_up(kernels: list[tuple[int, ...]]):
    field = field_of(Convolutions(*kernels), (13, 13, 13), draws=1)
    assert field.extent == tuple(
        1 + sum(n - 1 for n in axis) for axis in zip(*kernels, strict=True)
    )


def test_the_field_of_an_average_is_its_block():
    (fine, coarse) = receptive_fields(Means((2, 2, 2), (4, 8, 2)), [torch.randn(1, 1, 12, 16, 8)])
    assert fine.extent == (2, 2, 2)
    assert coarse.extent == (4, 8, 2)
    assert coarse.position == (1, 1, 2)
    assert coarse.centre == (5.5, 11.5, 4.5)
    assert np.argwhere(coarse.mass > 0).mean(axis=0).tolist() == list(coarse.centre)
    assert coarse.radius(1.0) == (2.0, 4.0, 1.0)
    assert (fine.level, coarse.level) == (0, 1)


def test_two_dimensions_too():
    assert field_of(Convolutions((3, 5)), (9, 9)).extent == (3, 5)


def test_a_transformer_sees_all_and_convolutions_their_neighbours():
    field = receptive_fields(tiny("vit"), [torch.randn(1, 1, *ROI)], draws=1)[-1]
    assert field.extent == ROI
    assert field_of(Convolutions((5, 5, 5), (5, 5, 5)), ROI, draws=1).extent == (9, 9, 9)


@pytest.mark.parametrize("name", [*OVER_PLACES, *NOT_OVER_PLACES, "swin"])
def test_every_family_has_a_field_a_map(name: str):
    if name not in ENCODERS:
        pytest.skip("not in the table")
    encoder = tiny(name)
    fields = receptive_fields(encoder, [torch.randn(1, 1, *ROI)], draws=1)
    assert [field.stride for field in fields] == [tuple(s) for s in encoder.strides]  # pyright: ignore
    assert [field.channels for field in fields] == list(encoder.channels)  # pyright: ignore
    for field in fields:
        assert field.mass.shape == ROI
        assert field.mass.min() >= 0
        assert field.mass.sum() == pytest.approx(1, rel=1e-4)
        assert all(n >= s for n, s in zip(field.extent, field.stride, strict=True))


class Normed(nn.Module):
    """Four channels of each voxel, normed over the channels without learned factors."""

    channels = (4,)
    strides = ((1, 1, 1),)

    def __init__(self):
        super().__init__()
        self.step = nn.Conv3d(1, 4, 3, padding=1)
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.norm(self.step(x).movedim(1, -1)).movedim(-1, 1)]


def test_a_layer_norm_at_the_end_does_not_cancel_the_gradient():
    torch.manual_seed(0)
    encoder = Normed()
    x = torch.randn(1, 1, 5, 5, 5, requires_grad=True)
    encoder(x)[0][0, :, 2, 2, 2].sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) < 1e-5  # what equal signs leave
    mean = FieldMean(encoder)
    mean.add(x)
    assert float(mean._sums[0].max()) > 1e-2
    assert mean.fields()[0].extent == (3, 3, 3)


def test_inputs_are_averaged_and_seeds_repeat():
    torch.manual_seed(1)
    encoder = tiny("vit")
    inputs = [torch.randn(1, 1, *ROI) for _ in range(2)]
    first, again = (receptive_fields(encoder, inputs, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first[-1].mass, again[-1].mass)
    other = receptive_fields(encoder, inputs, seed=4)
    assert not np.array_equal(first[-1].mass, other[-1].mass)
    mean = FieldMean(encoder, draws=16)
    for x in inputs:
        mean.add(x)
    totals = []
    for x in inputs:
        one = FieldMean(encoder, draws=16)
        one.add(x)
        totals.append(one._sums[-1])
    both = (totals[0] + totals[1]) / (totals[0] + totals[1]).sum()
    assert float(np.abs(mean.fields()[-1].mass - both.numpy()).sum()) < 0.2


def test_the_encoder_is_left_as_it_was():
    encoder = tiny("vit", drop_path=0.5)
    encoder.train()
    encoder.get_submodule("norm").eval()
    modes = [module.training for module in encoder.modules()]
    first, again = (field_of(encoder_field(encoder), ROI) for _ in range(2))
    np.testing.assert_array_equal(first.mass, again.mass)  # nothing is dropped
    assert [module.training for module in encoder.modules()] == modes
    assert all(parameter.grad is None for parameter in encoder.parameters())


def encoder_field(encoder: nn.Module) -> nn.Module:
    """The encoder with its last map alone, and a fixed seed for the noise."""
    torch.manual_seed(5)

    class Last(nn.Module):
        channels = encoder.channels[-1:]  # pyright: ignore
        strides = encoder.strides[-1:]  # pyright: ignore

        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, x: Tensor) -> list[Tensor]:
            return self.encoder(x)[-1:]

    return Last()


def test_shortest_runs_and_shares():
    mass = np.zeros((7, 1, 1), dtype=np.float32)
    mass[:, 0, 0] = [0.0, 0.1, 0.1, 0.5, 0.2, 0.05, 0.05]
    field = ReceptiveField(0, (1, 1, 1), 1, (3, 0, 0), mass)
    assert field.radius(0.5) == (0.5, 0.5, 0.5)
    assert field.radius(0.7)[0] == 1.0
    assert field.radius(0.8)[0] == 1.5
    assert field.radius(1.0)[0] == 3.0
    assert field.extent == (6, 1, 1)
    for share in (0.0, 1.1):
        with pytest.raises(InvalidRequest, match="share"):
            field.radius(share)


@given(st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_a_larger_share_needs_no_smaller_radius(a: float, b: float):
    mass = np.random.default_rng(0).random((9, 8, 7)).astype(np.float32)
    field = ReceptiveField(0, (1, 1, 1), 1, (4, 4, 3), mass / mass.sum())
    low, high = sorted((a, b))
    assert all(p <= q for p, q in zip(field.radius(low), field.radius(high), strict=True))


class Constant(Means):
    """A map that does not depend on the input."""

    def __init__(self, value: float):
        super().__init__((1, 1, 1))
        self.value = value

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x * 0 * self.value]


def test_what_has_no_field_is_an_error():
    with pytest.raises(InvalidRequest, match=r"map 0 .* does not depend on the input"):
        field_of(Constant(1.0))
    with pytest.raises(UnusableWeights, match="not finite"):
        field_of(Constant(float("nan")))
    with pytest.raises(InvalidRequest, match="no input"):
        receptive_fields(Convolutions((3, 3, 3)), [])
    with pytest.raises(InvalidRequest, match="several shapes"):
        receptive_fields(Convolutions((3, 3, 3)), [torch.ones(1, 1, n, 5, 5) for n in (5, 6)])


def test_it_stops_when_asked():
    mean = FieldMean(Convolutions((3, 3, 3)), should_stop=lambda: True)
    with pytest.raises(Cancelled):
        mean.add(torch.ones(1, 1, 5, 5, 5))
    assert mean.is_empty
