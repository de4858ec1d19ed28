"""What is kept of logits on the native grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from unetr_app.inference.homecoming import Piece
from unetr_app.inference.reductions import (
    EntropyFile,
    LabelMap,
    Masks,
    ProbabilityFile,
    entropy,
    probabilities,
)

SHAPE = (4, 5, 6)
BOX = (slice(1, 4), slice(0, 2), slice(2, 6))


def _piece(channels: int = 3, seed: int = 0) -> tuple[Piece, Tensor]:
    """A box with its axes turned, and its logits in the native order (L, 3, 2, 4)."""
    native = 3 * torch.randn(channels, 3, 2, 4, generator=torch.Generator().manual_seed(seed))
    return Piece(BOX, native.permute(0, 3, 1, 2).contiguous(), (1, 2, 0)), native


def _outside(array: np.ndarray) -> np.ndarray:
    inside = np.zeros(SHAPE, dtype=bool)
    inside[BOX] = True
    return array[~inside]


@pytest.mark.parametrize("channels", [2, 3, 300])
def test_the_largest_logit_wins(channels: int) -> None:
    piece, native = _piece(channels)
    labels = LabelMap(SHAPE)
    labels.add(piece)
    np.testing.assert_array_equal(labels.array[BOX], native.argmax(dim=0).numpy())
    assert labels.array.dtype == (np.uint16 if channels > 256 else np.uint8)
    assert not _outside(labels.array).any()


def test_the_first_of_equal_ones_wins() -> None:
    labels = LabelMap((1, 1, 2))
    labels.add(Piece((slice(0, 1), slice(0, 1), slice(0, 2)), torch.ones(3, 1, 1, 2), (0, 1, 2)))
    assert not labels.array.any()


@pytest.mark.parametrize("threshold", [0.0, 1.2])
def test_masks_may_overlap(threshold: float) -> None:
    piece, native = _piece()
    masks = Masks(SHAPE, threshold)
    masks.add(piece)
    np.testing.assert_array_equal(masks.array[(slice(None), *BOX)], (native > threshold).numpy())
    assert not any(_outside(mask).any() for mask in masks.array)


@pytest.mark.parametrize("exclusive", [True, False])
def test_probabilities_in_255ths(exclusive: bool, tmp_path: Path) -> None:
    piece, native = _piece()
    path = tmp_path / "probabilities.npy"
    kept = ProbabilityFile(path, SHAPE, exclusive=exclusive)
    kept.add(piece)
    stored = np.load(path)
    wanted = probabilities(native, exclusive=exclusive).numpy()
    assert stored.shape == (*SHAPE, 3)
    found = np.moveaxis(stored[BOX], -1, 0) / 255
    assert np.abs(found - wanted).max() <= 0.5 / 255 + 1e-6
    assert (_outside(stored[..., 0]) == (255 if exclusive else 0)).all()
    assert not _outside(stored[..., 1]).any()


def test_entropy_is_0_where_one_channel_has_all_and_1_where_all_are_equal() -> None:
    for exclusive, equal in ((True, 7.0), (False, 0.0)):
        shares = probabilities(torch.full((4, 1), equal), exclusive=exclusive)
        assert float(entropy(shares, exclusive=exclusive)) == pytest.approx(1)
        sure = probabilities(torch.tensor([[80.0], [-80.0], [-80.0]]), exclusive=exclusive)
        assert float(entropy(sure, exclusive=exclusive)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", [ProbabilityFile, EntropyFile])
def test_probabilities_that_went_home_as_such_are_taken_as_they_are(
    kind: type[ProbabilityFile], tmp_path: Path
) -> None:
    piece, _ = _piece()
    as_logits = kind(tmp_path / "a.npy", SHAPE)
    as_logits.add(piece)
    shares = probabilities(piece.logits, exclusive=True)
    as_shares = kind(tmp_path / "b.npy", SHAPE, activated=True)
    as_shares.add(Piece(piece.index, shares, piece.axes))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


def test_entropy_is_the_sum_that_its_name_means(tmp_path: Path) -> None:
    piece, native = _piece()
    kept = EntropyFile(tmp_path / "uncertainty.npy", SHAPE)
    kept.add(piece)
    chances = native.softmax(dim=0).double()
    wanted = -(chances * chances.log2()).sum(dim=0) / np.log2(3)
    stored = np.load(tmp_path / "uncertainty.npy")
    np.testing.assert_allclose(stored[BOX], wanted.numpy(), atol=1e-5)
    assert not _outside(stored).any()


def test_single_voxels_go_where_they_belong() -> None:
    labels = LabelMap(SHAPE)
    at = (np.array([0, 3]), np.array([4, 1]), np.array([5, 0]))
    labels.add(Piece(at, torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])))
    assert labels.array[0, 4, 5] == 1
    assert labels.array[3, 1, 0] == 2
    assert labels.array.sum() == 3
