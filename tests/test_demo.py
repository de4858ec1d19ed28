"""The demonstration cuts both hippocampi out of the template where they lie, and measures them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unetr_app import demo
from unetr_app.bundle import find_bundle, read_card
from unetr_app.errors import InvalidRequest
from unetr_app.io import read_volume

pytest.importorskip("nilearn", reason="the demo extra is not installed")


@pytest.fixture(scope="module")
def crops():
    head = read_volume(demo.template_path())
    return head, {side: demo.crop_side(head, side) for side in demo.SIDES_MM}


def test_a_crop_is_the_head_itself_at_the_same_place(crops):
    head, sides = crops
    for side, crop in sides.items():
        low, high = crop.geometry.index_to_world([(0, 0, 0), np.asarray(crop.geometry.shape) - 1])
        assert (low < demo.SIDES_MM[side]).all()
        assert (high > demo.SIDES_MM[side]).all()
        at = np.rint(head.geometry.world_to_index(low)).astype(int)
        block = tuple(slice(a, a + n) for a, n in zip(at, crop.geometry.shape, strict=True))
        assert np.array_equal(head.data[(0, *block)], crop.data[0])
        assert crop.geometry.orientation == "RAS"
        assert crop.geometry.spacing == (1.0, 1.0, 1.0)


def test_left_is_left_and_the_sides_are_mirror_images(crops):
    _, sides = crops
    x = {side: crop.geometry.index_to_world((0, 0, 0))[0] for side, crop in sides.items()}
    assert x["left"] < x["right"]
    assert demo.SIDES_MM["left"][0] < 0 < demo.SIDES_MM["right"][0]
    # the template is symmetric about x = 0
    assert np.array_equal(sides["left"].data, sides["right"].data[:, ::-1])


def test_a_head_stored_in_other_axis_order_gives_the_same_crop(crops):
    head, sides = crops
    other = demo.crop_side(head.reorient("PIL"), "right")
    assert np.array_equal(other.data, sides["right"].data)
    assert other.geometry == sides["right"].geometry


def test_crops_resemble_the_training_crops(crops, shared):
    """Same contrast: the demonstration shows the network what it was trained on."""
    folder = shared / "data" / "Task04_Hippocampus"
    rows = json.loads((folder / "dataset.json").read_text())["training"][:20]
    darker = []
    for row in rows:
        volume = read_volume(folder / row["image"]).data[0]
        darker.append(np.subtract(*np.percentile(volume, [50, 10])) / volume.std())
    template = crops[1]["left"].data[0]
    here = np.subtract(*np.percentile(template, [50, 10])) / template.std()
    assert min(darker) * 0.8 < here < max(darker) * 1.2


def test_inputs_are_written_whole_and_where_they_lie(crops, tmp_path):
    for side, path in demo.write_inputs(tmp_path / "input").items():
        assert path.name == f"mni152_{side}_hippocampus.nii.gz"
        back = read_volume(path)
        assert np.array_equal(back.data, crops[1][side].data)
        assert back.geometry == crops[1][side].geometry
    assert len(list((tmp_path / "input").iterdir())) == 2


def test_without_nilearn_the_cure_is_named(monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(InvalidRequest, match="pip install nilearn"):
        demo.template_path()


@pytest.mark.weights
def test_both_sides_have_a_plausible_volume(tmp_path):
    if read_card(find_bundle(demo.DEMO_BUNDLE)).weights is None:
        pytest.skip("the bundle has no weights here")
    left, right = demo.run_demo(tmp_path, device="cpu")
    assert (left.side, right.side) == ("left", "right")
    for row in (left, right):
        assert 2.0 < row.volume_ml < 5.0, row
        assert row.picture.is_file()
        assert row.outcome.status == "done"
        assert min(row.label_ml.values()) > 0.5
    assert left.volume_ml == pytest.approx(right.volume_ml, rel=0.25)
