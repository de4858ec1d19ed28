import json
import subprocess
import sys

import numpy as np
import pytest

from unetr_app.cli import main
from unetr_app.geometry import Geometry
from unetr_app.io import write_segmentation
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation

SHAPE = (12, 10, 8)
GRID = Geometry(SHAPE, np.diag([1.0, 1.5, 2.0, 1.0]))
LABELS = LabelSet.from_names({1: "one"})


def save(path, start):
    label_map = np.zeros(SHAPE, dtype=np.uint8)
    label_map[start : start + 5, 2:8, 2:6] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    write_segmentation(Segmentation(label_map, GRID, LABELS), path)


@pytest.fixture
def folders(tmp_path):
    for name, start in (("a", 2), ("b", 3)):
        save(tmp_path / "out" / name / "labels.nii.gz", start)
        save(tmp_path / "truth" / f"{name}.nii.gz", 2)
    return tmp_path / "out", tmp_path / "truth"


def run(*words):
    return main(["evaluate", *map(str, words)])


def test_all_compared_is_success(folders, tmp_path, capsys):
    assert run(*folders, "-o", tmp_path / "ev", "--labels", "1=Block", "--tolerance", 2) == 0
    shown = capsys.readouterr()
    assert "Block" in shown.out
    assert "2 compared, 0 failed, 0 unmatched" in shown.out
    assert shown.err == ""
    names = sorted(path.name for path in (tmp_path / "ev").iterdir())
    assert names == ["cases.csv", "report.html", "summary.json"]
    told = json.loads((tmp_path / "ev" / "summary.json").read_text())
    assert told["tolerance_mm"] == 2.0
    assert told["all_labels"]["metrics"]["dice"]["mean"] == pytest.approx((1 + 0.8) / 2)
    assert told["labels"][0]["name"] == "Block"


def test_without_a_folder_nothing_is_written(folders, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert run(*folders) == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failed_case_and_one_without_a_partner_are_told(folders, capsys):
    out, truth = folders
    (truth / "a.nii.gz").write_bytes(b"\x1f\x8b broken")
    save(truth / "c.nii.gz", 2)
    assert run(out, truth) == 3
    shown = capsys.readouterr()
    assert "a: a.nii.gz:" in shown.err
    assert "without a prediction: c" in shown.err
    assert "1 compared, 1 failed, 1 unmatched" in shown.out
    assert str(truth.parent) not in shown.err + shown.out


def test_what_was_compared_is_shown_though_the_report_cannot_be_written(folders, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(*folders, "-o", tmp_path / "file") == 2
    shown = capsys.readouterr()
    assert "2 compared" in shown.out
    assert shown.err.startswith("unetr evaluate: cases.csv: could not be written")


def test_very_many_labels_are_not_shown_one_by_one(tmp_path, capsys):
    label_map = np.arange(np.prod(SHAPE)).reshape(SHAPE) // 40
    names = LabelSet.from_names({n: str(n) for n in range(1, 25)})
    for name in ("a.nii", "b.nii"):
        write_segmentation(Segmentation(label_map, GRID, names), tmp_path / name)
    assert run(tmp_path / "a.nii", tmp_path / "b.nii") == 0
    shown = capsys.readouterr()
    assert "label_3" not in shown.out
    assert shown.out.count("all labels") == 6
    assert "23 labels" in shown.err


def test_nothing_compared_is_failure(folders, capsys):
    out, truth = folders
    for path in truth.iterdir():
        path.rename(path.with_name(f"other_{path.name}"))
    assert run(out, truth) == 4
    assert "0 compared, 0 failed, 4 unmatched" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["nowhere", "truth"],
        ["out"],
        ["out", "truth", "--labels", "Block"],
        ["out", "truth", "--tolerance", "-1"],
        ["out", "truth", "--tolerance", "nan"],
        ["out", "truth", "--images", "nowhere"],
        ["out", "truth/a.nii.gz"],
    ],
)
def test_wrong_usage_says_what_is_wrong(folders, monkeypatch, capsys, words):
    monkeypatch.chdir(folders[0].parent)
    assert run(*words) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("unetr evaluate: ")
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_running_twice_gives_the_same_files(folders, tmp_path):
    run(*folders, "-o", tmp_path / "first")
    run(*folders, "-o", tmp_path / "second")
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_neither_torch_nor_monai_is_imported(folders):
    code = (
        "import sys; from unetr_app.cli import main; "
        f"code = main(['evaluate', {str(folders[0])!r}, {str(folders[1])!r}]); "
        "print(sorted({'torch', 'monai', 'matplotlib'} & set(sys.modules)), code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "[] 0"
