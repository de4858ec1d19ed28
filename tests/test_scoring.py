import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unetr_app.errors import Cancelled, InvalidRequest
from unetr_app.geometry import Geometry
from unetr_app.io import write_segmentation
from unetr_app.labels import LabelSet
from unetr_app.scoring import (
    Pair,
    Pairs,
    find_image,
    find_labels,
    find_pairs,
    parse_labels,
    score,
    write_report,
)
from unetr_app.volume import Segmentation

SHAPE = (14, 12, 9)
GRID = Geometry(SHAPE, np.array([[0, -1.2, 0, 40], [0.8, 0, 0, -3], [0, 0, 3, 90], [0, 0, 0, 1]]))
LABELS = LabelSet.from_names({1: "one", 2: "two"})


def save(path, start=(2, 2, 2), grid=GRID, value=1):
    """A block of one label, 6 x 5 x 4 voxels."""
    label_map = np.zeros(SHAPE, dtype=np.uint8)
    label_map[tuple(slice(s, s + n) for s, n in zip(start, (6, 5, 4), strict=True))] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_segmentation(Segmentation(label_map, grid, LABELS), path)


@pytest.fixture
def folders(tmp_path):
    """Results of three cases as `unetr segment` leaves them, and their references."""
    for n, start in (("a", (2, 2, 2)), ("b", (3, 2, 2)), ("c", (5, 4, 2))):
        save(tmp_path / "out" / n / "labels.nii.gz", start)
        save(tmp_path / "truth" / f"{n}.nii.gz")
    return tmp_path / "out", tmp_path / "truth"


def ids(pairs):
    return [pair.case_id for pair in pairs.matched]


def test_results_match_files_by_case_id(folders):
    pairs = find_pairs(*folders)
    assert ids(pairs) == ["a", "b", "c"]
    assert pairs.only_predicted == pairs.only_reference == ()


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha", ".seg.nrrd"])
def test_formats_of_prediction_and_reference_may_differ(tmp_path, ending):
    save(tmp_path / "p" / "case 1.nii.gz")
    save(tmp_path / "r" / f"case_1{ending}")
    assert ids(find_pairs(tmp_path / "p", tmp_path / "r")) == ["case_1"]


def test_cases_without_a_partner_are_listed(folders):
    out, truth = folders
    (truth / "b.nii.gz").rename(truth / "z.nii.gz")
    pairs = find_pairs(out, truth)
    assert (pairs.only_predicted, pairs.only_reference) == (("b",), ("z",))


def test_other_files_of_a_folder_are_passed_over(folders):
    out, truth = folders
    save(out / "image_beside_results.nii.gz")
    (out / "manifest.jsonl").write_text("")
    (truth / "dataset.json").write_text("{}")
    (truth / "._a.nii.gz").write_bytes(b"left by a Mac")
    pairs = find_pairs(out, truth)
    assert ids(pairs) == ["a", "b", "c"]
    assert pairs.only_predicted == pairs.only_reference == ()


def test_an_odd_name_of_a_folder_matches_that_of_a_file(tmp_path):
    save(tmp_path / "p" / "case 1" / "labels.nii.gz")
    save(tmp_path / "r" / "case 1.nii.gz")
    assert ids(find_pairs(tmp_path / "p", tmp_path / "r")) == ["case_1"]


def test_two_files_match_whatever_they_are_called(tmp_path):
    pairs = find_pairs(save(tmp_path / "new.nii"), save(tmp_path / "old.mha"))
    assert ids(pairs) == ["new"]
    pairs = find_pairs(save(tmp_path / "J_Doe" / "labels.nii.gz"), tmp_path / "old.mha")
    assert ids(pairs) == ["old"]  # the folder's name is nobody's business


@pytest.mark.parametrize(
    ("prediction", "reference", "words"),
    [
        ("nowhere", "truth", "nowhere: there is no such file"),
        ("out", "truth/a.nii.gz", "one of the two is a file"),
        ("out", "empty", "empty: the folder holds no label map"),
        ("out", ".", "Did you mean its folder truth"),
    ],
)
def test_what_cannot_be_matched_says_what_is_needed(folders, prediction, reference, words):
    root = folders[0].parent
    (root / "empty").mkdir()
    with pytest.raises(InvalidRequest, match=words):
        find_pairs(root / prediction, root / reference)


