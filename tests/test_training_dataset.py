from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data import phantom
from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.training import list_images, read_msd, require_images


def _write(folder: Path, training: Any) -> Path:
    for row in training if isinstance(training, list) else []:
        for path in (row["image"], row["label"]):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()
    (folder / "dataset.json").write_text(json.dumps({"training": training}))
    return folder


def _rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"image": f"./imagesTr/c_{n:02d}.nii.gz", "label": f"./labelsTr/c_{n:02d}.nii.gz"} | more
        for n in range(count)
    ]


def _names(items: list[dict[str, str]]) -> list[str]:
    return [Path(item["image"]).name[2:4] for item in items]


def test_the_folds_that_are_given_are_used(tmp_path: Path) -> None:
    rows = _rows(6)
    for row, fold in zip(rows, (2, 0, 0, 1, 2, 0), strict=True):
        row["fold"] = fold
    folder = _write(tmp_path, rows)
    assert _names(read_msd(folder, [0])) == ["01", "02", "05"]
    assert _names(read_msd(folder, [1, 2])) == ["00", "03", "04"]


def test_without_folds_names_are_dealt_to_five(tmp_path: Path) -> None:
    folder = _write(tmp_path, list(reversed(_rows(12))))
    parts = [_names(read_msd(folder, [fold])) for fold in range(5)]
    assert sorted(name for part in parts for name in part) == [f"{n:02d}" for n in range(12)]
    assert parts[0] == ["00", "05", "10"]


@pytest.mark.parametrize("count", [3, 5])
def test_folds_share_no_case_and_leave_none_out(tmp_path: Path, count: int) -> None:
    rows = _rows(12)
    if count == 3:
        rows = [row | {"fold": n % 3} for n, row in enumerate(rows)]
    folder = _write(tmp_path, rows)
    parts = [set(_names(read_msd(folder, [fold]))) for fold in range(count)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 12


def test_image_and_label_belong_together(tmp_path: Path) -> None:
    for item in read_msd(phantom.write_msd_dataset(tmp_path, 3, shape=(12, 12, 12)), range(5)):
        assert Path(item["image"]).is_file()
        assert Path(item["label"]).is_file()
        assert Path(item["image"]).name == Path(item["label"]).name


@pytest.mark.parametrize(("limit", "kept"), [(None, 10), (4, 4), (1, 1), (50, 10)])
def test_a_limit_is_spread_over_the_list(tmp_path: Path, limit: int | None, kept: int) -> None:
    names = _names(read_msd(_write(tmp_path, _rows(10, fold=0)), [0], limit=limit))
    assert len(names) == len(set(names)) == kept
    if limit == 4:
        assert names == ["00", "02", "05", "07"]


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no dataset.json") as caught:
        read_msd(tmp_path, [0])
    assert "Decathlon" in caught.value.cure


@pytest.mark.parametrize("training", [None, 3, [{"image": "a"}], ["a.nii.gz"]])
def test_another_layout_is_refused(tmp_path: Path, training: Any) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"training": training}))
    with pytest.raises(UnreadableInput, match=r"dataset.json: no list 'training'"):
        read_msd(tmp_path, [0])


def test_text_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{'training'")
    with pytest.raises(UnreadableInput, match="no list"):
        read_msd(tmp_path, [0])


def test_an_empty_fold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"folds \[7\] hold no case"):
        read_msd(_write(tmp_path, _rows(3)), [7])


def test_listed_files_that_are_missing_are_named(tmp_path: Path) -> None:
    folder = _write(tmp_path, _rows(3, fold=0))
    (folder / "labelsTr/c_01.nii.gz").unlink()
    with pytest.raises(UnreadableInput, match=r"1 files .* first c_01.nii.gz"):
        read_msd(folder, [0])


def test_the_images_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.nii", "a.nii.gz", ".hidden.nii.gz", "c.nii.gz.part", "d.nrrd", "e.NII.GZ"):
        (tmp_path / name).touch()
    found = [Path(item["image"]).name for item in list_images(tmp_path)]
    assert found == ["a.nii.gz", "b.nii", "e.NII.GZ"]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    assert list_images(tmp_path) == list_images(tmp_path / "absent") == []
    require_images([{"image": "a.nii"}], tmp_path)
    with pytest.raises(InvalidRequest, match=r"'set' holds no .nii or .nii.gz"):
        require_images([], tmp_path / "set")
