"""Fine-tuning a tiny bundle on phantoms, in child processes as the command does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.finetuning_files import RENAME, hashes, small_dataset, tiny_bundle
from unetr_app.bundle import is_trusted, read_card, trust
from unetr_app.cli import main
from unetr_app.errors import (
    Cancelled,
    InvalidRequest,
    UnreadableInput,
    UnusableBundle,
    UnusableWeights,
)
from unetr_app.finetuning import (
    Finetuned,
    FinetuneOptions,
    FinetuneProgress,
    child,
    child_process,
    finetune,
)
from unetr_app.inference import Segmenter
from unetr_app.io import read_volume

OPTIONS = FinetuneOptions(epochs=2, learning_rate=1e-3, rename=RENAME, device="cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = tiny_bundle(tmp_path_factory.mktemp("base") / "tiny_segmentation")
    trust(bundle)
    return bundle


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def done(
    base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Finetuned, dict[str, str], list[FinetuneProgress]]:
    before = hashes(base)
    told: list[FinetuneProgress] = []
    result = finetune(
        data, base, tmp_path_factory.mktemp("new") / "mine", OPTIONS, progress=told.append
    )
    return result, before, told


Done = tuple[Finetuned, dict[str, str], list[FinetuneProgress]]


def test_the_base_never_changes(done: Done, base: Path) -> None:
    assert hashes(base) == done[1]


def test_the_new_bundle_is_a_new_version_with_new_weights(done: Done, base: Path) -> None:
    card, old = read_card(done[0].path), read_card(base)
    assert card.weights_hash != old.weights_hash
    assert (card.version, old.version) == ("0.2.0", "0.1.0")
    metadata = json.loads((card.path / "configs" / "metadata.json").read_text())
    assert set(metadata["changelog"]) == {"0.1.0", "0.2.0"}
    assert metadata["name"].endswith("fine-tuned")
    assert (card.path / "LICENSE").read_bytes() == (base / "LICENSE").read_bytes()
    assert not (card.path / "unfinished").exists()


def test_the_new_bundle_is_trusted_as_its_base_is_and_segments(done: Done, data: Path) -> None:
    assert is_trusted(done[0].path)
    volume = read_volume(data / "imagesTr" / "hippocampus_001.nii.gz")
    segmenter = Segmenter.open(done[0].path, device="cpu", ask_trust=True)
    assert segmenter.segment(volume).geometry == volume.geometry


def test_training_moves_the_running_average_away_from_the_start(done: Done, base: Path) -> None:
    old, new = (
        torch.load(folder / "models" / "model.pt", weights_only=True)
        for folder in (base, done[0].path)
    )
    assert old.keys() == new.keys()
    moved = [float((new[k].float() - old[k]).abs().max()) for k in old]
    assert max(moved) > 1e-3


def test_progress_goes_through_all_stages_and_every_epoch(done: Done) -> None:
    told = done[2]
    assert list(dict.fromkeys(p.stage for p in told)) == ["checking", "before", "training", "after"]
    training = [p for p in told if p.stage == "training"]
    assert training[-1].epoch == training[-1].epochs == 2
    assert training[-1].done == training[-1].of == 4  # four cases, two a step, two epochs
    assert all(p.loss is not None for p in training)


def test_the_record_says_all_and_nothing_of_a_case(done: Done, data: Path, base: Path) -> None:
    path = done[0].path / "finetuning.json"
    found = json.loads(path.read_text())
    assert found["base"]["weights_hash"] == read_card(base).weights_hash
    assert found["cases"] == {"trained": 4, "held_out": 2}  # six phantoms: fold 0 has two
    assert [row["name"] for row in found["dice"]][-1] == "all labels"
    assert "hippocampus_0" not in path.read_text()
    assert str(data) not in path.read_text()


def test_the_scores_are_those_of_the_segmenter(done: Done, data: Path, base: Path) -> None:
    from unetr_app.evaluation import compare
    from unetr_app.io import read_label_map

    rows = json.loads((data / "dataset.json").read_text())["training"]
    held = [row for row in rows if row["fold"] == 0]
    for folder, mine in ((base, done[0].together.before), (done[0].path, done[0].together.after)):
        segmenter = Segmenter.open(folder, device="cpu")
        means = []
        for row in held:
            found = segmenter.segment(read_volume(data / row["image"]))
            truth = read_label_map(data / row["label"], segmenter.card.labels)
            means.append(np.mean([one.dice for one in compare(found, truth)]))
        assert mine == pytest.approx(np.mean(means), abs=1e-3)


def test_a_finished_bundle_is_never_written_over(done: Done, base: Path, data: Path) -> None:
    before = hashes(done[0].path)
    with pytest.raises(InvalidRequest, match="never written over"):
        finetune(data, base, done[0].path, OPTIONS)
    assert hashes(done[0].path) == before


def test_it_cannot_lie_in_its_base(base: Path, data: Path) -> None:
    before = hashes(base)
    with pytest.raises(InvalidRequest, match="the base"):
        finetune(data, base, base / "new", OPTIONS)
    with pytest.raises(InvalidRequest, match="the data set"):
        finetune(data, base, data / "new", OPTIONS)
    assert hashes(base) == before


def _stopping_at(stage: str, epoch: int) -> tuple[Callable[[FinetuneProgress], None], list[bool]]:
    asked: list[bool] = []

    def tell(progress: FinetuneProgress) -> None:
        if progress.stage == stage and progress.epoch >= epoch:
            asked.append(True)

    return tell, asked


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(
    done: Done, base: Path, data: Path, tmp_path: Path
) -> None:
    tell, asked = _stopping_at("training", 1)
    with pytest.raises(Cancelled):
        finetune(
            data, base, tmp_path / "mine", OPTIONS, progress=tell, should_stop=lambda: any(asked)
        )
    assert (tmp_path / "mine" / "unfinished" / "train" / "last.pt").is_file()
    with pytest.raises((UnusableBundle, InvalidRequest)):  # half a bundle is none
        read_card(tmp_path / "mine")
    with pytest.raises(InvalidRequest, match="other options"):
        finetune(data, base, tmp_path / "mine", FinetuneOptions(epochs=3, rename=RENAME))
    told: list[FinetuneProgress] = []
    again = finetune(data, base, tmp_path / "mine", OPTIONS, progress=told.append)
    assert "before" not in {p.stage for p in told}
    one, two = (
        torch.load(folder / "models" / "model.pt", weights_only=True)
        for folder in (done[0].path, again.path)
    )
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_killed_parent_takes_its_child_along(base: Path, data: Path, tmp_path: Path) -> None:
    code = (
        "from tests.finetuning_files import RENAME\n"
        "from unetr_app.finetuning import FinetuneOptions, finetune\n"
        f"options = FinetuneOptions(epochs=500, rename=RENAME, device='cpu')\n"
        f"finetune({str(data)!r}, {str(base)!r}, {str(tmp_path / 'mine')!r}, options)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    progress = tmp_path / "mine" / "unfinished" / "train" / "progress.json"
    deadline = time.monotonic() + 120
    while not progress.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    time.sleep(2)
    there = progress.read_text()
    time.sleep(2)
    assert progress.read_text() == there


def test_other_labels_are_refused_with_both_lists(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidRequest, match="1 Anterior, 2 Posterior; the bundle's are 1 Anterior h"
    ):
        finetune(data, base, tmp_path / "new", FinetuneOptions(device="cpu"))
    assert not (tmp_path / "new").exists()


def test_keys_that_a_foreign_config_lacks_are_named(base: Path, data: Path, tmp_path: Path) -> None:
    foreign = shutil.copytree(base, tmp_path / "foreign_segmentation")
    path = foreign / "configs" / "train.yaml"
    kept = path.read_text().replace("initial_weights:", "other:").replace("ema_momentum:", "ema2:")
    path.write_text(kept)
    with pytest.raises(InvalidRequest, match="not trusted"):
        finetune(data, foreign, tmp_path / "new", OPTIONS)
    trust(foreign)
    with pytest.raises(UnusableBundle, match="lacks initial_weights, ema_momentum"):
        finetune(data, foreign, tmp_path / "new", OPTIONS)
    path.unlink()
    trust(foreign)
    with pytest.raises(UnusableBundle, match=r"no configs/train\.yaml"):
        finetune(data, foreign, tmp_path / "new", OPTIONS)


def test_weights_of_another_network_are_told_of_in_words(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child's work and words, without the seconds that a process takes to begin."""

    def here(job: dict[str, Any], folder: Path, **_: object) -> int:
        try:
            child._score(job)
        except Exception as error:
            child._tell(error, folder / "error.json")
        raise child_process._error_of(1, folder / "error.json")

    monkeypatch.setattr("unetr_app.finetuning.stages.run_child", here)
    odd = shutil.copytree(base, tmp_path / "odd_segmentation")
    torch.save({"one": torch.zeros(3)}, odd / "models" / "model.pt")
    with pytest.raises(UnusableWeights, match="not those of"):
        finetune(data, odd, tmp_path / "new", OPTIONS)


