"""The small handlers: seeding, early stop, best weights, reporting, devices, batches."""

from __future__ import annotations

import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.intensity.array import RandGaussianNoise
from torch import nn

from unetr_app.training import (
    EarlyStop,
    EpochSeed,
    SaveBest,
    batch_names,
    case_names,
    channels_last,
    device_ids,
    handlers_of_this_process,
    is_first_process,
    is_last_of_epoch,
    loss_value,
    pick_device,
    prepare_batch,
    validation_dice,
)


def _score(engine: Engine) -> float:
    return float(engine.state.metrics["mean_dice"])


def _validated(score: float) -> Any:
    return SimpleNamespace(state=SimpleNamespace(metrics={"mean_dice": score}))


def _draws(seed: int, epoch: int) -> list[float]:
    noise = RandGaussianNoise(prob=1.0)
    EpochSeed(seed, Compose([noise]))(
        SimpleNamespace(state=SimpleNamespace(epoch=epoch, dataloader=None))  # pyright: ignore
    )
    image: Any = noise(torch.zeros(1, 1))
    return [random.random(), np.random.rand(), torch.rand(1).item(), float(image)]  # noqa: NPY002


def test_draws_are_a_function_of_seed_and_epoch() -> None:
    first = _draws(7, 3)
    _draws(1, 1)
    assert _draws(7, 3) == first
    for other in (_draws(7, 4), _draws(8, 3)):
        assert all(a != b for a, b in zip(first, other, strict=True))


def test_a_run_that_goes_on_draws_what_the_whole_run_drew() -> None:
    def draws(done: int) -> list[float]:
        drawn: list[float] = []
        engine = Engine(lambda _engine, _batch: drawn.append(torch.rand(1).item()))
        EpochSeed(7).attach(engine)
        engine.load_state_dict({"epoch": done, "max_epochs": 3, "epoch_length": 2})
        engine.run([0, 1], max_epochs=3)
        return drawn

    whole = draws(0)
    assert len(set(whole)) == 6
    assert draws(1) == whole[2:]
    assert draws(2) == whole[4:]


def test_a_sampler_of_several_processes_is_told_the_epoch() -> None:
    told: list[int] = []
    loader = SimpleNamespace(sampler=SimpleNamespace(set_epoch=told.append))
    EpochSeed(1)(SimpleNamespace(state=SimpleNamespace(epoch=5, dataloader=loader)))  # pyright: ignore
    assert told == [5]


class _Trainer:
    stopped = False

    def terminate(self) -> None:
        self.stopped = True


@pytest.mark.parametrize(
    ("scores", "stops"),
    [
        ([0.1, 0.2, 0.3, 0.4], None),
        ([0.5, 0.4, 0.3], 3),
        ([0.5, 0.5, 0.5], 3),
        ([0.1, 0.05, 0.2, 0.1, 0.15], 5),
        ([0.5, math.nan, math.nan], 3),
    ],
)
def test_training_stops_when_patience_is_used_up(scores: list[float], stops: int | None) -> None:
    trainer: Any = _Trainer()
    watch = EarlyStop(2, _score)
    watch.set_trainer(trainer)
    ended = None
    for number, score in enumerate(scores, start=1):
        watch(_validated(score))
        ended = ended or (number if trainer.stopped else None)
    assert ended == stops


def test_patience_survives_a_resume() -> None:
    first = EarlyStop(2, _score)
    first(_validated(0.5))
    first(_validated(0.4))
    again, trainer = EarlyStop(2, _score), _Trainer()
    again.set_trainer(trainer)  # pyright: ignore
    again.load_state_dict(first.state_dict())
    again(_validated(0.45))
    assert trainer.stopped


def test_the_best_weights_are_kept_and_survive_a_resume(tmp_path: Path) -> None:
    network, path = nn.Linear(1, 1), tmp_path / "best.pt"

    def validate(watch: SaveBest, score: float) -> float:
        with torch.no_grad():
            network.bias.fill_(score)
        watch(_validated(score))
        return torch.load(path, weights_only=True)["bias"].item()

    best = SaveBest(network, path, _score, dtype="float32")
    kept = [validate(best, score) for score in (0.5, 0.25, 0.75, math.nan)]
    assert kept == [0.5, 0.5, 0.75, 0.75]
    again = SaveBest(network, path, _score, dtype="float32")
    again.load_state_dict(best.state_dict())
    assert validate(again, 0.625) == 0.75


def test_reporting_names_files_without_their_folders() -> None:
    image = MetaTensor(torch.zeros(1, 2), meta={"filename_or_obj": "/secret/a.nii.gz"})
    assert case_names([{"image": image}]) == [{"filename_or_obj": "a.nii.gz"}]
    assert batch_names({"image": image}) == ["a.nii.gz"]
    assert batch_names({"image": torch.zeros(2)}) == []
    assert batch_names(None) == []
    assert loss_value({"loss": torch.tensor(0.5)}) == 0.5
    assert validation_dice(_validated(0.25)) == 0.25


def test_one_process_is_the_first_and_has_every_handler() -> None:
    assert is_first_process()
    assert handlers_of_this_process([1, 2, 3], 1) == [1, 2, 3]
    assert device_ids(torch.device("cpu")) is None
    assert device_ids(torch.device("cuda", 1)) == [torch.device("cuda", 1)]
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_other_processes_have_the_handlers_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unetr_app.training.device.is_first_process", lambda: False)
    assert handlers_of_this_process([1, 2, 3], 1) == [1]


def test_a_batch_is_plain_tensors_channels_last() -> None:
    batch = {
        "image": MetaTensor(torch.rand(2, 3, 4, 5, 6), meta={"filename_or_obj": ["a", "b"]}),
        "label": torch.ones(2, 1, 4, 5, 6),
    }
    image, label = prepare_batch(batch, "cpu")
    assert type(image) is torch.Tensor
    assert image.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(image, batch["image"].as_tensor())  # pyright: ignore
    assert torch.equal(label, batch["label"])


def test_a_network_is_laid_out_channels_last_whatever_else_it_holds() -> None:
    network = nn.Sequential(nn.Conv3d(2, 3, 3), nn.Conv2d(2, 3, 3), nn.Linear(2, 3))
    network.before = nn.Parameter(torch.rand(1, 2, 3, 4))  # four axes, laid out as it is
    wanted = {name: value.clone() for name, value in network.state_dict().items()}
    weights = [network[0].weight, network[1].weight]
    assert channels_last(network) is network
    assert weights[0].is_contiguous(memory_format=torch.channels_last_3d)
    assert weights[1].is_contiguous()
    assert network[0].weight is weights[0]  # what an optimiser holds is what is laid out
    for name, value in network.state_dict().items():
        assert torch.equal(value, wanted[name])


def test_the_last_step_of_each_epoch_is_told_from_the_others() -> None:
    engine = Engine(lambda *_: None)
    last: list[int] = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED(event_filter=is_last_of_epoch),
        lambda: last.append(engine.state.iteration),
    )
    engine.run(range(3), max_epochs=2)
    assert last == [3, 6]
