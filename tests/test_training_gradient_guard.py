from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.data.meta_tensor import MetaTensor
from monai.engines.utils import IterationEvents
from torch import nn

from unetr_app.errors import UnreadableInput
from unetr_app.training import GradientGuard


def _engine(loss: float = 1.0, **more: Any) -> Any:
    image = MetaTensor(torch.zeros(2, 1, 2), meta={"filename_or_obj": ["/secret/a.nii", "b.nii"]})
    state = SimpleNamespace(
        output={"loss": torch.tensor(loss)}, iteration=5, batch={"image": image}
    )
    return SimpleNamespace(state=state, **more)


def _parameter(gradient: list[float]) -> nn.Parameter:
    parameter = nn.Parameter(torch.zeros(len(gradient)))
    parameter.grad = torch.tensor(gradient)
    return parameter


def test_a_small_gradient_is_left_alone_and_a_large_one_clipped() -> None:
    small, large = _parameter([0.3, 0.4]), _parameter([3.0, 4.0])
    GradientGuard([small], max_norm=1.0)(_engine())
    GradientGuard([large], max_norm=1.0)(_engine())
    torch.testing.assert_close(small.grad, torch.tensor([0.3, 0.4]))
    torch.testing.assert_close(large.grad, torch.tensor([0.6, 0.8]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("gradient", "loss"),
    [([torch.nan, 1.0], 1.0), ([torch.inf, 1.0], 1.0), ([1.0, 1.0], torch.nan)],
)
def test_a_step_that_is_not_finite_leaves_the_weights_alone(
    gradient: list[float], loss: float, caplog: pytest.LogCaptureFixture
) -> None:
    parameter = _parameter(gradient)
    parameter.data.fill_(2.0)
    optimizer = torch.optim.AdamW([parameter], lr=1.0, weight_decay=0.5)
    guard = GradientGuard([parameter])
    guard(_engine(loss))
    optimizer.step()
    assert torch.equal(parameter.detach(), torch.tensor([2.0, 2.0]))
    assert guard.dropped == 1
    assert "step 5 dropped" in caplog.text
    assert "a.nii, b.nii" in caplog.text
    assert "secret" not in caplog.text


def test_in_a_training_loop_a_bad_step_changes_nothing_not_even_by_decay() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1, weight_decay=0.5)

    def step(engine: Engine, factor: float) -> None:
        optimizer.zero_grad()
        loss = (weight * factor).sum()
        engine.state.output = {"loss": loss}  # pyright: ignore[reportAttributeAccessIssue]
        loss.backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        optimizer.step()

    engine = Engine(step)
    engine.register_events(*IterationEvents)
    GradientGuard([weight], max_norm=1.0).attach(engine)
    engine.run([torch.nan, torch.inf])
    assert weight.item() == 1.0
    engine.run([1000.0])
    assert weight.item() == pytest.approx(1 - 0.1 * (1.0 + 0.5))


def test_it_stops_after_so_many_in_a_row_and_names_the_last() -> None:
    guard = GradientGuard([_parameter([torch.nan])], patience=3)
    for _ in range(2):
        guard(_engine())
        guard.parameters[0].grad = torch.tensor([torch.nan])
    with pytest.raises(UnreadableInput, match=r"3 steps in a row .* a.nii, b.nii"):
        guard(_engine())


def test_a_good_step_between_starts_the_count_anew() -> None:
    guard = GradientGuard([_parameter([1.0])], patience=2)
    for value in (torch.nan, 1.0, torch.nan, 1.0, torch.nan):
        guard.parameters[0].grad = torch.tensor([value])
        guard(_engine())
    assert guard.dropped == 3


def test_with_a_scaler_the_true_gradient_is_clipped_and_overflow_is_the_scalers() -> None:
    parameter = _parameter([0.0, 0.0])
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)  # pyright: ignore
    guard = GradientGuard([parameter], max_norm=1.0, patience=1)
    engine = _engine(scaler=scaler, optimizer=optimizer)

    def step(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        guard(engine)
        scaler.step(optimizer)
        scaler.update()

    step((parameter * torch.tensor([3.0, 4.0])).sum())
    torch.testing.assert_close(parameter.detach(), torch.tensor([-0.6, -0.8]), atol=1e-5, rtol=0)
    before = parameter.detach().clone()
    step((parameter * torch.tensor([3e38, 3e38])).sum())
    assert torch.equal(parameter.detach(), before)
    assert scaler.get_scale() < 1024.0
