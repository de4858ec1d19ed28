"""Training that stopped anywhere goes on to the weights of a run that never stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from data import phantom
from unetr_app.bundle import find_bundle
from unetr_app.training import GradientGuard

pytestmark = pytest.mark.filterwarnings("default")  # MONAI, ignite and torch warn of their own

MR = "hippocampus_mr_unetr_segmentation"
EPOCHS = 3
Train = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    root = tmp_path_factory.mktemp("resume")
    data = phantom.write_msd_dataset(root / "msd", 5, kind="mr", shape=(24, 32, 24))

    def run(folder: str, epochs: int = EPOCHS, *, resume: bool = False) -> dict[str, Any]:
        from monai.bundle import run as stock

        stock(
            config_file=str(find_bundle(MR) / "configs" / "train.yaml"),
            dataset_dir=str(data), output_dir=str(root / folder), resume=resume,
            max_epochs=epochs, val_interval=2, train_cases=2, val_cases=1, batch_size=1,
            **{
                "network_def#embed_dim": 12, "network_def#num_heads": 2,
                "network_def#feature_size": 4, "network_def#drop_path": 0.3,
                "lr_scheduler#t_total": 2 * EPOCHS,
            },
        )  # fmt: skip
        return torch.load(root / folder / "last.pt", weights_only=True)

    return run


@pytest.fixture(scope="module")
def whole(train: Train) -> dict[str, Any]:
    return train("whole")


def _assert_same_run(state: dict[str, Any], whole: dict[str, Any]) -> None:
    assert state["trainer"] == whole["trainer"]
    assert state["best"] == whole["best"]
    assert state["early_stop"] == whole["early_stop"]
    for part in ("network", "average"):
        for name, tensor in whole[part].items():
            assert torch.equal(state[part][name], tensor), (part, name)
    moments = state["optimizer"]["state"], whole["optimizer"]["state"]
    for ours, theirs in zip(*(side.values() for side in moments), strict=True):
        assert torch.equal(ours["exp_avg"], theirs["exp_avg"])


@pytest.mark.parametrize("stop", range(1, EPOCHS))
def test_stopped_after_an_epoch(stop: int, train: Train, whole: dict[str, Any]) -> None:
    train(f"after_{stop}", stop)
    _assert_same_run(train(f"after_{stop}", resume=True), whole)


def test_killed_within_an_epoch(
    train: Train, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = GradientGuard.__call__

    def killed(self: GradientGuard, engine: Any) -> None:
        if engine.state.iteration == 4:  # the second step of the second epoch
            raise RuntimeError("killed")
        guard(self, engine)

    with monkeypatch.context() as patch:
        patch.setattr(GradientGuard, "__call__", killed)
        with pytest.raises(RuntimeError):
            train("within")
    _assert_same_run(train("within", resume=True), whole)
