import io
import threading

import numpy as np
import pytest
from matplotlib.image import imread

from unetr_app import pictures
from unetr_app.errors import UnsafeGeometry, UnwritableOutput
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.pictures.legend import Entry
from unetr_app.planes import intensity_window, views
from unetr_app.volume import Segmentation, Volume

SHAPE = (40, 32, 18)  # R, A, S
GRID = Geometry(SHAPE, np.diag([1.5, 2.0, 3.0, 1.0]))
LABELS = LabelSet.from_names({1: "Anterior", 2: "Posterior"})
ORANGE = np.array(LABELS.labels[0].colour) / 255


def phantom(blob, codes="RAS", grid=GRID):
    """Bright where ``blob`` is, with the blob as label 1, stored in the axis order ``codes``."""
    data = np.zeros((1, *SHAPE), dtype=np.float32)
    data[0][blob] = 100.0
    label_map = (data[0] > 0).astype(np.uint8)
    volume, segmentation = Volume(data, grid), Segmentation(label_map, grid, LABELS)
    return volume.reorient(codes), segmentation.reorient(codes)


LEFT_FRONT_TOP = np.s_[2:10, 22:30, 12:17]


def pixels(png):
    return imread(io.BytesIO(png), format="png")[..., :3]


def panels(picture):
    """The three panels of a picture without heading, legend and notes."""
    third = picture.shape[1] // 3
    return [picture[30:-90, n * third : (n + 1) * third] for n in range(3)]


def near(picture, colour, within=0.12):
    return np.abs(picture - colour).max(axis=-1) < within


def centre(mask):
    """Row and column of a mask's centre, as fractions of the panel."""
    assert mask.any()
    return np.argwhere(mask).mean(axis=0) / mask.shape


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
def test_a_blob_on_the_patients_left_is_drawn_on_the_right(codes):
    picture = pixels(pictures.preview_picture(*phantom(LEFT_FRONT_TOP, codes)))
    axial, coronal, sagittal = panels(picture)
    for panel in (axial, coronal, sagittal):
        outline = centre(near(panel, ORANGE))
        inside = panel[tuple((outline * panel.shape[:2]).astype(int))]
        assert inside.min() > 0.9  # the blob is bright, and its outline goes round it
    row, column = centre(near(axial, ORANGE))
    assert column > 0.6
    assert row < 0.5  # front of the patient: up
    row, column = centre(near(coronal, ORANGE))
    assert column > 0.6
    assert row < 0.5  # head: up
    row, column = centre(near(sagittal, ORANGE))
    assert column < 0.4  # front of the patient: left


def figure_of(volume, segmentation, entries=()):
    return pictures._draw(views(volume, [segmentation]), intensity_window(volume), entries,
                          notice=RESEARCH_NOTICE)  # fmt: skip


def test_letters_stand_at_the_edges_that_they_name():
    volume, segmentation = phantom(LEFT_FRONT_TOP)
    entries = [Entry(label, "1 ml") for label in LABELS]
    for axes, letters in zip(
        figure_of(volume, segmentation, entries).axes, ("RLAP", "RLSI", "APSI"), strict=True
    ):
        at = {text.get_text(): text.get_position() for text in axes.texts}
        left, right, upper, lower = (at[letter] for letter in letters)
        assert left[0] < 0.1 < 0.9 < right[0]
        assert lower[1] < 0.1 < 0.9 < upper[1]  # fractions of the axes, from below


def test_proportions_are_true():
    volume, segmentation = phantom(LEFT_FRONT_TOP)
    figure = figure_of(volume, segmentation, [Entry(v, "") for v in LABELS])
    inches = figure.get_size_inches()
    for axes, view in zip(figure.axes, views(volume, [segmentation]), strict=True):
        width, height = axes.get_position().size * inches
        assert width / height == pytest.approx(view.size_mm[0] / view.size_mm[1])


def test_names_volumes_and_notice_are_written():
    volume, segmentation = phantom(np.s_[5:15, 5:15, 5:15])
    shown = [t.get_text() for t in texts(pictures, volume, segmentation)]
    assert "Anterior  9.00 ml" in shown
    assert RESEARCH_NOTICE in shown
    assert not any("Posterior" in words for words in shown)  # it has no voxels