def test_two_files_of_one_case_are_refused(folders):
    save(folders[1] / "a.mha")
    with pytest.raises(InvalidRequest, match=r"the case a has two label maps, a\.mha and a\.nii"):
        find_pairs(*folders)


def test_labels_are_parsed_from_words():
    labels = parse_labels(" 2 = Posterior , 1=Anterior part")
    assert labels.values == (1, 2)
    assert labels.names == ("Anterior part", "Posterior")
    for bad in ("", "one", "1=", "=x", "x=1", "1=a,1=b", "1=a,2=a", "0=background"):
        with pytest.raises(InvalidRequest):
            parse_labels(bad)


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def row(case_id, bundle, **more):
    return json.dumps({"case_id": case_id, "status": "done", "bundle": {"name": bundle}, **more})


def installed(name):
    """The card of a bundle; there is one."""
    card = type("Card", (), {"labels": LabelSet.from_names({1: "from the bundle"})})
    return {"known": card}[name]


def test_names_come_from_bundle_then_measurements_then_data_set(folders, monkeypatch):
    out, truth = folders
    assert find_labels(find_pairs(*folders)).names == ()
    write(truth.parent / "dataset.json", {"labels": {"background": 0, "far": 1}})
    assert find_labels(find_pairs(*folders)).names == ("far",)
    write(truth / "dataset.json", {"labels": {"0": "background", "1": "near", "2": "by"}})
    assert find_labels(find_pairs(*folders)).names == ("near", "by")
    write(out / "a" / "measurements.json", {"labels": [{"value": 1, "name": "measured"}]})
    assert find_labels(find_pairs(*folders)).names == ("measured",)
    write(out / "manifest.jsonl", f"{row('b', 'known')}\n{row('a', 'gone')}\ntorn {{")
    monkeypatch.setattr("unetr_app.scoring.labels.read_card", installed)
    assert find_labels(find_pairs(*folders)).names == ("measured",)  # another case's bundle
    write(out / "manifest.jsonl", f"{row('a', 'known')}\n{row('b', 'gone')}\ntorn {{")
    assert find_labels(find_pairs(*folders)).names == ("from the bundle",)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"labels": 3}', '{"labels": {"0": [1, 2]}}'])
def test_a_broken_data_set_description_tells_no_names(folders, text):
    write(folders[1] / "dataset.json", text)
    assert find_labels(find_pairs(*folders)).names == ()


def test_a_manifest_near_files_that_segment_did_not_write_is_not_believed(tmp_path):
    save(tmp_path / "p" / "a.nii.gz")
    save(tmp_path / "r" / "a.nii.gz")
    write(tmp_path / "manifest.jsonl", row("p", "hippocampus", input="somewhere.nii.gz"))
    pairs = find_pairs(tmp_path / "p", tmp_path / "r")
    assert find_labels(pairs).names == ()
    assert find_image(pairs.matched[0]) is None


def test_images_are_found_by_id_or_by_the_manifest(folders, tmp_path):
    pair = find_pairs(*folders).matched[0]
    assert find_image(pair) is None
    image = save(tmp_path / "images" / "a.mha")
    assert find_image(pair, tmp_path / "images") == image
    manifest = folders[0] / "manifest.jsonl"
    write(manifest, row("a", "x", input=str(image)))
    assert find_image(pair) == image
    write(manifest, row("a", "x", input="moved.mha", input_from_manifest="../images/a.mha"))
    assert find_image(pair).resolve() == image.resolve()
    write(manifest, row("a", "x", input="", input_from_manifest=""))
    assert find_image(pair) is None


def test_every_pair_is_compared_and_named(folders):
    result = score(find_pairs(*folders), LabelSet.from_names({1: "block", 9: "never"}))
    assert [case.case_id for case in result.cases] == ["a", "b", "c"]
    assert [(r.value, r.name) for r in result.cases[0].labels] == [(1, "block"), (9, "never")]
    assert result.cases[0].labels[0].dice == 1.0
    assert result.cases[1].labels[0].dice == pytest.approx(5 / 6)
    assert result.is_complete
    assert [pair.case_id for pair in result.worst(2)] == ["c", "b"]


