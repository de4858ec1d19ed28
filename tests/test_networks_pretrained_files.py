from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.files import read_checkpoint, require_finite

WEIGHTS = {"a.weight": torch.arange(600.0).reshape(20, 30), "b": torch.tensor([3])}
BYTES = st.integers(0, 2**31)


class _Evil:
    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


def _assert_weights(state: dict[str, torch.Tensor]) -> None:
    assert state.keys() == WEIGHTS.keys()
    assert all(torch.equal(state[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.safetensors"])
def test_files_of_every_ending(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(WEIGHTS, path)
    else:
        torch.save(WEIGHTS, path)
    state, config = read_checkpoint(path)
    _assert_weights(state)
    assert config == {}


def test_a_folder_with_a_configuration(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architecture": "vit"}')
    state, config = read_checkpoint(tmp_path)
    _assert_weights(state)
    assert config == {"architecture": "vit"}


@pytest.mark.parametrize("name", ["model.safetensors", "other.safetensors"])
def test_the_normalisation_of_images_in_transformers_file_of_its_own(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path if name == "model.safetensors" else tmp_path / name
    save_file(WEIGHTS, tmp_path / name)
    images = {"image_mean": [0.5], "image_std": [0.2], "size": {"height": 224}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(images))
    normalisation = {"image_mean": [0.5], "image_std": [0.2]}
    assert read_checkpoint(path)[1] == normalisation
    (tmp_path / "config.json").write_text('{"model_type": "vit", "image_mean": [0.4]}')
    assert read_checkpoint(path)[1] == normalisation | {"model_type": "vit", "image_mean": [0.4]}
    off = images | {"do_normalize": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(off))
    assert read_checkpoint(path)[1] == {"model_type": "vit", "image_mean": [0.4]}
    (tmp_path / "preprocessor_config.json").write_text("[1, 2")
    with pytest.raises(UnusableWeights, match=r"preprocessor_config.json: this is no JSON object"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "around",
    [
        {"state_dict": WEIGHTS, "epoch": 3},
        {"model": {"state_dict": WEIGHTS}, "best_acc": np.float64(0.81)},
        {"network": WEIGHTS, "optimizer": {"lr": 0.1}},
        {"state_dict": WEIGHTS, "loss": torch.tensor(0.2)},
    ],
)
def test_the_state_dict_is_found_among_what_training_keeps(
    around: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(around, tmp_path / "w.pt")
    _assert_weights(read_checkpoint(tmp_path / "w.pt")[0])


def test_the_format_before_torch_1_6(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    _assert_weights(read_checkpoint(tmp_path / "w.pt")[0])


@pytest.mark.parametrize("name", ["evil.pt", "evil.pth", "evil.bin", "evil.pkl"])
@pytest.mark.parametrize("by", ["torch", "torch-old", "pickle"])
def test_a_pickle_that_runs_code_is_refused_and_not_run(name: str, by: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / name
    value = {"a": torch.zeros(2), "evil": _Evil(canary)}
    if by == "pickle":
        path.write_bytes(pickle.dumps({"evil": _Evil(canary)}))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=by == "torch")
    with pytest.raises(UnusableWeights, match="could run code") as caught:
        read_checkpoint(path)
    assert "safetensors" in caught.value.cure
    assert not canary.exists()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "model.pt")
    with pytest.raises(UnusableWeights, match="TorchScript"):
        read_checkpoint(tmp_path / "model.pt")


SAME_FOLDER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SAME_FOLDER
@given(where=BYTES)
def test_a_file_cut_anywhere_is_refused(where: int, tmp_path: Path) -> None:
    for name in ("w.pt", "w.safetensors"):
        path = tmp_path / name
        (torch.save if name == "w.pt" else save_file)(WEIGHTS, path)  # pyright: ignore
        whole = path.read_bytes()
        path.write_bytes(whole[: where % len(whole)])
        with pytest.raises(UnusableWeights):
            read_checkpoint(path)


@SAME_FOLDER
@given(where=BYTES, bit=st.integers(0, 7))
def test_a_flipped_bit_never_changes_a_weight_in_silence(
    where: int, bit: int, tmp_path: Path
) -> None:
    path = tmp_path / "w.pt"
    torch.save(WEIGHTS, path)
    content = bytearray(path.read_bytes())
    content[where % len(content)] ^= 1 << bit
    path.write_bytes(content)
    try:
        state, _ = read_checkpoint(path)
    except UnusableWeights:
        return
    _assert_weights(state)  # the bit was in padding or in a date


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "damaged"),
        (b"PK\x03\x04 no archive", "damaged"),
        (b"hello", "damaged|run code"),
        (b"\x80\x02u", "damaged"),
        (b"\x80\x02M", "damaged"),
    ],
)
def test_what_is_no_checkpoint_is_refused(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(UnusableWeights, match=what):
        read_checkpoint(tmp_path / "w.pt")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnusableWeights, match="no such file"):
        read_checkpoint(tmp_path / "absent.pt")
    with pytest.raises(UnusableWeights, match="holds no weights"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("value", [{"epoch": 3}, [torch.zeros(2)], {"state_dict": {}}])
def test_a_file_without_named_tensors_is_refused(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(UnusableWeights, match="no tensors by name"):
        read_checkpoint(tmp_path / "w.pt")


def test_a_container_that_holds_itself_has_an_end(tmp_path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["state_dict"] = endless
    torch.save(endless, tmp_path / "w.pt")
    with pytest.raises(UnusableWeights, match="no tensors by name"):
        read_checkpoint(tmp_path / "w.pt")


def test_a_damaged_configuration_is_refused(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "model.pt")
    (tmp_path / "config.json").write_text("[1, 2")
    with pytest.raises(UnusableWeights, match=r"config.json: this is no JSON object"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_tensor_that_is_not_finite_is_named(value: float) -> None:
    require_finite(WEIGHTS, "w.pt")
    spoilt = WEIGHTS | {"c": torch.tensor([0.0, value])}
    with pytest.raises(UnusableWeights, match="'c' holds values that are not finite"):
        require_finite(spoilt, "w.pt")


def test_a_configuration_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UnusableWeights, match="configuration, without weights") as caught:
        read_checkpoint(tmp_path / "config.json")
    assert "folder" in caught.value.cure


@pytest.mark.parametrize("ending", [".pt", ".pth"])
def test_a_pointer_of_git_lfs_is_called_one(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"model{ending}"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(UnusableWeights, match="Git LFS") as caught:
        read_checkpoint(path)
    assert "git lfs pull" in caught.value.cure
