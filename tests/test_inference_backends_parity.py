"""Rounding passes, and nothing else does."""

from __future__ import annotations

import pytest
import torch

from unetr_app.inference.backends.parity import compare, sample_windows

REFERENCE = torch.randn(1, 4, 20, 20, 25, generator=torch.Generator().manual_seed(0))


def test_rounding_passes() -> None:
    noise = torch.randn(REFERENCE.shape, generator=torch.Generator().manual_seed(1))
    parity = compare(REFERENCE + 1e-6 * noise, REFERENCE)
    assert parity.holds
    assert 0 < parity.difference < 1e-5


def test_one_voxel_far_off_does_not_pass() -> None:
    logits = REFERENCE.clone()
    logits[0, 0, 3, 4, 5] -= 0.1
    assert not compare(logits, REFERENCE).holds


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("whose", ["ours", "reference"])
def test_what_is_no_number_does_not_pass(value: float, whose: str) -> None:
    bad = REFERENCE.clone()
    bad[0, 0, 0, 0, 0] = value
    pair = (bad, REFERENCE) if whose == "ours" else (REFERENCE, bad)
    assert not compare(*pair).holds
    assert not compare(bad, bad).holds


def test_another_shape_does_not_pass() -> None:
    assert not compare(REFERENCE[:, :3], REFERENCE).holds


def test_small_differences_that_move_labels_do_not_pass() -> None:
    """Labels that hang on a thousandth of the largest logit, elsewhere in the window."""
    reference = torch.zeros(1, 2, 10, 10, 10)
    reference[0, 0] = 5e-4
    reference[0, :, 0, 0, 0] = 1.0
    parity = compare(reference.flip(1), reference)
    assert parity.difference < 1e-3
    assert not parity.holds


def test_ties_are_left_to_rounding() -> None:
    reference = REFERENCE.clone()
    reference[:, 1] = reference[:, 0]
    nudged = reference.clone()
    nudged[:, 1] += 1e-6
    assert compare(nudged, reference).holds


def test_of_one_label_its_sign_counts() -> None:
    reference = REFERENCE[:, :1].clone()
    reference[0, 0, 0] = 4e-4 * reference.abs().max()
    moved = reference.clone()
    moved[0, 0, 0] *= -1
    assert compare(moved, reference).difference < 1e-3
    assert not compare(moved, reference).holds


def test_nothing_but_nothing_equals_nothing() -> None:
    nothing = torch.zeros(1, 2, 4, 4, 4)
    assert compare(nothing, nothing).holds
    assert not compare(nothing + 1e-6, nothing).holds


def test_samples_differ_in_mean_spread_and_sign() -> None:
    first, second = sample_windows((1, 2, 12, 12, 12))
    assert first.shape == second.shape == (1, 2, 12, 12, 12)
    assert first.mean().abs() < 0.1 < 1 < second.mean()
    assert second.min() == 0
    assert second.std() > 2 * first.std()
    torch.testing.assert_close(sample_windows((1, 2, 12, 12, 12))[0], first, rtol=0, atol=0)
