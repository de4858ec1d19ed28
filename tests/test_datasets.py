"""Data sets: pairs found, labels that agree, folds by patient, files that training takes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.msd import open_msd, verify
from data.phantom import oblique_geometry, phantom, write_dicom_series
from data.phantom_files import write_nifti
from tests.io_files import content, edit_dicom
from tests.rtstruct_files import Roi, box, save_rtstruct
from unetr_app.datasets import DatasetOptions, Made, find_pairs, make_dataset
from unetr_app.datasets.file_pairs import is_label
from unetr_app.datasets.folds import deal
from unetr_app.datasets.label_names import agree_on, parse_labels, parse_synonyms
from unetr_app.errors import Cancelled, InvalidRequest
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry, read_label_map, read_volume
from unetr_app.io.dicom.rtstruct import write_rtstruct
from unetr_app.io.dicom.seg import write_seg
from unetr_app.labels import LabelSet
from unetr_app.training.dataset import read_msd
from unetr_app.volume import Segmentation

GRID = oblique_geometry((16, 18, 9), (2.9, 3.1, 5.5))
CANARY = "Canary"


def dicom_case(
    folder: Path, seed: int, *, patient: str = "", form: str = "rtstruct",
    names: tuple[str, str] = ("Anterior", "Posterior"), geometry: Geometry = GRID,
) -> tuple[Segmentation, list[Path]]:  # fmt: skip
    """A series and an object of labels that refers to it."""
    volume, truth = phantom(geometry, seed=seed, noise=1)
    tags = {"PatientID": patient or f"{CANARY}{seed}", "PatientName": f"{CANARY}^Name"}
    paths = write_dicom_series(volume, folder / "images", seed=seed, shuffle=True, tags=tags)
    labels = LabelSet.from_names(dict(enumerate(names, start=1)))
    made = Segmentation(truth.label_map, read_geometry(folder / "images"), labels)
    write = write_rtstruct if form == "rtstruct" else write_seg
    write(made, paths, folder / f"{form}.dcm")
    return made, paths


def file_case(folder: Path, name: str, seed: int, **paths: str) -> np.ndarray:
    """A NIfTI image and its label map."""
    volume, truth = phantom(GRID, seed=seed, noise=1)
    image = paths.get("image", f"imagesTr/{name}.nii.gz")
    label = paths.get("label", f"labelsTr/{name}.nii.gz")
    write_nifti(volume.data[0].astype(np.int16), GRID, folder / image)
    write_nifti(truth.label_map, GRID, folder / label)
    return truth.label_map


def made_of(folder: Path, out: Path, **options: Any) -> Made:
    return make_dataset(find_pairs([str(folder)], out=str(out)).pairs, out,
                        DatasetOptions(**options))  # fmt: skip


def test_dicom_becomes_a_set_that_training_takes(tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "set"
    truth = {}
    for n in range(4):
        form = "seg" if n % 2 else "rtstruct"
        truth[n], _ = dicom_case(tree / f"{n}", n, patient=f"P{n // 2}", form=form)
    result = made_of(tree, out, folds=2)
    assert not result.failures
    assert result.names.names == ("Anterior", "Posterior")
    items = read_msd(out, [0, 1])
    assert len(items) == 4
    assert not verify(open_msd(out))
    for n, case in truth.items():
        (image,) = [i for i in items if _same_grid(i["label"], case)]
        assert np.array_equal(read_label_map(image["label"]).label_map, case.label_map), n
        assert read_volume(image["image"]).geometry.is_close(case.geometry, 1e-4)
    table = json.loads((out / "dataset.json").read_text())
    assert table["labels"] == {"0": "background", "1": "Anterior", "2": "Posterior"}
    assert table["numTraining"] == 4
    assert table["modality"] == {"0": "MRI"}
    fold_of = {row["subject"]: set() for row in table["training"]}
    for row in table["training"]:
        fold_of[row["subject"]].add(row["fold"])
    assert len(fold_of) == 2
    assert all(len(folds) == 1 for folds in fold_of.values())


def _same_grid(label: str, case: Segmentation) -> bool:
    found = read_label_map(label)
    return np.array_equal(found.label_map, case.label_map)


def test_nothing_of_a_patient_is_in_the_set(tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "set"
    dicom_case(tree / "a", 0)
    file_case(tree, f"{CANARY}_Name", 3)
    options = DatasetOptions(labels="1=A,2=B", rename="Anterior=A,Posterior=B")
    result = make_dataset(find_pairs([str(tree)]).pairs, out, options)
    assert len(result.reports) == 2
    import gzip

    for name, data in content(out).items():
        plain = gzip.decompress(data) if name.endswith(".gz") else data
        held = name == "manifest.jsonl"  # the one file that says where cases came from
        assert held or CANARY.encode().lower() not in plain.lower(), name
        assert CANARY.lower() not in name.lower()


LAYOUTS = {
    "decathlon": ("imagesTr/a_0001.nii.gz", "labelsTr/a_0001.nii.gz"),
    "nnU-Net": ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"),
    "folders": ("images/a.nii.gz", "masks/a.nii"),
    "beside": ("a.nii.gz", "a_seg.nii.gz"),
    "both named": ("x/case7-image.nii.gz", "x/case7-label.nii.gz"),
    "whole names": ("7/t1.nii.gz", "7/mask.nii.gz"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_belong_together_by_their_names(name: str, tmp_path: Path) -> None:
    image, label = LAYOUTS[name]
    expected = file_case(tmp_path / "in", "", 1, image=image, label=label)
    assert is_label(str(tmp_path / "in" / label))
    assert not is_label(str(tmp_path / "in" / image))
    found = find_pairs([str(tmp_path / "in")])
    (pair,) = found.pairs
    assert found.unmatched == ()
    assert pair.image.input.endswith(image)
    assert pair.id.startswith("case-")
    make_dataset([pair], tmp_path / "out", DatasetOptions(folds=2))
    (item,) = read_msd(tmp_path / "out", range(5))
    assert np.array_equal(read_label_map(item["label"]).label_map, expected)


def test_a_list_names_images_labels_cases_and_subjects(tmp_path: Path) -> None:
    file_case(tmp_path, "", 1, image="one.nii.gz", label="drawn1.nii.gz")
    file_case(tmp_path, "", 2, image="two.nii.gz", label="drawn2.nii.gz")
    dicom_case(tmp_path / "d", 3, names=("label_1", "label_2"))
    (tmp_path / "cases.csv").write_text(
        "Case;image;label;subject\nfirst;one.nii.gz;drawn1.nii.gz;s\n"
        ";two.nii.gz;drawn2.nii.gz;s\n;d/images;d/rtstruct.dcm;\n;lost.nii.gz;drawn1.nii.gz;\n"
    )
    found = find_pairs([str(tmp_path / "cases.csv")])
    assert len(found.pairs) == 3
    assert "line 5" in str(found.unmatched[0].problem)
    assert "first" in {pair.id for pair in found.pairs}
    assert sorted(Counter(pair.subject for pair in found.pairs).values()) == [1, 2]
    made = make_dataset(found.pairs, tmp_path / "out", DatasetOptions(folds=2))
    assert not made.failures


def test_labels_whose_images_are_not_there_are_told_of(tmp_path: Path) -> None:
    dicom_case(tmp_path / "a", 0)
    dicom_case(tmp_path / "b", 1)
    for path in (tmp_path / "b" / "images").iterdir():
        path.unlink()
    file_case(tmp_path, "x", 1)
    (tmp_path / "imagesTr" / "x.nii.gz").unlink()
    found = find_pairs([str(tmp_path)])
    assert len(found.pairs) == 1
    assert len(found.unmatched) == 2
    words = " ".join(str(one.problem) for one in found.unmatched)
    assert "not among the inputs" in words
    assert "no image for this label map" in words


def test_a_series_is_found_by_its_images_where_its_uid_is_not_said(tmp_path: Path) -> None:
    dicom_case(tmp_path / "a", 0, form="seg")
    dicom_case(tmp_path / "b", 1, form="seg")
    edit_dicom(tmp_path / "a" / "seg.dcm", ReferencedSeriesSequence=None)
    found = find_pairs([str(tmp_path)])
    assert len(found.pairs) == 2
    assert not found.unmatched


def test_objects_that_each_hold_some_labels_are_one_case(tmp_path: Path) -> None:
    made, paths = dicom_case(tmp_path / "in", 0)
    (tmp_path / "in" / "rtstruct.dcm").unlink()
    for value, name in ((1, "first"), (2, "second")):
        mask = (made.label_map == value).astype(np.uint8)
        one = Segmentation(mask, made.geometry, LabelSet.from_names({1: name}))
        write_seg(one, paths, tmp_path / "in" / f"{name}.dcm")
    (pair,) = find_pairs([str(tmp_path / "in")]).pairs
    result = make_dataset([pair], tmp_path / "out", DatasetOptions(labels="first,second", folds=2))
    assert not result.failures
    (item,) = read_msd(tmp_path / "out", range(5))
    assert np.array_equal(read_label_map(item["label"]).label_map, made.label_map)


def test_a_case_with_other_names_fails_and_the_rest_goes_on(tmp_path: Path) -> None:
    for n in range(3):
        names = ("anterior", "POSTERIOR") if n == 1 else ("Anterior", "Posterior")
        dicom_case(tmp_path / f"in/{n}", n, names=names)
    dicom_case(tmp_path / "in/odd", 7, names=("Anterior", "Something"))
    result = made_of(tmp_path / "in", tmp_path / "out", folds=2)
    assert len(result.reports) == 3
    ((_, error),) = result.failures
    assert "no label Posterior; it has Anterior, Something" in str(error)
    assert "--rename" in str(error)
    assert "Something" in " ".join(result.warnings)
    assert len(read_msd(tmp_path / "out", [0, 1])) == 3
    again = made_of(tmp_path / "in", tmp_path / "out", folds=2, rename="something=Posterior")
    assert not again.failures
    assert len(read_msd(tmp_path / "out", [0, 1])) == 4


def test_regions_that_overlap_need_a_word(tmp_path: Path) -> None:
    _, paths = dicom_case(tmp_path / "in", 0)
    grid = read_geometry(tmp_path / "in" / "images")
    rois = [
        Roi("Organ", [box(grid, 4, (1.5, 1.5), (9.5, 9.5))]),
        Roi("Tumour", [box(grid, 4, (3.5, 3.5), (6.5, 6.5))]),
    ]
    save_rtstruct(tmp_path / "in" / "rtstruct.dcm", rois, paths[0])
    refused = made_of(tmp_path / "in", tmp_path / "out", folds=2)
    assert "Tumour overlaps Organ" in str(refused.failures[0][1])
    assert not (tmp_path / "out" / "dataset.json").exists()
    made = made_of(tmp_path / "in", tmp_path / "out", folds=2, later_wins=True)
    assert made.reports[0]["voxels"] == {"Organ": 64 - 9, "Tumour": 9}
    alone = made_of(tmp_path / "in", tmp_path / "two", folds=2, labels="tumour")
    assert alone.reports[0]["voxels"] == {"tumour": 9}


def test_a_label_map_elsewhere_fails_and_one_turned_round_does_not(tmp_path: Path) -> None:
    expected = file_case(tmp_path / "in", "turned", 1)
    path = tmp_path / "in/labelsTr/turned.nii.gz"
    nibabel.save(nibabel.load(path).as_reoriented(np.array([[1, -1], [0, 1], [2, -1]])), path)
    file_case(tmp_path / "in", "moved", 2)
    moved = GRID.affine.copy()
    moved[0, 3] += 1
    write_nifti(np.ones(GRID.shape, np.uint8), Geometry(GRID.shape, moved),
                tmp_path / "in/labelsTr/moved.nii.gz")  # fmt: skip
    result = made_of(tmp_path / "in", tmp_path / "out", folds=2)
    ((_, error),) = result.failures
    assert "lies elsewhere" in str(error)
    (item,) = read_msd(tmp_path / "out", range(2))
    assert np.array_equal(read_label_map(item["label"]).label_map, expected)


def test_empty_labels_are_told_of(tmp_path: Path) -> None:
    file_case(tmp_path / "in", "a", 1)
    file_case(tmp_path / "in", "b", 2)
    only = phantom(GRID, seed=2)[1].label_map == 1
    write_nifti(only.astype(np.uint8), GRID, tmp_path / "in/labelsTr/b.nii.gz")
    result = made_of(tmp_path / "in", tmp_path / "out", labels="1=A,2=B", folds=2)
    assert not result.failures
    assert "B has no voxel in 1 of 2 cases" in result.warnings
    assert "no voxel of B" in (tmp_path / "out" / "sheet.html").read_text()


def test_what_is_done_is_left_and_what_changed_is_redone(tmp_path: Path) -> None:
    for n in range(3):
        file_case(tmp_path / "in", f"c{n}", n)
    out = tmp_path / "out"
    assert made_of(tmp_path / "in", out, folds=2).resumed == 0
    before = content(out)
    again = made_of(tmp_path / "in", out, folds=2)
    assert again.resumed == 3
    assert content(out) == before
    next((out / "labelsTr").iterdir()).write_bytes(b"damaged")
    assert made_of(tmp_path / "in", out, folds=2).resumed == 2
    assert {k: v for k, v in content(out).items() if k != "manifest.jsonl"} == {
        k: v for k, v in before.items() if k != "manifest.jsonl"
    }
    file_case(tmp_path / "in", "c9", 9)
    assert made_of(tmp_path / "in", out, folds=2).resumed == 3
    assert made_of(tmp_path / "in", out, folds=2, labels="1=x,2=y").resumed == 0


def test_stopped_and_run_again_it_is_the_same_set(tmp_path: Path) -> None:
    for n in range(3):
        file_case(tmp_path / "in", f"c{n}", n)
    pairs = find_pairs([str(tmp_path / "in")]).pairs
    calls = iter([False, True])
    with pytest.raises(Cancelled):
        make_dataset(pairs, tmp_path / "a", should_stop=lambda: next(calls))
    assert not (tmp_path / "a" / "dataset.json").exists()
    assert make_dataset(pairs, tmp_path / "a").resumed == 1
    make_dataset(pairs, tmp_path / "b")
    for name in ("dataset.json", "report.json", "imagesTr", "labelsTr", "sheet.html"):
        one, other = tmp_path / "a" / name, tmp_path / "b" / name
        same = (
            content(one) == content(other)
            if one.is_dir()
            else (one.read_text().replace("/a/", "/b/") == other.read_text())
        )
        assert same, name


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    file_case(tmp_path / "in", "a", 1)
    with pytest.raises(InvalidRequest, match="something else"):
        made_of(tmp_path / "in", tmp_path / "in")


def test_one_damaged_file_does_not_end_it(tmp_path: Path) -> None:
    for n in range(3):
        _, paths = dicom_case(tmp_path / f"in/{n}", n)
        if n == 1:
            paths[4].unlink()  # a gap
    (tmp_path / "in/2/rtstruct.dcm").write_bytes(
        (tmp_path / "in/2/rtstruct.dcm").read_bytes()[:3000]
    )
    found = find_pairs([str(tmp_path / "in")])
    result = make_dataset(found.pairs, tmp_path / "out", DatasetOptions(folds=2))
    assert len(result.reports) == 1
    words = [str(e) for _, e in result.failures] + [str(u.problem) for u in found.unmatched]
    assert len(words) == 2
    assert any("missing" in one for one in words)
    assert any("structure set" in one or "DICOM" in one or "series" in one for one in words)


@given(
    st.dictionaries(st.integers(0, 400).map(str), st.integers(0, 30).map(str), min_size=1),
    st.integers(2, 8), st.integers(0, 1000),
)  # fmt: skip
def test_a_subject_is_in_one_fold_and_folds_are_even(
    subjects: dict[str, str], folds: int, seed: int
) -> None:
    found = deal(subjects, folds=folds, seed=seed)
    assert found == deal(dict(reversed(subjects.items())), folds=folds, seed=seed)
    assert found.keys() == subjects.keys()
    per_subject: dict[str, set[int]] = {}
    for case, subject in subjects.items():
        per_subject.setdefault(subject, set()).add(found[case])
    assert all(len(where) == 1 for where in per_subject.values())
    sizes = [list(found.values()).count(n) for n in range(folds)]
    assert max(sizes) - min(sizes) <= max(Counter(subjects.values()).values())


def test_seeds_shuffle() -> None:
    subjects = {str(n): str(n) for n in range(20)}
    assert deal(subjects, seed=1) != deal(subjects, seed=2)


def test_names_that_most_cases_have_are_the_labels() -> None:
    cases = [["Liver", "Spleen"], ["liver", "Spleen", "ring"], ["Leber", "spleen"]]
    names = agree_on(cases, parse_synonyms("leber=Liver"))
    assert names.names == ("Liver", "Spleen")
    assert names.left_out == {"ring": 1}
    assert names.value_of("LEBER") == 1
    assert names.value_of("ring") == 0
    numbered = agree_on([["label_10"], ["label_2"], ["label_2"]], {}, kept=["label_2", "label_10"])
    assert numbered.names == ("label_2", "label_10")
    with pytest.raises(InvalidRequest, match="same name"):
        agree_on([["a"], ["b"]], {})


@pytest.mark.parametrize("text", ["a,a", "1=a,b", "0=a", "x=a", "a,,b"])
def test_labels_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--labels"):
        parse_labels(text)


def test_a_torn_row_costs_no_other(tmp_path: Path) -> None:
    file_case(tmp_path / "in", "a", 1)
    made_of(tmp_path / "in", tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes() + b'{"case_id": "to')  # killed in a write
    file_case(tmp_path / "in", "b", 2)
    made_of(tmp_path / "in", tmp_path / "out")
    rows = [line for line in manifest.read_text().splitlines() if '"to' not in line]
    assert len([json.loads(line) for line in rows]) >= 2