def test_what_fails_is_recorded_and_the_rest_go_on(folders):
    out, truth = folders
    (out / "a" / "labels.nii.gz").write_bytes(b"")
    moved = GRID.affine.copy()
    moved[0, 3] += 5
    save(truth / "b.nii.gz", grid=Geometry(SHAPE, moved))
    result = score(find_pairs(*folders), LABELS)
    assert [case.case_id for case in result.cases] == ["c"]
    assert [(f.case_id, f.code) for f in result.failures] == [
        ("a", "unreadable-input"), ("b", "unsafe-geometry"),
    ]  # fmt: skip
    assert not result.is_complete
    assert all(str(truth.parent) not in str(failure) for failure in result.failures)


def test_a_label_unknown_to_some_cases_is_absent_there(folders):
    save(folders[0] / "b" / "labels.nii.gz", value=2)
    result = score(find_pairs(*folders), LabelSet(()))
    assert [[(r.name, r.status) for r in case.labels] for case in result.cases] == [
        [("label_1", "compared"), ("label_2", "absent")],
        [("label_1", "missed"), ("label_2", "spurious")],
        [("label_1", "compared"), ("label_2", "absent")],
    ]


def test_an_image_of_whole_numbers_is_no_label_map(folders):
    image = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
    names = LabelSet.from_names({n: str(n) for n in range(1, image.size)})
    write_segmentation(Segmentation(image, GRID, names), folders[1] / "a.nii.gz")
    result = score(find_pairs(*folders), LABELS)
    assert [(f.case_id, f.code) for f in result.failures] == [("a", "unreadable-input")]
    assert "label map rather than an image" in str(result.failures[0])


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused_at_once(folders, tolerance):
    with pytest.raises(InvalidRequest, match="tolerance"):
        score(find_pairs(*folders), LABELS, tolerance_mm=tolerance)


def test_progress_is_told_and_stopping_is_asked(folders):
    told = []
    score(find_pairs(*folders), LABELS, progress=lambda done, of: told.append((done, of)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    with pytest.raises(Cancelled):
        score(find_pairs(*folders), LABELS, should_stop=lambda: True)


def test_report_names_no_folder(folders, tmp_path):
    result = score(find_pairs(*folders), LABELS)
    files = write_report(result, tmp_path / "report", LABELS, pictures=2)
    assert [path.name for path in files] == ["cases.csv", "summary.json", "report.html"]
    for path in files:
        assert str(tmp_path) not in path.read_text()
        assert "truth" not in path.read_text()
    page = files[2].read_text()
    assert page.count("<figure>") == 2
    told = json.loads(files[1].read_text())
    assert told["counts"] == {"compared": 3, "failed": 0, "predictions_without_reference": 0,
                              "references_without_prediction": 0}  # fmt: skip
    assert told["labels"][0]["metrics"]["dice"]["cases"] == 3
    assert "dice" in told["definitions"]


def test_pictures_lie_over_the_image_where_it_fits(folders, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "unetr_app.pictures.comparison_picture", lambda v, *_: shown.append(v) or b"png"
    )
    images = tmp_path / "images"
    save(images / "a.nii.gz")
    moved = GRID.affine.copy()
    moved[0, 3] += 5
    save(images / "b.nii.gz", grid=Geometry(SHAPE, moved))
    (images / "c.nii.gz").write_bytes(b"broken")
    result = score(find_pairs(*folders), LABELS)
    write_report(result, tmp_path / "report", LABELS, images=images)
    drawn = dict(zip((pair.case_id for pair in result.worst(3)), shown, strict=True))
    assert drawn["a"] is not None
    assert drawn["b"] is drawn["c"] is None


def test_a_score_without_cases_has_a_report(tmp_path):
    pairs = Pairs((Pair("a", Path("no.nii"), Path("no.nii")),), ("b",), ())
    result = score(pairs, LABELS)
    files = write_report(replace(result, cases=()), tmp_path, LABELS)
    assert json.loads(files[1].read_text())["all_labels"] is None
    assert "1 prediction without a reference" in files[2].read_text()
