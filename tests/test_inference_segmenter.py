from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers.inferer import SlidingWindowInferer
from monai.transforms.compose import Compose
from monai.transforms.spatial.dictionary import Orientationd, Spacingd
from torch import Tensor, nn

from data import phantom
from tests.strategies import ALL_ORIENTATIONS
from unetr_app.bundle import Bundle, read_card
from unetr_app.errors import Cancelled, DeviceMemory, InvalidRequest, UnusableBundle
from unetr_app.geometry import Geometry
from unetr_app.inference import FlipInferer, RestoreLabelsd, Segmenter
from unetr_app.volume import Volume

THRESHOLD = 40.0
METADATA: dict[str, Any] = {
    "version": "1.2.3",
    "description": "Bright things.",
    "network_data_format": {
        "inputs": {"image": {"modality": "MR", "channel_def": {"0": "T1"}}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "bright"}}},
    },
}


class _Threshold(nn.Module):
    """Bright voxels are label 1: the right answer is known without training."""

    def __init__(self, act: Callable[[], None] = lambda: None):
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        self.act()
        return torch.cat([THRESHOLD - x[:, :1], x[:, :1] - THRESHOLD], dim=1)


def _segmenter(folder: Path, network: nn.Module | None = None, **parts: Any) -> Segmenter:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA))
    bundle = Bundle(
        card=read_card(folder),
        network=network or _Threshold(),
        preprocessing=Compose(
            [
                Orientationd(keys="image", axcodes="RAS", labels=None),
                Spacingd(keys="image", pixdim=(1.0, 1.0, 1.0), mode="bilinear"),
            ]
        ),
        inferer=FlipInferer(roi_size=(16, 16, 16), overlap=0.5, flip_axes=[0]),
        postprocessing=Compose([RestoreLabelsd()]),
        device=torch.device("cpu"),
    )
    return Segmenter(replace(bundle, **parts))


def _bright(geometry: Geometry) -> Volume:
    """A brick off the middle in every direction, its faces between voxel centres in mm."""
    index = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)
    away = geometry.index_to_world(index) - geometry.index_to_world(np.array(geometry.shape) / 2)
    inside = np.all((away > (-7.2, -3.3, -5.1)) & (away < (4.4, 8.6, 6.7)), axis=-1)
    return Volume(np.where(inside, 100.0, 0.0)[None].astype(np.float32), geometry)


@pytest.mark.parametrize("codes", ALL_ORIENTATIONS[::5])
def test_any_orientation_gives_the_same_labels_in_the_same_place(
    codes: str, tmp_path: Path
) -> None:
    upright = _bright(Geometry((26, 30, 22), np.eye(4)))
    segmenter = _segmenter(tmp_path / "bundle")
    found = segmenter.segment(upright.reorient(codes))
    assert found.geometry == upright.reorient(codes).geometry
    np.testing.assert_array_equal(found.reorient("RAS").label_map, upright.data[0] > THRESHOLD)


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry((12, 11, 13), np.eye(4)),  # smaller than the roi
        Geometry((33, 29, 41), np.diag([0.8, 0.9, 0.7, 1.0])),
        phantom.oblique_geometry((24, 26, 14), spacing=(0.9, 1.1, 2.2)),
        Geometry((24, 26, 20), np.diag([-1.0, 1.0, 1.3, 1.0])),
    ],
)
def test_labels_lie_exactly_on_the_images_grid(geometry: Geometry, tmp_path: Path) -> None:
    volume = _bright(geometry)
    found = _segmenter(tmp_path / "bundle").segment(volume)
    assert found.geometry is volume.geometry
    assert found.label_map.dtype == np.uint8
    truth = volume.data[0] > THRESHOLD
    overlap = 2 * (found.mask(1) & truth).sum() / (found.mask(1).sum() + truth.sum())
    assert overlap > 0.9


