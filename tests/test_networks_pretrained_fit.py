from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks.inflation import centre_tap, repeat_over_depth, resize_kernel
from unetr_app.networks.pretrained.fit import fit
from unetr_app.networks.pretrained.source import Source


class _Grid(nn.Module):
    """A parameter that knows how it is filled."""

    def __init__(self, *shape: int):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(shape))

    def adopt(self, name: str, tensor: Tensor) -> Tensor:
        assert name == "table"
        if tensor.numel() == 1:
            raise InvalidRequest("a table of one number says nothing")
        return tensor[:, :, None].repeat(1, 1, self.table.shape[2]) if tensor.ndim == 2 else tensor


class _Small(nn.Module):
    """One layer of each kind that is filled in its own way."""

    def __init__(self, dims: int = 3):
        super().__init__()
        convolution: Any = nn.Conv3d if dims == 3 else nn.Conv2d
        self.embed = convolution(1, 4, 2, stride=2)
        self.mix = convolution(4, 4, 3, padding=1, groups=4)
        self.point = convolution(4, 4, 1)
        self.norm = nn.BatchNorm3d(4)
        self.grid = _Grid(2, 3, 5)
        self.linear = nn.Linear(4, 4)


def _tensors() -> dict[str, Tensor]:
    """What an image network has for `_Small`, under its names."""
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embed.weight": (4, 3, 2, 2), "embed.bias": (4,), "mix.weight": (4, 1, 3, 3),
        "mix.bias": (4,), "point.weight": (4, 4, 1, 1), "point.bias": (4,), "norm.weight": (4,),
        "norm.bias": (4,), "norm.running_mean": (4,), "norm.running_var": (4,),
        "grid.table": (2, 3), "linear.weight": (4, 4), "linear.bias": (4,),
    }  # fmt: skip
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def _source(tensors: dict[str, Tensor], **changes: Any) -> Source:
    origins = {name: f"their.{name}" for name in tensors}
    arguments: dict[str, Any] = {"tensors": tensors, "origins": origins, "skipped": {}, **changes}
    return Source("theirs", "small", 2, 3, {}, **arguments)


def test_every_tensor_is_filled_in_its_own_way_and_told() -> None:
    given = _tensors()
    state, report = fit(_Small(), _source(given))
    grey = given["embed.weight"].sum(dim=1, keepdim=True)
    torch.testing.assert_close(state["embed.weight"], repeat_over_depth(grey, 2))
    assert torch.equal(state["mix.weight"], centre_tap(given["mix.weight"], 3))
    assert torch.equal(state["point.weight"], given["point.weight"].unsqueeze(2))
    assert torch.equal(state["grid.table"], given["grid.table"][:, :, None].repeat(1, 1, 5))
    assert torch.equal(state["linear.weight"], given["linear.weight"])
    assert torch.equal(state["norm.running_var"], given["norm.running_var"])
    told = {record.name: (record.status, record.note) for record in report.records}
    assert told["embed.weight"] == ("inflated", "3 channels to 1; spread over depth")
    assert told["mix.weight"] == ("inflated", "centre tap")
    assert told["grid.table"] == ("inflated", "from 2 x 3")
    assert told["linear.weight"] == ("loaded", "")
    assert {record.source for record in report.records} == {f"their.{name}" for name in given}
    assert report.coverage == 1


def test_the_state_is_whole_and_the_encoder_as_it_was() -> None:
    encoder = _Small()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    state, _ = fit(encoder, _source(_tensors()))
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name])
    encoder.load_state_dict(state)
    for name, value in _tensors().items():
        if name.endswith("bias"):
            assert torch.equal(encoder.get_parameter(name), value)


def test_a_patch_of_another_size_resizes_the_kernel() -> None:
    encoder = nn.ModuleDict({"embed": nn.Conv3d(3, 4, (4, 3, 5), stride=(4, 3, 5))})
    kernel = _tensors()["embed.weight"]
    state, report = fit(encoder, _source({"embed.weight": kernel}))
    wanted = repeat_over_depth(resize_kernel(kernel, (3, 5)), 4)
    torch.testing.assert_close(state["embed.weight"], wanted)
    assert report.of("inflated")[0].note == "patch 2 x 2 resized; spread over depth"
    flat = nn.ModuleDict({"embed": nn.Conv2d(3, 4, (3, 5), stride=(3, 5))})
    _, report = fit(flat, _source({"embed.weight": kernel}))
    assert [record.note for record in report.of("resized")] == ["patch 2 x 2 resized"]


def test_a_linear_layer_over_channels_is_a_convolution_of_one_voxel() -> None:
    given = _tensors()
    state, _ = fit(_Small(), _source({**given, "point.weight": given["point.weight"][..., 0, 0]}))
    assert torch.equal(state["point.weight"], given["point.weight"].unsqueeze(2))


