from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from torch import nn

from unetr_app.errors import UnreadableInput, UnusableWeights
from unetr_app.training import (
    EpochSeed,
    GradientGuard,
    SaveWeights,
    TrainingState,
    loss_value,
    prepare_batch,
    save_weights,
)
from unetr_app.training.checkpoint import save_whole

pytestmark = pytest.mark.filterwarnings("ignore:.*run.*:UserWarning")


def _trainer(network: nn.Linear, folder: Path, *, resume: bool = False) -> Engine:
    """Adds 1 to the bias at each step."""

    def step(engine: Engine, batch: int) -> None:
        with torch.no_grad():
            network.bias += 1

    engine = Engine(step)
    TrainingState(folder, {"network": network}, resume=resume).attach(engine)
    return engine


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = nn.Linear(1, 1)
    nn.init.zeros_(first.bias)
    _trainer(first, tmp_path).run([0, 1], max_epochs=2)
    second = nn.Linear(1, 1)
    engine = _trainer(second, tmp_path, resume=True)
    engine.run([0, 1], max_epochs=5)
    assert engine.state.epoch == 5
    assert second.bias.item() == 10.0
    assert torch.equal(first.weight, second.weight)


def test_a_damaged_last_state_falls_back_to_the_one_before(tmp_path: Path) -> None:
    network = nn.Linear(1, 1)
    nn.init.zeros_(network.bias)
    _trainer(network, tmp_path).run([0, 1], max_epochs=3)
    last = tmp_path / "last.pt"
    last.write_bytes(last.read_bytes()[:100])
    again = nn.Linear(1, 1)
    engine = _trainer(again, tmp_path, resume=True)
    engine.run([0, 1], max_epochs=3)
    assert again.bias.item() == 6.0  # epoch 3 was done again, from the end of epoch 2
    (tmp_path / "last.pt").write_bytes(b"")
    (tmp_path / "previous.pt").write_bytes(b"")
    with pytest.raises(UnusableWeights, match="neither"):
        _trainer(again, tmp_path, resume=True).run([0], max_epochs=4)


def test_nothing_to_resume_starts_anew(tmp_path: Path) -> None:
    engine = _trainer(nn.Linear(1, 1), tmp_path, resume=True)
    engine.run([0], max_epochs=1)
    assert engine.state.epoch == 1


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_whole({"a": torch.ones(2)}, path)
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        save_whole({"a": lambda: None}, path)
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


def test_weights_are_stored_small_and_load_as_float32(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    save_weights(network, tmp_path / "model.pt")
    stored = torch.load(tmp_path / "model.pt", weights_only=True)
    assert stored["0.weight"].dtype == torch.float16
    assert stored["1.num_batches_tracked"].dtype == torch.int64
    other = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    other.load_state_dict(stored)
    assert other[0].weight.dtype == torch.float32
    torch.testing.assert_close(other[0].weight, network[0].weight, atol=1e-3, rtol=1e-3)


def test_weights_appear_when_the_run_completes(tmp_path: Path) -> None:
    engine = Engine(lambda engine, batch: None)
    SaveWeights(nn.Linear(1, 1), tmp_path / "model.pt").attach(engine)
    engine.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: (tmp_path / "model.pt").exists() and pytest.fail("early")
    )
    engine.run([0], max_epochs=2)
    assert (tmp_path / "model.pt").is_file()


def _guarded(losses: list[float], patience: int = 2) -> tuple[nn.Parameter, GradientGuard]:
    weight = nn.Parameter(torch.ones(1))
    optimiser = torch.optim.SGD([weight], lr=0.1, weight_decay=0.5)

    def step(engine: Engine, factor: float) -> None:
        optimiser.zero_grad()
        loss = (weight * factor).sum()
        engine.state.output = {"loss": loss}
        loss.backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        optimiser.step()

    engine = Engine(step)
    engine.register_events(*IterationEvents)
    guard = GradientGuard([weight], max_norm=1.0, patience=patience)
    guard.attach(engine)
    engine.run(losses)
    return weight, guard


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    weight, guard = _guarded([float("nan"), float("inf")], patience=3)
    assert weight.item() == 1.0
    assert guard.dropped == 2


def test_gradients_are_clipped() -> None:
    weight, guard = _guarded([1000.0])
    assert weight.item() == pytest.approx(1 - 0.1 * (1.0 + 0.5))
    assert guard.dropped == 0


def test_too_many_bad_steps_in_a_row_stop_the_run() -> None:
    with pytest.raises(UnreadableInput, match="2 steps in a row"):
        _guarded([float("nan"), float("nan"), 1.0])
    _guarded([float("nan"), 1.0, float("nan"), 1.0])


def test_randomness_is_a_function_of_seed_and_epoch() -> None:
    def draws(seed: int, start: int) -> list[float]:
        drawn: list[float] = []
        engine = Engine(lambda engine, batch: drawn.append(torch.rand(1).item()))
        EpochSeed(seed).attach(engine)
        engine.add_event_handler(
            Events.STARTED, lambda engine: engine.load_state_dict(
                {"epoch": start, "max_epochs": 3, "epoch_length": 2}
            )
        )  # fmt: skip
        engine.run([0, 1], max_epochs=3)
        return drawn

    whole = draws(seed=7, start=0)
    assert len(set(whole)) == 6
    assert draws(seed=7, start=2) == whole[-2:]
    assert draws(seed=8, start=0) != whole


def test_a_batch_leaves_its_metadata_behind() -> None:
    from monai.data import MetaTensor

    image = MetaTensor(torch.rand(2, 1, 4, 5, 6))
    x, y = prepare_batch({"image": image, "label": torch.zeros(2, 1, 4, 5, 6)}, "cpu")
    assert type(x) is torch.Tensor
    assert x.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(x, image.as_tensor())
    assert y.shape == (2, 1, 4, 5, 6)


def test_the_loss_is_a_number() -> None:
    assert loss_value({"loss": torch.tensor(0.5)}) == 0.5
