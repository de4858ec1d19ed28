import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetr_app.evaluation import bootstrap, bootstrap_interval

law = settings(deadline=None, max_examples=60)  # the machine may be busy

values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)


@law
@given(values)
def test_interval_is_ordered_and_within_the_values(sample):
    low, high = bootstrap_interval(sample)
    slack = 1e-9 * max(1.0, *map(abs, sample))
    assert min(sample) - slack <= low <= high <= max(sample) + slack


@law
@given(values)
def test_same_values_give_the_same_interval(sample):
    assert bootstrap_interval(sample) == bootstrap_interval(list(sample))


@law
@given(values, st.floats(-10, 10), st.floats(0.1, 10))
def test_interval_follows_shift_and_scale(sample, shift, scale):
    low, high = bootstrap_interval(sample)
    moved = bootstrap_interval([scale * v + shift for v in sample])
    np.testing.assert_allclose(moved, (scale * low + shift, scale * high + shift), atol=1e-6)


@pytest.mark.parametrize("sample", [[], [0.3]])
def test_too_few_values_have_no_interval(sample):
    assert bootstrap_interval(sample) is None


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(7)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval(generator.normal(3.0, 2.0, size=40), draws=400)
        hits += low <= 3.0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_interval_of_a_large_sample_is_that_of_the_normal_distribution():
    sample = np.random.default_rng(1).normal(0.0, 1.0, size=4000)
    low, high = bootstrap_interval(sample)
    half = 1.96 * sample.std() / np.sqrt(4000)
    np.testing.assert_allclose((low, high), (sample.mean() - half, sample.mean() + half), atol=4e-3)


def test_drawing_in_pieces_gives_as_many_draws(monkeypatch):
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 7)
    low, high = bootstrap_interval([0.0, 1.0, 1.0, 1.0, 0.0], draws=2000)
    assert (low, high) == pytest.approx((0.2, 1.0))