def test_progress_ends_at_the_number_of_windows_that_was_promised(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    volume = _bright(Geometry((26, 30, 22), np.eye(4)))
    _segmenter(tmp_path / "bundle").segment(volume, progress=lambda *done: told.append(done))
    assert told[-1][0] == told[-1][1] == len(told) > 2
    assert [done for done, _ in told] == list(range(1, len(told) + 1))


def test_it_can_be_stopped_between_windows(tmp_path: Path) -> None:
    calls: list[int] = []
    segmenter = _segmenter(tmp_path / "bundle", _Threshold(lambda: calls.append(1)))
    volume = _bright(Geometry((26, 30, 22), np.eye(4)))
    with pytest.raises(Cancelled):
        segmenter.segment(volume, should_stop=lambda: len(calls) >= 2)
    assert len(calls) == 2


def test_the_result_says_where_it_came_from_and_nothing_of_the_image(tmp_path: Path) -> None:
    volume = replace(_bright(Geometry((16, 16, 16), np.eye(4))), source="/secret/name.nii.gz")
    found = _segmenter(tmp_path / "bundle").segment(volume)
    assert found.provenance["bundle"] == "bundle"
    assert found.provenance["bundle_version"] == "1.2.3"
    assert "secret" not in str(found.provenance)
    assert found.labels.names == ("bright",)


def test_the_image_is_left_as_it_was(tmp_path: Path) -> None:
    volume = _bright(Geometry((16, 16, 16), np.eye(4)))
    before = volume.data.copy()
    segmenter = _segmenter(tmp_path / "bundle")
    first, second = segmenter.segment(volume), segmenter.segment(volume)
    np.testing.assert_array_equal(volume.data, before)
    np.testing.assert_array_equal(first.data, second.data)


def test_an_image_with_other_channels_is_refused(tmp_path: Path) -> None:
    grid = Geometry((16, 16, 16), np.eye(4))
    with pytest.raises(InvalidRequest, match=r"2 channels; bundle takes 1 \(T1\)"):
        _segmenter(tmp_path / "bundle").segment(Volume(np.zeros((2, 16, 16, 16)), grid))


def _raiser(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    ],
)
def test_too_little_memory_has_an_error_of_its_own(error: Exception, tmp_path: Path) -> None:
    segmenter = _segmenter(tmp_path / "bundle", _Threshold(_raiser(error)))
    with pytest.raises(DeviceMemory, match="ran out of memory"):
        segmenter.segment(_bright(Geometry((16, 16, 16), np.eye(4))))


class _OwnInferer(SlidingWindowInferer):
    """Known to nobody, so it runs as it is."""


class _AtMost(nn.Module):
    """Has memory for so many windows at a time."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.cat([THRESHOLD - x[:, :1], x[:, :1] - THRESHOLD], dim=1)


def test_without_memory_for_a_batch_windows_come_one_by_one(tmp_path: Path) -> None:
    inferer = _OwnInferer(roi_size=(16, 16, 16), sw_batch_size=4)
    volume = _bright(Geometry((26, 30, 22), np.eye(4)))
    found = _segmenter(tmp_path / "bundle", _AtMost(1), inferer=inferer).segment(volume)
    np.testing.assert_array_equal(found.label_map, volume.data[0] > THRESHOLD)
    assert inferer.sw_batch_size == 4  # the bundle's own is left as it was
    with pytest.raises(DeviceMemory):
        _segmenter(tmp_path / "none", _AtMost(0), inferer=inferer).segment(volume)


def test_what_a_bundle_raises_is_told_in_one_line(tmp_path: Path) -> None:
    segmenter = _segmenter(tmp_path / "bundle", _Threshold(_raiser(ValueError("a\nof odd size"))))
    with pytest.raises(UnusableBundle, match=r"\(16, 16, 16\): ValueError: of odd size"):
        segmenter.segment(_bright(Geometry((16, 16, 16), np.eye(4))))


class _NaN(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x), 2, *x.shape[2:]), torch.nan)


def test_logits_that_are_not_finite_are_no_empty_segmentation(tmp_path: Path) -> None:
    with pytest.raises(UnusableBundle, match="not finite"):
        _segmenter(tmp_path / "bundle", _NaN()).segment(_bright(Geometry((16, 16, 16), np.eye(4))))
