from __future__ import annotations

import logging
import os
import shutil
import time

import numpy as np
import pytest

from data.phantom import oblique_geometry, phantom
from data.phantom_files import write_dicom_series
from tests.napari_out import IMAGE, add_case, require_napari, use_plain_settings, write_image
from unetr_app.errors import UnreadableInput
from unetr_app.geometry import Geometry
from unetr_app.io.formats import IMAGE_ENDINGS
from unetr_app.volume import Segmentation, Volume

require_napari()

import npe2  # noqa: E402 - comes with napari
from napari.components import ViewerModel  # noqa: E402
from napari.utils.notifications import Notification, notification_manager  # noqa: E402

from unetr_app.napari import images, layers, readers  # noqa: E402
from unetr_app.review import display  # noqa: E402

PLUGIN = "unetr-app"


@pytest.fixture(scope="module", autouse=True)
def discovered():
    manager = npe2.PluginManager.instance()
    manager.discover()
    assert PLUGIN in manager
    return manager


@pytest.fixture(autouse=True)
def plain_settings(monkeypatch):
    use_plain_settings(monkeypatch)


@pytest.fixture(scope="module")
def made():
    return phantom(oblique_geometry((24, 28, 16)))


@pytest.fixture
def out(tmp_path, made):
    image = write_image(tmp_path / "images" / IMAGE, made[0])
    return add_case(tmp_path / "out", image, made)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def said():
    """Messages that napari would show, each ``(severity, message)``."""
    heard: list[Notification] = []
    notification_manager.notification_ready.connect(heard.append)
    yield heard
    notification_manager.notification_ready.disconnect(heard.append)


def words(said):
    return [(str(one.severity), one.message) for one in said]


def test_the_manifest_is_valid(discovered):
    manifest = discovered.get_manifest(PLUGIN)
    manifest.validate_imports()
    assert manifest.display_name == "UNETR"
    (reader,) = manifest.contributions.readers
    assert reader.accepts_directories
    assert set(reader.filename_patterns) == {f"*{ending}" for ending in IMAGE_ENDINGS}


def test_a_case_folder_opens_as_image_and_labels_in_register(viewer, out, made, said):
    image, labels = viewer.open(out / "case_1", plugin=PLUGIN)
    assert (image.name, labels.name) == ("case_1", "case_1 labels")
    np.testing.assert_allclose(image.extent.world, labels.extent.world, atol=1e-3)
    np.testing.assert_array_equal(layers.to_volume(image).data, made[0].data)
    back = layers.to_segmentation(labels)
    np.testing.assert_array_equal(back.data, made[1].data)
    assert back.geometry.is_close(made[1].geometry)
    assert list(labels.features["label"]) == ["background", "Anterior", "Posterior"]
    assert words(said) == []
    world = display.display_axes(back.geometry) @ np.asarray(labels.data_to_world((0, 0, 0)))
    corner = made[1].geometry.reoriented("IPL").origin
    np.testing.assert_allclose(world, corner, atol=1e-3)


def test_an_output_folder_opens_its_first_finished_case(viewer, out, made, tmp_path, said):
    add_case(out, tmp_path / "images" / IMAGE, made, case_id="case_2")
    assert [one.name for one in viewer.open(out, plugin=PLUGIN)] == ["case_1", "case_1 labels"]
    ((severity, message),) = words(said)
    assert severity == "info"
    assert "2 finished cases" in message


def test_an_output_folder_without_a_finished_case_says_so(viewer, out, said):
    shutil.rmtree(out / "case_1")
    assert viewer.open(out, plugin=PLUGIN) == []
    ((severity, message),) = words(said)
    assert severity == "error"
    assert "none of the 1 cases" in message


def test_labels_without_their_image_are_shown_with_a_warning(viewer, out, tmp_path, said):
    (tmp_path / "images" / IMAGE).unlink()
    (labels,) = viewer.open(out / "case_1", plugin=PLUGIN)
    assert labels.name == "case_1 labels"
    ((severity, message),) = words(said)
    assert severity == "warning"
    assert "without their image" in message


def test_a_label_file_of_a_case_opens_as_labels(viewer, out):
    (labels,) = viewer.open(out / "case_1" / "labels.nii.gz", plugin=PLUGIN)
    assert list(labels.features["label"]) == ["background", "Anterior", "Posterior"]
    (mask,) = viewer.open(out / "case_1" / "labels" / "posterior.nii.gz", plugin=PLUGIN)
    assert list(mask.features["label"]) == ["background", "posterior"]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".NII.GZ"])