def test_what_the_checkpoint_lacks_stays_and_counts_against_the_coverage() -> None:
    encoder, given = _Small(), _tensors()
    del given["linear.weight"], given["norm.running_mean"]
    state, report = fit(encoder, _source(given))
    assert torch.equal(state["linear.weight"], encoder.linear.weight)
    missing = {record.name: record.is_parameter for record in report.of("missing")}
    assert missing == {"linear.weight": True, "norm.running_mean": False}
    total = sum(p.numel() for p in encoder.parameters())
    assert report.coverage == (total - 16) / total


def test_counters_of_batches_are_nobodys_business() -> None:
    for given in (_tensors(), {**_tensors(), "norm.num_batches_tracked": torch.tensor(7)}):
        state, report = fit(_Small(), _source(given))
        assert not [r for r in report.records if "num_batches" in r.name]
        assert state["norm.num_batches_tracked"] == given.get("norm.num_batches_tracked", 0)


def test_a_tensor_that_the_layout_made_is_told_as_such() -> None:
    given = _tensors()
    source = _source(given)
    made = _source(given, origins={**source.origins, "linear.bias": ""})
    _, report = fit(_Small(), made)
    record = next(r for r in report.records if r.name == "linear.bias")
    assert (record.status, record.source) == ("inflated", "")
    assert "nothing here" in record.note


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_is_brought_to_the_encoders(dtype: torch.dtype) -> None:
    given = {name: tensor.to(dtype) for name, tensor in _tensors().items()}
    state, _ = fit(_Small(), _source(given))
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}
    state, _ = fit(_Small().to(torch.bfloat16), _source(given))
    assert state["embed.weight"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "shape", "held"),
    [
        ("linear.weight", (4, 5), "4 x 5, not 4 x 4"),
        ("linear.bias", (5,), "5, not 4"),
        ("mix.weight", (4, 1, 5, 5), "4 x 1 x 5 x 5, not 4 x 1 x 3 x 3 x 3"),
        ("embed.weight", (5, 3, 2, 2), "5 x 3 x 2 x 2, not 4 x 1 x 2 x 2 x 2"),
        ("grid.table", (7, 3), "7 x 3, not 2 x 3 x 5"),
        ("grid.table", (1, 1), "1 x 1, not 2 x 3 x 5"),
        ("norm.running_var", (3,), "3, not 4"),
    ],
)
def test_a_tensor_of_another_shape_is_refused_by_its_own_name(
    name: str, shape: tuple[int, ...], held: str
) -> None:
    bent = {**_tensors(), name: torch.zeros(shape)}
    with pytest.raises(
        UnusableWeights, match=rf"another shape or type.*: their\.{name} \({held}\)"
    ):
        fit(_Small(), _source(bent))


def test_numbers_of_another_kind_are_refused() -> None:
    bent = {**_tensors(), "linear.weight": torch.ones(4, 4, dtype=torch.int8)}
    with pytest.raises(UnusableWeights, match=r"their\.linear\.weight \(int8 numbers\)"):
        fit(_Small(), _source(bent))


def test_a_tensor_that_its_owner_cannot_take_is_refused_though_its_shape_fits() -> None:
    encoder = nn.ModuleDict({"grid": _Grid(1, 1, 1)})
    with pytest.raises(UnusableWeights, match=r"their\.grid\.table"):
        fit(encoder, _source({"grid.table": torch.zeros(1, 1, 1)}))


def test_all_of_them_are_told_at_once() -> None:
    bent = {name: torch.zeros(9, 9, 9) for name in _tensors()}
    with pytest.raises(UnusableWeights, match=r"another shape .* and 5 more"):
        fit(_Small(), _source(bent))


def test_tensors_beside_those_in_use_that_nobody_knows_are_refused() -> None:
    skipped = {"their.norm.odd": "unknown to this layout"}
    with pytest.raises(UnusableWeights, match=r"not known to have: their\.norm\.odd"):
        fit(_Small(), _source(_tensors(), skipped=skipped))
    elsewhere = {"head.weight": "unknown to this layout", "their.pool": "a head"}
    _, report = fit(_Small(), _source(_tensors(), skipped=elsewhere))
    assert {r.name: r.note for r in report.of("skipped")} == elsewhere


def test_what_is_left_out_is_told_with_its_reason_and_its_true_shape() -> None:
    tensors = {**_tensors(), "pool.weight": torch.zeros(6, 4)}
    skipped = {"head.weight": "a head", "odd": "a head", "gone": "a head"}
    stored = {
        "vit.head.weight": torch.zeros(5, 4),
        "odd": torch.zeros(2, 3),
        "x.oddity": torch.zeros(1),
    }
    _, report = fit(_Small(), _source(tensors, skipped=skipped), stored)
    assert {r.name: (r.shape, r.note) for r in report.of("skipped")} == {
        "their.pool.weight": ((6, 4), "this encoder was built without it"),
        "head.weight": ((5, 4), "a head"),
        "odd": ((2, 3), "a head"),
        "gone": ((), "a head"),
    }
