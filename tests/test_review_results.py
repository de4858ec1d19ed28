from __future__ import annotations

import json

import numpy as np
import pytest

from data.phantom import oblique_geometry, phantom
from data.phantom_files import write_nifti
from tests.napari_out import IMAGE, add_case, write_image
from unetr_app.batch.inputs import input_hash
from unetr_app.cases import find_cases
from unetr_app.errors import UnreadableInput
from unetr_app.labels import Label, LabelSet
from unetr_app.review import results
from unetr_app.volume import Segmentation


@pytest.fixture(scope="module")
def made():
    return phantom(oblique_geometry((24, 28, 16)))


@pytest.fixture
def image(tmp_path, made):
    return write_image(tmp_path / "images" / IMAGE, made[0])


@pytest.fixture
def out(tmp_path, image, made):
    return add_case(tmp_path / "out", image, made, input_hash="right")


def set_row(out, **changes):
    row = json.loads((out / "manifest.jsonl").read_text().splitlines()[-1]) | changes
    (out / "manifest.jsonl").write_text(json.dumps(row) + "\n")


def test_a_result_is_image_and_labels_on_one_grid(out, made):
    result = results.read_result(out / "case_1")
    assert result.warnings == ()
    assert result.case_id == "case_1"
    assert result.segmentation.labels.names == ("Anterior", "Posterior")
    assert result.segmentation.geometry.is_close(result.volume.geometry)
    np.testing.assert_array_equal(result.volume.data, made[0].data)
    np.testing.assert_array_equal(result.segmentation.data, made[1].data)


def test_what_a_folder_is_takes_one_look_up(out, tmp_path):
    assert results.is_case_folder(out / "case_1")
    assert not results.is_case_folder(out)
    assert results.is_output_folder(out)
    assert not results.is_output_folder(tmp_path)


def test_an_image_that_is_gone_leaves_the_labels_with_a_reason(out, image):
    image.unlink()
    result = results.read_result(out / "case_1")
    assert result.volume is None
    assert len(result.segmentation.labels) == 2
    (warning,) = result.warnings
    assert "case_1" in warning
    assert "no longer where it was" in warning
    assert str(image.parent) not in warning


def test_an_image_on_another_grid_is_not_shown_under_the_labels(out, image, made):
    write_nifti(made[0].data[0][:-1], made[0].geometry.cropped((0, 0, 0), (23, 28, 16)), image)
    result = results.read_result(out / "case_1")
    assert result.volume is None
    assert "(23, 28, 16)" in result.warnings[0]
    assert "(24, 28, 16)" in result.warnings[0]


def test_an_image_of_the_same_shape_elsewhere_is_not_shown_either(out, image, made):
    write_nifti(made[0].data[0], made[0].geometry.cropped((1, 0, 0), (24, 28, 16)), image)
    assert results.read_result(out / "case_1").volume is None


def test_a_damaged_image_leaves_the_labels_with_a_reason(out, image):
    image.write_bytes(image.read_bytes()[:500])
    result = results.read_result(out / "case_1")
    assert result.volume is None
    assert "without their image" in result.warnings[0]


def test_a_changed_image_on_the_same_grid_is_shown_with_a_warning(out, image, made):
    write_nifti(made[0].data[0] + 1, made[0].geometry, image)
    result = results.read_result(out / "case_1")
    assert result.volume is not None
    assert "changed" in result.warnings[0]


def test_a_case_of_several_channel_files_is_shown_whole(tmp_path, made):
    volume, segmentation = made
    files = [
        write_nifti(volume.data[0] + n, volume.geometry, tmp_path / f"in/case_1_000{n}.nii.gz")
        for n in range(2)
    ]
    (case,) = find_cases(tmp_path / "in", channels=("T1", "FLAIR"))
    out = add_case(tmp_path / "out", files[0], (volume, segmentation))
    set_row(out, input_hash=input_hash(case))
    result = results.read_result(out / "case_1")
    assert result.warnings == ()
    assert result.volume is not None
    assert len(result.volume.data) == 2