def texts(module, volume, segmentation):
    """The words of a preview, caught on their way to the PNG."""
    caught = []
    real = module.png
    try:
        module.png = lambda figure: caught.extend(figure.texts) or real(figure)
        module.preview_picture(volume, segmentation)
    finally:
        module.png = real
    return caught


def test_many_long_and_foreign_names_are_drawn_without_a_warning():
    names = {
        n: f"$very$ long\nname of_an organ {n} \u809d\u81d3 \U0001f9e0" * 3 for n in range(1, 42)
    }
    label_map = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 42
    volume = Volume(label_map[None].astype(np.float32), GRID)
    segmentation = Segmentation(label_map, GRID, LabelSet.from_names(names))
    words = [t.get_text() for t in texts(pictures, volume, segmentation)]
    assert "and 18 more labels" in words
    assert all(len(w) < 200 and "\n" not in w for w in words)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 2), (90, 80, 2), (6, 5, 120)])
def test_odd_shapes_and_empty_segmentations_are_drawn(shape):
    grid = Geometry(shape, np.diag([0.5, 0.5, 4.0, 1.0]))
    volume = Volume(np.zeros((1, *shape)), grid)
    for value in (0, 1):
        label_map = np.full(shape, value, dtype=np.uint8)
        picture = pixels(pictures.preview_picture(volume, Segmentation(label_map, grid, LABELS)))
        assert picture.shape[1] == 1200
        assert 200 < picture.shape[0] < 600
        assert near(picture, ORANGE).any() == bool(value)


def test_a_label_at_the_edge_of_the_grid_has_a_closed_outline():
    volume, segmentation = phantom(np.s_[:, :, :])
    axial = panels(pixels(pictures.preview_picture(volume, segmentation)))[0]
    orange = near(axial, ORANGE, within=0.3)
    for axis in (0, 1):
        along = np.count_nonzero(orange, axis=axis)
        lines = np.flatnonzero(along > 0.5 * along.max())
        assert lines[-1] - lines[0] > 0.9 * np.count_nonzero(along)  # one at either end


def test_comparison_shows_both_with_and_without_the_volume():
    volume, prediction = phantom(np.s_[5:15, 8:22, 5:15])
    reference = phantom(np.s_[8:18, 8:22, 5:15])[1]
    for shown in (volume, None):
        axial = panels(pixels(pictures.comparison_picture(shown, prediction, reference)))[0]
        solid, dashed = near(axial, ORANGE), near(axial, np.ones(3), within=0.02)
        assert solid.any()
        assert dashed.any()
        if shown is None:  # the reference lies further to the patient's right: left in the picture
            assert centre(dashed)[1] < centre(solid)[1]


def test_comparison_of_grids_stored_in_another_order_is_the_same():
    _, prediction = phantom(np.s_[5:15, 8:22, 5:15])
    _, reference = phantom(np.s_[8:18, 8:22, 5:15])
    here = pictures.comparison_picture(None, prediction, reference)
    assert here == pictures.comparison_picture(None, prediction.reorient("PIR"), reference)


def test_another_grid_is_refused():
    volume, _ = phantom(LEFT_FRONT_TOP)
    moved = GRID.affine.copy()
    moved[0, 3] += 1
    _, elsewhere = phantom(LEFT_FRONT_TOP, grid=Geometry(SHAPE, moved))
    with pytest.raises(UnsafeGeometry, match="different grids"):
        pictures.preview_picture(volume, elsewhere)


def test_preview_is_written_whole_and_holds_nothing_but_the_picture(tmp_path):
    volume, segmentation = phantom(LEFT_FRONT_TOP)
    path = pictures.preview(volume, segmentation, tmp_path / "case" / "preview.png")
    assert path.read_bytes() == pictures.preview_picture(volume, segmentation)
    assert [p.name for p in path.parent.iterdir()] == ["preview.png"]
    assert b"tEXt" not in path.read_bytes()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    volume, segmentation = phantom(LEFT_FRONT_TOP)
    with pytest.raises(UnwritableOutput):
        pictures.preview(volume, segmentation, tmp_path / "file" / "preview.png")


def test_threads_draw_the_same_pictures():
    volume, segmentation = phantom(LEFT_FRONT_TOP)
    expected = pictures.preview_picture(volume, segmentation)
    drawn = []
    threads = [
        threading.Thread(
            target=lambda: drawn.append(pictures.preview_picture(volume, segmentation))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == [expected] * 3