def test_an_image_on_both_sides_is_refused(base: Path, data: Path, tmp_path: Path) -> None:
    leaking = shutil.copytree(data, tmp_path / "leaking")
    index = json.loads((leaking / "dataset.json").read_text())
    held = next(row for row in index["training"] if row["fold"] == 0)
    trained = next(row for row in index["training"] if row["fold"] == 1)
    for key in ("image", "label"):
        shutil.copyfile(leaking / held[key], leaking / trained[key])
    with pytest.raises(InvalidRequest, match="the same image"):
        finetune(leaking, base, tmp_path / "new", OPTIONS)


def test_the_command_shows_a_table_and_says_what_to_make_of_it(
    done: Done, base: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What the run of `done` told and gave, through the command's own words and figures."""
    asked: list[tuple[object, ...]] = []

    def same_again(
        *words: object, progress: Callable[[FinetuneProgress], None], **_: object
    ) -> Finetuned:
        asked.append(words)
        for one in done[2]:
            progress(one)
        return done[0]

    monkeypatch.setattr("unetr_app.finetuning.finetune", same_again)
    out = tmp_path / "mine"
    words = [
        "finetune", str(data), "-b", str(base), "-o", str(out), "--epochs", "2",
        "--rename", RENAME, "--device", "cpu", "--learning-rate", "1e-3",
    ]  # fmt: skip
    code = main(words)
    said = capfd.readouterr()
    assert asked == [(str(data), base, out, OPTIONS)]
    assert code == (3 if done[0].verdict == "worse" else 0)
    assert "Dice before" in said.out
    assert done[0].advice in said.out.replace("\n", " ")
    assert ("use it with" in said.out) == (done[0].verdict != "worse")
    assert "epoch 2 of 2" in said.err


def test_a_damaged_image_is_named_before_anything_is_trained(
    base: Path, data: Path, tmp_path: Path
) -> None:
    damaged = shutil.copytree(data, tmp_path / "damaged")
    image = min((damaged / "imagesTr").iterdir())
    image.write_bytes(image.read_bytes()[:-200])
    with pytest.raises(UnreadableInput, match=f"{image.name}.*take the case out"):
        finetune(damaged, base, tmp_path / "new", OPTIONS)
    assert not (tmp_path / "new").exists()


def test_the_index_of_a_data_set_is_as_good_as_its_folder(base: Path, data: Path) -> None:
    with pytest.raises(InvalidRequest, match="the folder of the data set"):
        finetune(data / "dataset.json", base, data / "new", OPTIONS)