@pytest.mark.parametrize(
    ("reference", "cwd"),
    [
        ({"input": "images/case_1.nii.gz"}, "elsewhere"),  # typed in the folder that holds OUT
        ({"input": "../images/case_1.nii.gz"}, "elsewhere"),  # typed in OUT
        ({"input": "case_1.nii.gz"}, "images"),  # typed here
        ({"input": "gone.nii.gz", "input_from_manifest": "../images/case_1.nii.gz"}, "elsewhere"),
        ({"input": "images"}, "elsewhere"),  # a folder with this case alone
    ],
)
def test_a_relative_input_is_found(out, tmp_path, monkeypatch, reference, cwd):
    set_row(out, **({"input_from_manifest": ""} | reference))
    (tmp_path / cwd).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / cwd)
    assert results.read_result(out / "case_1").volume is not None


def test_a_case_folder_may_be_named_relatively(out, monkeypatch):
    monkeypatch.chdir(out)
    assert results.read_result(type(out)("case_1")).case_id == "case_1"


def test_the_newest_row_of_a_case_counts(out):
    good = (out / "manifest.jsonl").read_text()
    bad = good.replace("case_1.nii.gz", "gone.nii.gz")
    (out / "manifest.jsonl").write_text(bad + good)
    assert results.read_result(out / "case_1").volume is not None
    (out / "manifest.jsonl").write_text(good + bad)
    assert results.read_result(out / "case_1").volume is None


@pytest.mark.parametrize(
    "torn", ['{"case_id": "case_1", "inp', "[1, 2]", "null", "\x00", '{"a": 1}']
)
def test_a_torn_row_spoils_no_other(out, torn):
    whole = (out / "manifest.jsonl").read_text()
    (out / "manifest.jsonl").write_text(whole + torn)
    assert results.read_result(out / "case_1").volume is not None


def test_without_a_manifest_the_labels_are_shown_alone(out):
    (out / "manifest.jsonl").unlink()
    result = results.read_result(out / "case_1")
    assert result.volume is None
    assert "does not say" in result.warnings[0]


def test_a_row_with_nothing_but_the_documented_fields_will_do(out, image):
    row = {"case_id": "case_1", "status": "done", "input": str(image), "outputs": []}
    (out / "manifest.jsonl").write_text(json.dumps(row))
    assert results.read_result(out / "case_1").volume is not None


def test_results_that_a_later_run_failed_to_renew_are_told_of(out):
    set_row(out, status="failed")
    result = results.read_result(out / "case_1")
    assert result.volume is not None
    assert "last run failed" in result.warnings[0]


def test_a_case_may_be_called_labels(out, image, made):
    add_case(out, image, made, case_id="labels")
    assert results.read_result(out / "labels").segmentation.labels.names == made[1].labels.names
    mask = results.read_labels(out / "labels" / "labels" / "posterior.nii.gz")
    assert mask.labels.names == ("posterior",)


def test_colours_survive_the_way_through_the_files(tmp_path, image, made):
    volume, truth = made
    coloured = LabelSet((Label(1, "Anterior", (1, 2, 3)), Label(2, "Posterior", (9, 8, 7))))
    made = (volume, Segmentation(truth.data, truth.geometry, coloured))
    out = add_case(tmp_path / "out", image, made)
    assert results.read_result(out / "case_1").segmentation.labels == coloured


def test_colours_and_names_come_from_the_measurements(out):
    rows = [{"value": 1, "name": "Front", "colour": [1, 2, 3]}, {"value": 9, "name": "Unseen"}]
    (out / "case_1" / "measurements.json").write_text(json.dumps({"labels": rows}))
    labels = results.read_labels(out / "case_1" / "labels.nii.gz").labels
    assert labels.names == ("Front", "label_2", "Unseen")
    assert labels.find(1).colour == (1, 2, 3)
    assert labels.find(2).colour != (0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"labels": 3}', '{"labels": ["x", null, {"value": 0}]}',
        '{"labels": [{"value": 0, "name": "air"}]}',
        '{"labels": [{"value": 1, "name": "a"}, {"value": 2, "name": "a"}]}',
        '{"labels": [{"value": 1, "name": "a", "colour": "red"}]}',
    ],
)  # fmt: skip
def test_labels_without_readable_measurements_have_plain_names(out, text):
    (out / "case_1" / "measurements.json").write_text(text)
    labels = results.read_labels(out / "case_1" / "labels.nii.gz").labels
    assert labels.names == ("label_1", "label_2")


def test_damaged_labels_are_an_error(out):
    path = out / "case_1" / "labels.nii.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UnreadableInput):
        results.read_result(out / "case_1")
