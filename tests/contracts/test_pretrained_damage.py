"""Checkpoints that are partial, damaged or of another family: refused in words, or parity."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.encoder_fixtures import (
    FIXTURES,
    folder_of,
    read_input,
    require_equal,
    require_expected,
    run,
)
from tests.small_encoders import small_encoder
from unetr_app.errors import UnetrError, UnusableWeights
from unetr_app.networks import (
    ENCODERS,
    LoadReport,
    encoder_from_checkpoint,
    load_pretrained,
    network_from_checkpoint,
)

State = dict[str, Tensor]

every_fixture = pytest.mark.parametrize("name", sorted(FIXTURES))
# Read by no forward pass: a file without them is whole.
NEVER_READ = ("num_batches_tracked", "norm_cross_attn", "mask_token")
# Weights of one family that another is filled from where sizes agree; these do not agree.
SERVES_TOO = {("vit", "timesformer"), ("segformer", "pvt"), ("pvt", "segformer")}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _load(path: Path, folder: Path, **given: Any) -> tuple[nn.Module, LoadReport]:
    """The encoder of a file that came from a fixture's, for the fixture's input."""
    image = read_input(folder)
    arguments = {**FIXTURES[folder.name].options, **given, "roi_size": image.shape[2:]}
    return encoder_from_checkpoint(
        path, spatial_dims=image.ndim - 2, in_channels=image.shape[1], **arguments
    )


def _require_words(error: UnetrError) -> None:
    """A sentence of what was found, or of what to do about it."""
    text = str(error)
    assert len(text.split()) >= 6
    assert "Traceback" not in text


def _loaded(path: Path, folder: Path, **given: Any) -> tuple[nn.Module, LoadReport] | UnetrError:
    """As `_load`; the error where there is one, which must be of ours and in words."""
    try:
        return _load(path, folder, **given)
    except UnetrError as error:
        _require_words(error)
        return error


def _require_parity(found: tuple[nn.Module, LoadReport] | UnetrError, folder: Path) -> None:
    assert not isinstance(found, UnetrError), found
    assert found[1].coverage == 1
    require_expected(found[0], folder)


def _some_of_each_kind(state: State) -> list[str]:
    """The first and the last of those tensors whose names differ by a number alone."""
    kinds: dict[str, list[str]] = {}
    for name in state:
        kinds.setdefault(re.sub(r"\d+", "*", name), []).append(name)
    return [name for names in kinds.values() for name in dict.fromkeys((names[0], names[-1]))]


def _is_read(name: str) -> bool:
    return not any(part in name for part in NEVER_READ)


def _write(state: State, folder: Path, at: Path) -> Path:
    """A folder with these tensors and the fixture's configuration."""
    at.mkdir(exist_ok=True)
    save_file(state, at / "model.safetensors")
    shutil.copyfile(folder / "config.json", at / "config.json")
    return at


def _count(encoder: nn.Module) -> int:
    return sum(p.numel() for p in encoder.parameters())


@every_fixture
def test_without_its_configuration_a_file_says_all_or_names_what_it_does_not(
    name: str, shared: Path, tmp_path: Path
) -> None:
    folder, unsaid = folder_of(shared, name), dict(FIXTURES[name].unsaid)
    shutil.copyfile(folder / "model.safetensors", tmp_path / "model.safetensors")
    given: dict[str, Any] = {}
    while isinstance(found := _loaded(tmp_path, folder, **given), UnusableWeights):
        named = [key for key in unsaid if f"{key}=" in found.cure]
        assert named, found
        given |= {key: unsaid.pop(key) for key in named}
    _require_parity(found, folder)
    assert unsaid == {}, "the file says these itself"


@every_fixture
def test_a_tensor_that_is_gone_never_goes_unnoticed(
    name: str, shared: Path, tmp_path: Path
) -> None:
    folder = folder_of(shared, name)
    state = load_file(folder / "model.safetensors")
    whole, report = _load(folder, folder)
    unused = {record.name for record in report.of("skipped")}
    for gone in _some_of_each_kind(state):
        path = _write({k: v for k, v in state.items() if k != gone}, folder, tmp_path / "part")
        found = _loaded(path, folder)
        if isinstance(found, UnetrError):
            continue
        assert _count(found[0]) == _count(whole), f"another network without {gone}"
        if gone in unused or not _is_read(gone):
            _require_parity(found, folder)
        else:
            assert found[1].coverage < 1 or found[1].of("missing"), gone