def test_image_files_open(viewer, tmp_path, made, ending, said):
    path = tmp_path / f"brain.scan{ending}"
    if ".nii" in ending.lower():
        write_image(tmp_path / f"x{ending.lower()}", made[0]).rename(path)
    else:
        _write_itk(made[0], path)
    (image,) = viewer.open(path, plugin=PLUGIN)
    assert image.name == "brain.scan"
    back = layers.to_volume(image)
    assert back.geometry.is_close(made[0].geometry)
    np.testing.assert_array_equal(back.data, made[0].data)
    ((severity, message),) = words(said)
    assert severity == "info"
    assert f"{display.tilt_deg(made[0].geometry):.1f} degrees" in message
    assert "along its own axes" in message


def _write_itk(volume, path):
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.data[0].T)  # (k, j, i), as ITK has it
    affine = volume.geometry.affine_lps
    image.SetSpacing(volume.geometry.spacing)
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / volume.geometry.spacing).ravel().tolist())
    sitk.WriteImage(image, str(path))


@pytest.fixture
def series(tmp_path, made):
    write_dicom_series(made[0], tmp_path / "study" / "a", seed=1, shuffle=True)
    return tmp_path / "study" / "a"


def test_a_dicom_folder_opens(viewer, series, made):
    (image,) = viewer.open(series, plugin=PLUGIN)
    back = layers.to_volume(image)
    assert back.geometry.is_close(made[0].geometry)
    np.testing.assert_array_equal(back.data, made[0].data)
    assert "Phantom" not in image.name


def test_a_dicom_folder_without_endings_opens(viewer, tmp_path, made):
    write_dicom_series(made[0], tmp_path / "a", suffix="")
    assert len(viewer.open(tmp_path / "a", plugin=PLUGIN)) == 1


def test_one_file_of_a_series_opens_the_whole_series_and_no_other(viewer, series, made):
    other, _ = phantom(Geometry((12, 14, 10), np.diag([1.0, 1.0, 2.0, 1.0])), seed=3)
    for path in write_dicom_series(other, series.parent / "b", seed=2):
        shutil.move(path, series / f"other_{path.name}")
    (image,) = viewer.open(series / "IM0003.dcm", plugin=PLUGIN)
    np.testing.assert_array_equal(layers.to_volume(image).data, made[0].data)
    (image,) = viewer.open(series / "other_IM0003.dcm", plugin=PLUGIN)
    np.testing.assert_array_equal(layers.to_volume(image).data, other.data)


def test_a_folder_of_several_series_shows_the_first_and_tells_of_the_broken(
    viewer, series, made, said
):
    write_dicom_series(made[0], series.parent / "b", seed=2)
    for path in write_dicom_series(made[0], series.parent / "c", seed=3)[5:7]:
        path.unlink()  # a gap
    opened = viewer.open(series.parent, plugin=PLUGIN)
    assert [layer.visible for layer in opened] == [True, False]
    errors = [message for severity, message in words(said) if severity == "error"]
    assert len(errors) == 1


def test_images_at_an_angle_to_each_other_are_told_of_once(viewer, series, made, said):
    write_dicom_series(made[0], series.parent / "b", seed=2)
    viewer.open(series.parent, plugin=PLUGIN)
    assert words(said) == []
    straight, _ = phantom(Geometry((12, 14, 10), np.diag([1.0, 1.0, 2.0, 1.0])), seed=3)
    write_dicom_series(straight, series.parent / "c", seed=3)
    viewer.open(series.parent, plugin=PLUGIN)
    ((severity, message),) = words(said)
    assert severity == "info"
    assert "degrees to the first" in message


def test_many_broken_series_are_not_told_of_one_by_one(viewer, series, made, said):
    for seed in range(5):
        for path in write_dicom_series(made[0], series.parent / str(seed), seed=seed + 9)[5:7]:
            path.unlink()
    assert len(viewer.open(series.parent, plugin=PLUGIN)) == 1
    assert [severity for severity, _ in words(said)] == ["error"] * 3 + ["warning"]
    assert "2 more could not be read" in said[-1].message


@pytest.mark.parametrize("limit", ["_MOST_BYTES", "_MOST_IMAGES"])
def test_a_folder_of_many_series_stops_in_time(viewer, series, made, said, monkeypatch, limit):
    write_dicom_series(made[0], series.parent / "b", seed=2)
    monkeypatch.setattr(images, limit, 1)
    assert len(viewer.open(series.parent, plugin=PLUGIN)) == 1
    assert any("1 of 2 images are not shown" in message for _, message in words(said))


def test_an_error_becomes_a_notification_without_a_traceback(viewer, tmp_path, said):
    (tmp_path / "damaged.nii.gz").write_bytes(b"no image")
    assert viewer.open(tmp_path / "damaged.nii.gz", plugin=PLUGIN) == []
    assert len(viewer.layers) == 0
    (one,) = said
    assert type(one) is Notification  # an ErrorNotification would offer its traceback
    assert str(one.severity) == "error"
    assert "damaged.nii.gz" in one.message
    assert str(tmp_path) not in one.message
    problem = _problem(tmp_path / "damaged.nii.gz")
    assert problem.cure
    assert problem.cure in one.message


