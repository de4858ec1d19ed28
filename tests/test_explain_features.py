from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.explain_encoders import Means
from unetr_app.errors import Cancelled, InvalidRequest
from unetr_app.explain import Explainer, Features, case_features
from unetr_app.explain.explainer import plain_preparation
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation, Volume

SHAPE = (12, 8, 10)
GRID = Geometry(SHAPE, np.diag([1.0, 2.0, 1.5, 1.0]))
LABELS = LabelSet.from_names({1: "one", 5: "five"})


def label_map() -> np.ndarray:
    """Blocks of whole cells of 2 x 2 x 2 voxels: 12 of label 1, 2 of label 5."""
    values = np.zeros(SHAPE, dtype=np.uint8)
    values[2:6, 2:8, 0:4] = 1
    values[8:10, 0:4, 6:8] = 5
    return values


def case() -> tuple[Volume, Segmentation]:
    """Intensities that tell the label: 0, 10 and 50."""
    values = label_map()
    return (
        Volume(10.0 * values[None].astype(np.float32), GRID),
        Segmentation(values, GRID, LABELS),
    )


def explainer(roi: tuple[int, int, int], *strides: tuple[int, int, int]) -> Explainer:
    strides = strides or ((2, 2, 2),)
    return Explainer(
        "means", Means(*strides), roi, 1, plain_preparation, torch.device("cpu")
    )  # fmt: skip


def features(roi: tuple[int, int, int] = SHAPE, **options: object) -> Features:
    return case_features(explainer(roi), *case(), **options)[0]  # pyright: ignore


ROIS = [SHAPE, (4, 4, 4), (8, 6, 6), (16, 16, 14)]


@pytest.mark.parametrize("roi", ROIS)
def test_labels_belong_to_their_features(roi: tuple[int, int, int]):
    found = features(roi, count=10_000)
    np.testing.assert_array_equal(found.vectors[:, 0], 10 * found.labels)
    assert (found.labels == 1).sum() == 12
    assert (found.labels == 5).sum() == 2
    assert (found.labels == 0).sum() == 20  # of 106: hardly more background than labels


@pytest.mark.parametrize("roi", ROIS)
def test_means_are_those_of_the_whole_image(roi: tuple[int, int, int]):
    found = features(roi, points="labels")
    assert found.labels.tolist() == [0, 1, 5]
    np.testing.assert_allclose(found.vectors[:, 0], [0, 10, 50])
    found = features(roi, points="cases")
    assert found.labels.tolist() == [0]
    np.testing.assert_allclose(found.vectors[:, 0], [case()[0].data.mean()], rtol=1e-5)


def test_few_points_are_shared_out_among_the_labels():
    found = features(count=9)
    assert {v: int((found.labels == v).sum()) for v in (0, 1, 5)} == {0: 4, 1: 3, 5: 2}
    again = features(count=9)
    np.testing.assert_array_equal(found.vectors, again.vectors)


def test_another_seed_takes_other_points():
    volume = Volume(np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32), GRID)
    first, again, other = (
        case_features(explainer(SHAPE), volume, count=20, seed=seed)[0].vectors
        for seed in (0, 0, 1)
    )
    assert len(first) == 20
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_map_gives_features():
    fine, coarse = case_features(explainer((8, 8, 8), (2, 2, 2), (4, 4, 4)), *case(), count=10**6)
    assert len(fine.labels) == 34
    assert fine.vectors.shape[1] == coarse.vectors.shape[1] == 1
    assert 0 < len(coarse.labels) < len(fine.labels)


def test_label_maps_of_other_grids_are_taken_to_the_cells():
    volume, labels = case()
    turned = labels.reorient("SAL")
    found = case_features(explainer(SHAPE), volume, turned, count=10_000)[0]
    np.testing.assert_array_equal(found.vectors[:, 0], 10 * found.labels)


class Wrong(Means):
    """Maps of another shape than the strides promise."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


def test_strides_that_are_not_kept_are_an_error():
    broken = Explainer(
        "wrong", Wrong((2, 2, 2)), SHAPE, 1, plain_preparation, torch.device("cpu")
    )  # fmt: skip
    with pytest.raises(InvalidRequest, match="where its strides promise"):
        case_features(broken, case()[0])
    with pytest.raises(InvalidRequest, match="takes larger inputs"):
        case_features(explainer((8, 8, 8), (16, 16, 16)), case()[0])


def test_it_stops_when_asked():
    with pytest.raises(Cancelled):
        case_features(explainer(SHAPE), case()[0], should_stop=lambda: True)
