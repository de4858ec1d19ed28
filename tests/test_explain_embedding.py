from __future__ import annotations

import sys

import numpy as np
import pytest

from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.explain import embed, has_embedding

pytest.importorskip("sklearn", reason="t-SNE needs the extra `explain`")


def clouds(count: int, channels: int, apart: float = 20.0) -> np.ndarray:
    """Two clouds of ``count`` points each, one after the other."""
    points = np.random.default_rng(0).normal(size=(2 * count, channels))
    points[count:, 0] += apart
    return points


@pytest.mark.parametrize(("count", "channels"), [(40, 3), (40, 80), (8, 200)])
def test_two_separate_clouds_stay_separate(count: int, channels: int):
    points = embed(clouds(count, channels))
    assert points.shape == (2 * count, 2)
    first, second = points[:count], points[count:]
    near = [np.linalg.norm(own - own.mean(axis=0), axis=1).max() for own in (first, second)]
    between = np.linalg.norm(first[:, None] - second[None], axis=-1)
    within = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(2 * count)
    nearest = within.argmin(axis=1)
    assert ((nearest < count) == (np.arange(2 * count) < count)).all()
    assert between.min() > 0
    assert np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) > max(near)


def test_the_same_seed_gives_the_same_points():
    vectors = clouds(30, 60)
    np.testing.assert_array_equal(embed(vectors, seed=4), embed(vectors, seed=4))


@pytest.mark.parametrize("count", [5, 6, 10])
def test_perplexity_is_bounded_by_the_number_of_points(count: int):
    points = embed(np.random.default_rng(0).normal(size=(count, 4)), perplexity=50)
    assert np.isfinite(points).all()


def test_points_that_are_all_alike_and_a_single_channel():
    assert not embed(np.ones((9, 4))).any()
    points = embed(np.arange(12.0)[:, None])
    assert np.isfinite(points).all()
    assert points.shape == (12, 2)


def test_what_cannot_be_arranged():
    with pytest.raises(InvalidRequest, match=r"needs 5 points.*there are 4.*--points voxels"):
        embed(np.ones((4, 3)))
    with pytest.raises(UnusableWeights, match="not finite"):
        embed(np.full((9, 3), np.nan))


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert not has_embedding()
    with pytest.raises(InvalidRequest, match=r"scikit-learn.*unetr-app\[explain\]"):
        embed(clouds(5, 3))
