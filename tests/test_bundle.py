from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from unetr_app.bundle import find_bundle, list_bundles, open_bundle, read_card
from unetr_app.errors import InvalidRequest, UnusableBundle, UnusableWeights

MR = "hippocampus_mr_unetr_segmentation"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(find_bundle(MR), tmp_path / MR)


def test_bundles_are_found_by_name_and_by_folder(copy: Path) -> None:
    assert MR in [card.name for card in list_bundles()]
    assert find_bundle(copy) == copy
    assert read_card(copy).labels == read_card(MR).labels


def test_an_unknown_name_is_met_with_a_guess() -> None:
    with pytest.raises(InvalidRequest, match=f"Did you mean {MR}"):
        find_bundle("hippocampus_unetr")


def test_a_folder_that_is_no_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no configs/metadata\.json"):
        find_bundle(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1}'])
def test_damaged_metadata_are_refused(copy: Path, text: str) -> None:
    (copy / "configs" / "metadata.json").write_text(text)
    with pytest.raises(UnusableBundle, match=r"metadata\.json"):
        read_card(copy)


def test_without_weights_the_advice_is_given(copy: Path) -> None:
    (copy / "models" / "model.pt").unlink()
    assert read_card(copy).weights_hash == ""
    with pytest.raises(UnusableWeights, match="Train them"):
        open_bundle(copy)


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "cut", "code"])
def test_weights_that_do_not_fit_are_refused(copy: Path, damage: str, tmp_path: Path) -> None:
    path = copy / "models" / "model.pt"
    state = torch.load(path, weights_only=True)
    first = next(iter(state))
    if damage == "missing":
        del state[first]
    elif damage == "shape":
        state[first] = torch.zeros(1)
    elif damage == "nan":
        state[first] = torch.full_like(state[first], torch.nan)
    torch.save(state, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    canary = tmp_path / "canary"
    if damage == "code":
        torch.save(_Runs(str(canary)), path)
    with pytest.raises(UnusableWeights) as caught:
        open_bundle(copy, device="cpu")
    if damage in ("missing", "shape", "nan"):
        assert first in str(caught.value)
    assert not canary.exists()


class _Runs:
    """Unpickling it makes a file."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path(self.path),))


def test_a_config_that_does_not_build_is_refused(copy: Path) -> None:
    config = copy / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("encoder: vit", "encoder: vat"))
    with pytest.raises(UnusableBundle, match=r"network_def.*vat"):
        open_bundle(copy, device="cpu")
    config.write_text("a: [1")
    with pytest.raises(UnusableBundle, match=r"inference\.yaml cannot be read"):
        open_bundle(copy, device="cpu")


def test_a_device_that_is_not_there_is_refused(copy: Path) -> None:
    with pytest.raises(InvalidRequest, match="cuda:99"):
        open_bundle(copy, device="cuda:99")


@pytest.mark.weights
def test_an_opened_bundle_writes_nothing(copy: Path) -> None:
    bundle = open_bundle(copy, device="cpu")
    names = [type(t).__name__ for t in bundle.postprocessing.transforms]
    assert names == ["RestoreLabelsd"]
    assert not any(type(t).__name__.startswith("Load") for t in bundle.preprocessing.transforms)
    assert not bundle.network.training
    assert json.loads((copy / "configs" / "metadata.json").read_text())["version"] == (
        bundle.card.version
    )
