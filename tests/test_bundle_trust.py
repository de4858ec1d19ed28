from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundle_zoo import ARGMAX, SOFTMAX, UNET, config, invert, metadata, write_zoo_bundle
from unetr_app.bundle import bundle_folders, is_trusted, open_bundle, require_trusted, trust
from unetr_app.bundle.trust import folder_hash, settings_folder
from unetr_app.errors import InvalidRequest, UnwritableOutput


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNETR_CONFIG", str(tmp_path / "settings"))
    return tmp_path / "settings"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    inference = config(UNET, SOFTMAX, invert(), ARGMAX)
    path = write_zoo_bundle(tmp_path / "zoo", inference, metadata(["background", "spleen"]))
    (path / "scripts" / "deep").mkdir(parents=True)
    (path / "scripts" / "deep" / "table.txt").write_text("1")
    return path


def test_ours_and_what_is_the_same_need_no_trust(tmp_path: Path):
    for folder in bundle_folders():
        assert is_trusted(folder)
        assert is_trusted(folder.name)
        ignored = shutil.ignore_patterns("models", "runs", "docs")
        assert is_trusted(shutil.copytree(folder, tmp_path / folder.name, ignore=ignored))


def test_a_change_of_one_of_ours_is_noticed(tmp_path: Path):
    copy = shutil.copytree(bundle_folders()[0] / "configs", tmp_path / "mine" / "configs").parent
    assert is_trusted(copy)
    with (copy / "configs" / "inference.yaml").open("a") as file:
        file.write("\n")
    assert not is_trusted(copy)


def test_a_folder_is_asked_about_once_wherever_it_lies(bundle: Path, tmp_path: Path):
    with pytest.raises(InvalidRequest, match=r"zoo is not trusted.*add --trust"):
        require_trusted(bundle)
    trust(bundle)
    require_trusted(bundle)
    require_trusted(bundle.rename(tmp_path / "moved"))


@pytest.mark.parametrize(
    "name",
    [
        "configs/inference.json", "configs/other.json", "scripts/deep/table.txt", "scripts/new.py",
        "helper.py", "code/helper.py", "models/helper.py", "scripts/old.pyc", "code/fast.so",
        "scripts/__pycache__/hidden.py", "scripts/__pycache__/hidden.pyc",
    ],
)  # fmt: skip
def test_what_could_run_is_asked_about_again(name: str, bundle: Path):
    trust(bundle)
    path = bundle / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("changed")
    assert not is_trusted(bundle)


@pytest.mark.parametrize(
    "name",
    [
        "models/model.pt", "models/model.ts", "docs/README.md", "eval/case/seg.nii.gz",
        "scripts/__pycache__/x.cpython-311.pyc", "scripts/__pycache__/x.cpython-313.opt-1.pyc",
    ],
)  # fmt: skip
def test_what_cannot_run_does_not_matter(name: str, bundle: Path):
    trust(bundle)
    path = bundle / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("changed")
    assert is_trusted(bundle)


def test_what_lies_behind_a_link_matters(bundle: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("1")
    (bundle / "scripts" / "linked").symlink_to(outside)
    (bundle / "scripts" / "back").symlink_to(bundle)
    trust(bundle)
    assert is_trusted(bundle)
    (outside / "a.py").write_text("2")
    assert not is_trusted(bundle)


def test_a_file_of_another_name_is_another_content(bundle: Path):
    before = folder_hash(bundle)
    (bundle / "scripts" / "deep" / "table.txt").rename(bundle / "scripts" / "deep" / "b.txt")
    assert folder_hash(bundle) != before


def test_what_is_remembered_is_added_to(bundle: Path, settings: Path):
    trust(bundle)
    (bundle / "helper.py").write_text("x = 1")
    trust(bundle)
    (bundle / "helper.py").unlink()
    assert is_trusted(bundle)
    (file,) = settings.iterdir()
    assert set(json.loads(file.read_text()).values()) == {"zoo"}
    assert str(bundle.parent) not in file.read_text()
    file.write_text("{cut")
    assert not is_trusted(bundle)
    trust(bundle)
    assert is_trusted(bundle)


def test_settings_that_cannot_be_written_say_so(bundle: Path, settings: Path):
    settings.write_text("a file where the folder should be")
    assert not is_trusted(bundle)
    with pytest.raises(UnwritableOutput):
        trust(bundle)


def test_without_a_name_settings_are_in_the_home_folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("UNETR_CONFIG")
    assert settings_folder().name == "unetr-app"


def test_nothing_of_an_untrusted_bundle_runs(bundle: Path, tmp_path: Path):
    canary = tmp_path / "canary"
    inference = json.loads((bundle / "configs" / "inference.json").read_text())
    inference["inferer"] = f"$__import__('pathlib').Path({str(canary)!r}).touch()"
    (bundle / "configs" / "inference.json").write_text(json.dumps(inference))
    with pytest.raises(InvalidRequest, match="not trusted"):
        open_bundle(bundle, device="cpu", ask_trust=True)
    assert not canary.exists()
    trust(bundle)
    open_bundle(bundle, device="cpu", ask_trust=True)
    assert canary.exists()


def test_cards_and_trust_need_neither_torch_nor_monai(bundle: Path):
    code = (
        "import sys\nfrom unetr_app.bundle import is_trusted, list_bundles, read_card, trust\n"
        f"list_bundles(), read_card({str(bundle)!r}), trust({str(bundle)!r})\n"
        f"assert is_trusted({str(bundle)!r})\n"
        "sys.exit(', '.join({'torch', 'monai', 'yaml'} & set(sys.modules)) or 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
