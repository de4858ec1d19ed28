"""Weights that are let go and fetched again compute what they did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unetr_app.bundle import BundleCard, read_card
from unetr_app.bundle.weights import is_released, load_state, release_weights
from unetr_app.errors import UnusableWeights


class _Shared(nn.Module):
    """Two layers with one weight, a buffer that is in no file, a layer with lists of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.recurrent = nn.GRU(4, 4, batch_first=True)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("scale", torch.tensor(3.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.recurrent(self.second(self.first(x)))[0][:, 0]) * self.scale


def _card(folder: Path) -> BundleCard:
    (folder / "configs").mkdir(parents=True)
    channels = {"image": {"channel_def": {"0": "any"}}}
    outputs = {"pred": {"channel_def": {"0": "background", "1": "bright"}}}
    data = {"inputs": channels, "outputs": outputs}
    metadata = {"version": "1.0", "description": "", "network_data_format": data}
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return read_card(folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_released_weights_are_gone_and_come_back(dtype: torch.dtype, tmp_path: Path) -> None:
    network = _Shared().eval()
    state = {name: t.to(dtype) for name, t in network.state_dict().items()}
    network.load_state_dict(state)
    torch.save(state, tmp_path / "weights.pt")
    x = torch.randn(2, 3, 4)
    wanted = network(x)
    assert release_weights(network)
    assert is_released(network)
    assert all(parameter.is_meta for parameter in network.parameters())
    load_state(network, tmp_path / "weights.pt", _card(tmp_path / "bundle"))
    assert not is_released(network)
    assert network.second.weight is network.first.weight
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    torch.testing.assert_close(network(x), wanted, rtol=0, atol=0)


def test_weights_of_another_network_are_refused_after_a_release_too(tmp_path: Path) -> None:
    network = nn.Linear(4, 4)
    torch.save(nn.Linear(4, 5).state_dict(), tmp_path / "weights.pt")
    release_weights(network)
    with pytest.raises(UnusableWeights, match="size mismatch"):
        load_state(network, tmp_path / "weights.pt", _card(tmp_path / "bundle"))
    assert is_released(network)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_keeps_its_weights() -> None:
    program = torch.jit.script(nn.Linear(2, 2))
    assert not release_weights(program)
    assert not is_released(program)
