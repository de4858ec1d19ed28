from __future__ import annotations

import json
from pathlib import Path

import pytest

from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.training import list_images, read_msd


def _write(folder: Path, folds: bool) -> Path:
    pairs = [
        {"image": f"./imagesTr/c{n:02}.nii.gz", "label": f"./labelsTr/c{n:02}.nii.gz"}
        | ({"fold": n % 3} if folds else {})
        for n in range(12)
    ]
    for pair in pairs:
        for kind in ("image", "label"):
            path = folder / str(pair[kind])
            path.parent.mkdir(exist_ok=True)
            path.touch()
    (folder / "dataset.json").write_text(json.dumps({"training": pairs}))
    return folder


@pytest.mark.parametrize("folds", [True, False])
def test_folds_share_no_case_and_leave_none_out(tmp_path: Path, folds: bool) -> None:
    data = _write(tmp_path, folds)
    count = 3 if folds else 5
    parts = [{item["image"] for item in read_msd(data, [n])} for n in range(count)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 12
    assert len(read_msd(data, range(count))) == 12


def test_a_pair_stays_a_pair(tmp_path: Path) -> None:
    for item in read_msd(_write(tmp_path, True), [0, 1, 2]):
        assert Path(item["image"]).name == Path(item["label"]).name
        assert Path(item["image"]).is_relative_to(tmp_path)


def test_a_limit_takes_so_many_spread_over_all(tmp_path: Path) -> None:
    few = read_msd(_write(tmp_path, True), [0, 1, 2], limit=3)
    assert [Path(item["image"]).name for item in few] == [
        "c00.nii.gz", "c04.nii.gz", "c08.nii.gz",
    ]  # fmt: skip


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no dataset\.json"):
        read_msd(tmp_path, [0])
    with pytest.raises(InvalidRequest, match="hold no case"):
        read_msd(_write(tmp_path, True), [7])
    (tmp_path / "dataset.json").write_text('{"training": {"image": 3}}')
    with pytest.raises(UnreadableInput, match="training"):
        read_msd(tmp_path, [0])


def test_a_listed_file_that_is_missing_is_named(tmp_path: Path) -> None:
    (_write(tmp_path, True) / "imagesTr" / "c03.nii.gz").unlink()
    with pytest.raises(UnreadableInput, match=r"c03\.nii\.gz"):
        read_msd(tmp_path, [0, 1, 2])


def test_only_nifti_images_are_listed(tmp_path: Path) -> None:
    for name in ("b.nii.gz", "a.nii", "notes.txt", "._a.nii"):
        (tmp_path / name).touch()
    assert [Path(i["image"]).name for i in list_images(tmp_path)] == ["a.nii", "b.nii.gz"]
    with pytest.raises(InvalidRequest, match=r"no \.nii"):
        list_images(tmp_path / "empty")
