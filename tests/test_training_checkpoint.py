from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from torch import Tensor, nn

from unetr_app.errors import UnusableWeights, UnwritableOutput
from unetr_app.networks.pretrained.files import read_checkpoint
from unetr_app.training import SaveWeights, TrainingState, save_weights
from unetr_app.training.checkpoint import save_whole

BATCHES = [1.0, 2.0, 3.0]


class _Run:
    """A run so small that its weights are known: each step adds the batch to them."""

    def __init__(self, folder: Path, **options: Any):
        self.network = nn.Linear(2, 1)
        with torch.no_grad():
            self.network.weight.zero_()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.5)
        self.state = TrainingState(
            folder, {"network": self.network, "optimizer": self.optimizer}, **options
        )
        self.engine = Engine(self._step)
        self.state.attach(self.engine)

    def _step(self, engine: Engine, batch: float) -> None:
        self.optimizer.zero_grad()
        self.network(torch.full((1, 2), batch)).sum().backward()
        self.optimizer.step()

    def __call__(self, epochs: int) -> Tensor:
        self.engine.run(BATCHES, max_epochs=epochs)
        return self.network.weight.detach().clone()


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(stop: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = _Run(tmp_path / "whole")(4)
    torch.manual_seed(0)
    _Run(tmp_path / "parts")(stop)
    resumed = _Run(tmp_path / "parts", resume=True)
    assert torch.equal(resumed(4), whole)
    assert resumed.engine.state.epoch == 4


def test_a_run_that_died_within_an_epoch_begins_that_epoch_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = _Run(tmp_path / "whole")(4)
    torch.manual_seed(0)
    dying = _Run(tmp_path / "parts")
    plain = dying.engine._process_function

    def step(engine: Engine, batch: float) -> None:
        if engine.state.iteration == 2 * len(BATCHES) + 2:
            raise KeyboardInterrupt
        plain(engine, batch)

    dying.engine._process_function = step
    with pytest.raises(KeyboardInterrupt):
        dying(4)
    assert torch.equal(_Run(tmp_path / "parts", resume=True)(4), whole)


def test_a_damaged_state_falls_back_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    whole = _Run(tmp_path)(3)
    last = tmp_path / "last.pt"
    last.write_bytes(last.read_bytes()[:-40])
    resumed = _Run(tmp_path, resume=True)
    assert torch.equal(resumed(3), whole)
    assert "last.pt is damaged" in caplog.text


def test_two_damaged_states_end_in_words(tmp_path: Path) -> None:
    _Run(tmp_path)(2)
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-40])
    with pytest.raises(UnusableWeights, match=r"neither last.pt nor previous.pt"):
        _Run(tmp_path, resume=True)(3)


def test_the_state_of_another_network_ends_in_words(tmp_path: Path) -> None:
    _Run(tmp_path)(1)
    other = TrainingState(tmp_path, {"network": nn.Linear(3, 3)}, resume=True)
    engine = Engine(lambda _engine, _batch: None)
    other.attach(engine)
    with pytest.raises(UnusableWeights, match=r"last.pt: this is the state of another"):
        engine.run(BATCHES, max_epochs=2)


def test_nothing_to_resume_is_a_new_run(tmp_path: Path) -> None:
    torch.manual_seed(0)
    anew = _Run(tmp_path / "a")(2)
    torch.manual_seed(0)
    assert torch.equal(_Run(tmp_path / "b", resume=True)(2), anew)


def test_every_so_many_epochs_and_after_the_last(tmp_path: Path) -> None:
    epochs = []
    run = _Run(tmp_path, every=3)
    run.engine.add_event_handler(
        "EPOCH_COMPLETED", lambda: epochs.append((tmp_path / "last.pt").exists())
    )
    run(4)
    assert epochs == [False, False, True, True]
    assert (tmp_path / "previous.pt").exists()


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_whole({"a": torch.ones(2)}, tmp_path / "w.pt")
    before = (tmp_path / "w.pt").read_bytes()

    def full(value: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UnwritableOutput, match=r"w\.pt: it could not be written: No space"):
        save_whole({"a": torch.zeros(2)}, tmp_path / "w.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["w.pt"]
    assert (tmp_path / "w.pt").read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_what_torch_says_of_a_file_that_cannot_grow_is_told_in_words(tmp_path: Path) -> None:
    import resource

    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, usual[1]))
    try:
        with pytest.raises(UnwritableOutput, match="could not be written"):
            save_whole({"a": torch.zeros(100_000)}, tmp_path / "w.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert not [*tmp_path.iterdir()]


def test_an_error_of_another_kind_stays_what_it_is(tmp_path: Path) -> None:
    class Odd:
        def __reduce__(self) -> Any:
            raise RuntimeError("cannot be kept")

    with pytest.raises(RuntimeError, match="cannot be kept"):
        save_whole(Odd(), tmp_path / "w.pt")


@pytest.mark.skipif(os.name != "posix", reason="other systems have no umask")
def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_whole({"a": torch.ones(2)}, tmp_path / "w.pt")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.pt").stat().st_mode) == 0o640


def test_weights_are_a_plain_state_dict_in_half_precision(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2))
    save_weights(network, tmp_path / "new" / "w.pt")
    state, _ = read_checkpoint(tmp_path / "new" / "w.pt")
    assert state["0.weight"].dtype == torch.float16
    assert state["1.num_batches_tracked"].dtype == torch.int64
    again = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2))
    again.load_state_dict(state)
    torch.testing.assert_close(again[0].weight, network[0].weight, atol=1e-3, rtol=1e-3)


def test_what_half_precision_cannot_hold_keeps_its_type(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    with torch.no_grad():
        network.bias.fill_(1e6)
    save_weights(network, tmp_path / "w.pt")
    state, _ = read_checkpoint(tmp_path / "w.pt")
    assert state["bias"].item() == 1e6
    assert state["weight"].dtype == torch.float16


def test_weights_are_saved_when_the_run_completes(tmp_path: Path) -> None:
    engine = Engine(lambda _engine, _batch: None)
    SaveWeights(nn.Linear(2, 1), tmp_path / "w.pt").attach(engine)
    engine.run([1], max_epochs=1)
    assert read_checkpoint(tmp_path / "w.pt")[0].keys() == {"weight", "bias"}