@pytest.mark.parametrize("error", [MemoryError(), PermissionError(13, "Permission denied")])
def test_what_the_system_refuses_is_no_traceback(viewer, out, said, monkeypatch, error):
    def refuse(_):
        raise error

    monkeypatch.setattr(readers.results, "read_result", refuse)
    assert viewer.open(out / "case_1", plugin=PLUGIN) == []
    (one,) = said
    assert type(one) is Notification
    assert one.message.startswith("case_1: ")


def _problem(path):
    with pytest.raises(UnreadableInput) as caught:
        images.read_image_file(path)
    return caught.value


def test_without_a_window_an_error_is_logged(viewer, tmp_path, caplog):
    (tmp_path / "damaged.nii.gz").write_bytes(b"no image")
    with caplog.at_level(logging.ERROR):
        assert viewer.open(tmp_path / "damaged.nii.gz", plugin=PLUGIN) == []
    assert "damaged.nii.gz" in caplog.text
    assert "Traceback" not in caplog.text


def test_other_files_and_folders_are_not_ours(tmp_path):
    for name in ("picture.png", "table.csv", "volume.tif", "data.zarr/.zgroup", "code.py"):
        path = tmp_path / "others" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 200)
        assert readers.get_reader(str(path)) is None
    assert readers.get_reader(str(tmp_path / "others")) is None
    assert readers.get_reader(str(tmp_path / "others" / "data.zarr")) is None
    (tmp_path / "empty").mkdir()
    assert readers.get_reader(str(tmp_path / "empty")) is None
    assert readers.get_reader([str(tmp_path / "a.nii"), str(tmp_path / "b.nii")]) is None


def test_a_large_folder_that_is_not_ours_is_answered_without_a_walk(tmp_path, monkeypatch):
    for n in range(60):
        inside = tmp_path / f"day_{n:02d}" / "plate" / "well"
        inside.mkdir(parents=True)
        for m in range(8):
            (inside / f"{m}.tif").write_bytes(b"x" * 200)
    opened = []
    real = readers._is_dicom
    monkeypatch.setattr(readers, "_is_dicom", lambda path: opened.append(path) or real(path))
    begin = time.perf_counter()
    assert readers.get_reader(str(tmp_path)) is None
    assert time.perf_counter() - begin < 1.0
    assert len(opened) <= 200


def test_dicom_deep_in_a_study_is_found(tmp_path, series):
    (tmp_path / "top" / "visit").mkdir(parents=True)
    for n in range(3):
        (tmp_path / "top" / f"note_{n}.txt").write_text("x")
    series.rename(tmp_path / "top" / "visit" / "series")
    assert readers.get_reader(str(tmp_path / "top")) is not None


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every folder"
)
def test_a_folder_that_may_not_be_read_is_not_ours(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    assert readers.get_reader(str(tmp_path / "locked")) is None


def test_two_images_along_the_same_axes_lie_in_register(viewer, tmp_path, made):
    grid = made[0].geometry.cropped((3, 5, 2), (10, 12, 9))
    part = Volume(made[0].data[:, 3:13, 5:17, 2:11], grid)
    (whole,) = viewer.open(write_image(tmp_path / "whole.nii", made[0]), plugin=PLUGIN)
    (cut,) = viewer.open(write_image(tmp_path / "cut.nii", part), plugin=PLUGIN)
    at = (4, 6, 3)
    world = cut.data_to_world(at)
    viewer.dims.set_point(0, world[0])
    assert whole.get_value(world, world=True) == np.asarray(cut.data)[at]
    np.testing.assert_allclose(whole.world_to_data(world), (9, 17, 14), atol=1e-4)


def test_the_sample_opens(viewer):
    opened = viewer.open_sample(PLUGIN, "phantom")
    assert [type(layer).__name__ for layer in opened] == ["Image", "Labels"]
    back = layers.to_segmentation(opened[1])
    assert isinstance(back, Segmentation)
    left = back.geometry.index_to_world(np.argwhere(back.mask(2))).mean(axis=0)
    assert left[0] < 0


def test_preferring_the_plugin_opens_a_case_without_asking(viewer, out):
    from napari.settings import get_settings

    from unetr_app.napari.preferences import prefer

    get_settings().plugins.extension2reader = {"*.tif": "napari"}
    prefer()
    assert get_settings().plugins.extension2reader["*.tif"] == "napari"
    assert len(viewer.open(out / "case_1", plugin=None)) == 2