@every_fixture
@pytest.mark.parametrize("longer", [True, False], ids=["longer", "more axes"])
@pytest.mark.filterwarnings("ignore:Initializing zero-element:UserWarning")
def test_a_misshapen_tensor_is_refused_or_without_use(
    name: str, longer: bool, shared: Path, tmp_path: Path
) -> None:
    folder = folder_of(shared, name)
    state = load_file(folder / "model.safetensors")
    for bent in _some_of_each_kind(state):
        one_more = state[bent].unsqueeze(0)
        other = (
            torch.cat([state[bent], state[bent][:1]]) if longer and state[bent].ndim else one_more
        )
        path = _write({**state, bent: other.contiguous()}, folder, tmp_path / "bent")
        found = _loaded(path, folder)
        if not isinstance(found, UnetrError):
            _require_parity(found, folder)


@every_fixture
def test_a_file_cut_short_is_refused(name: str, shared: Path, tmp_path: Path) -> None:
    folder = folder_of(shared, name)
    whole = (folder / "model.safetensors").read_bytes()
    shutil.copyfile(folder / "config.json", tmp_path / "config.json")
    at = tmp_path / "model.safetensors"
    for length in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        at.write_bytes(whole[:length])
        for path in (tmp_path, at):
            with pytest.raises(UnusableWeights, match=r"damaged|no checkpoint") as caught:
                _load(path, folder)
            _require_words(caught.value)


@every_fixture
@pytest.mark.parametrize("way", ["bare", "model", "state_dict", "model_state"])
def test_files_as_training_scripts_write_them_give_the_same(
    name: str, way: str, shared: Path, tmp_path: Path
) -> None:
    folder = folder_of(shared, name)
    state = load_file(folder / "model.safetensors")
    written: Any = state
    if way == "state_dict":
        state = {f"module.{key}": tensor for key, tensor in state.items()}
    if way != "bare":
        written = {"epoch": 3, way: state, "optimizer": {"state": {}, "param_groups": []}}
    torch.save(written, tmp_path / "checkpoint.pt")
    shutil.copyfile(folder / "config.json", tmp_path / "config.json")
    _require_parity(_loaded(tmp_path / "checkpoint.pt", folder), folder)


@pytest.mark.parametrize("name", ["hf_segformer", "monai_unetr"])
def test_whole_networks_too(name: str, shared: Path, tmp_path: Path) -> None:
    folder = folder_of(shared, name)
    state = load_file(folder / "model.safetensors")
    wrapped = {"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}
    torch.save(wrapped, tmp_path / "checkpoint.pt")
    shutil.copyfile(folder / "config.json", tmp_path / "config.json")
    whole, image = network_from_checkpoint(folder), read_input(folder)
    require_equal(
        run(network_from_checkpoint(tmp_path / "checkpoint.pt"), image), run(whole, image)
    )
    for gone in _some_of_each_kind(state):
        path = _write({k: v for k, v in state.items() if k != gone}, folder, tmp_path / "part")
        if _is_read(gone):
            with pytest.raises(UnetrError) as caught:
                network_from_checkpoint(path)
            _require_words(caught.value)
        else:
            require_equal(run(network_from_checkpoint(path), image), run(whole, image))


@every_fixture
def test_a_file_of_another_family_is_refused(name: str, shared: Path, tmp_path: Path) -> None:
    folder, held = folder_of(shared, name), FIXTURES[name].encoder
    dims = read_input(folder).ndim - 2
    (tmp_path / "given").symlink_to(folder)  # no error names the family by the folder's name
    for family in sorted(ENCODERS):
        encoder = small_encoder(family, dims, in_channels=2)
        before = {key: value.clone() for key, value in encoder.state_dict().items()}
        with pytest.raises(UnetrError) as caught:  # its own family with other sizes, too
            load_pretrained(encoder, tmp_path / "given")
        _require_words(caught.value)
        if (held, family) not in SERVES_TOO and held != family:
            assert {held, family} <= set(re.findall(r"\w+", str(caught.value)))
        for key, value in encoder.state_dict().items():
            assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_no_layout_takes_our_own_names_for_its(name: str, tmp_path: Path) -> None:
    torch.save(small_encoder(name, 2).state_dict(), tmp_path / "ours.pt")
    with pytest.raises(UnusableWeights, match="no layout that is known"):
        encoder_from_checkpoint(tmp_path / "ours.pt", spatial_dims=2)
