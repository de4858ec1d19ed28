"""What fine-tuning asks of training: weights to start from, and a file that says how far it is."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from unetr_app.errors import UnusableWeights
from unetr_app.training import ProgressFile, save_weights, start_from


def test_a_network_starts_from_exactly_the_weights_of_a_file(tmp_path: Path) -> None:
    trained, fresh = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(trained, tmp_path / "model.pt", dtype="float32")
    assert start_from(fresh, tmp_path / "model.pt") is fresh
    for one, two in zip(trained.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(one, two)


def test_without_a_file_it_is_left_as_it_was() -> None:
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    assert start_from(network, None) is network
    assert torch.equal(network.weight, before)


def test_weights_that_do_not_fit_or_could_run_code_are_refused(tmp_path: Path) -> None:
    save_weights(nn.Linear(4, 2), tmp_path / "other.pt")
    with pytest.raises(UnusableWeights, match="of another network"):
        start_from(nn.Linear(3, 2), tmp_path / "other.pt")
    spoilt = nn.Linear(3, 2)
    nn.init.constant_(spoilt.weight, float("nan"))
    save_weights(spoilt, tmp_path / "nan.pt")
    with pytest.raises(UnusableWeights, match="not finite"):
        start_from(nn.Linear(3, 2), tmp_path / "nan.pt")
    (tmp_path / "code.pt").write_bytes(pickle.dumps(Path))
    with pytest.raises(UnusableWeights):
        start_from(nn.Linear(3, 2), tmp_path / "code.pt")
    with pytest.raises(UnusableWeights):
        start_from(nn.Linear(3, 2), tmp_path / "none.pt")


def test_the_file_follows_epochs_and_is_never_half(tmp_path: Path) -> None:
    path = tmp_path / "run" / "progress.json"
    seen: list[dict[str, float]] = []
    engine = Engine(lambda _, batch: {"loss": torch.tensor(float(batch))})
    ProgressFile(path).attach(engine)
    look = lambda _: seen.append(json.loads(path.read_text()))  # noqa: E731
    engine.add_event_handler(Events.EPOCH_COMPLETED, look)
    engine.run([1.0, 2.0, float("inf")], max_epochs=2)
    assert [row["epoch"] for row in seen] == [1, 2]
    assert [row["step"] for row in seen] == [3, 6]
    assert {(row["epochs"], row["steps"], row["loss"]) for row in seen} == {(2, 6, None)}
    assert [p.name for p in path.parent.iterdir()] == ["progress.json"]


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine = Engine(lambda _, batch: {"loss": torch.tensor(1.0)})
    ProgressFile(None).attach(engine)
    engine.run([1], max_epochs=1)
    assert not [*tmp_path.iterdir()]
