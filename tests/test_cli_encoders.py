"""``unetr encoders`` tells what there is, what a checkpoint becomes, and why one is refused."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.vit_files import vit_config, vit_state, write_vit
from unetr_app.cli import main
from unetr_app.networks import ENCODERS, encoder_from_checkpoint, zoo
from unetr_app.networks.zoo import EncoderCard


@pytest.fixture(scope="module")
def cards() -> dict[str, Any]:
    """What the list says in JSON, by name."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["encoders", "--json"]) == 0
    return {card["name"]: card for card in json.loads(said.getvalue())}


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    return write_vit(tmp_path / "a_vit")


class Said:
    """What a call of the command gave.

    Args:
        code: Exit code.
        out: On the standard output.
        err: On the standard error.
    """

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: object) -> Said:
        code = main(["encoders", *map(str, arguments)])
        return Said(code, *capsys.readouterr())

    return call


def card_again(said: dict[str, Any]) -> EncoderCard:
    """A card from JSON, which has no tuples."""
    strides = tuple(tuple(stride) for stride in said["strides"])
    return EncoderCard(**(said | {"strides": strides, "roi_size": tuple(said["roi_size"])}))


def refusal(said: Said) -> str:
    """The one sentence, after checking that it is one, with a cure, and no result beside it."""
    assert said.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("unetr encoders: ")
    assert said.err.rstrip().endswith(".")
    assert ". " in said.err
    assert "Traceback" not in said.err
    return said.err


def test_every_encoder_is_in_the_list(cards: dict[str, Any]):
    assert list(cards) == sorted(ENCODERS)
    for card in cards.values():
        assert card["roi_size"] == [96, 96, 96]
        assert len(card["channels"]) == len(card["strides"])
        assert all(len(stride) == 3 for stride in card["strides"])
        assert card["parameters"] > 1e6
        assert card["flops"] > 1e9
        assert card["paper"].startswith("arXiv:")
    assert "torchvision MViT" in cards["mvit"]["layouts"]
    assert cards["resnet"]["layouts"] == []


def test_figures_of_vit_b16_by_hand(cards: dict[str, Any]):
    tokens, width = 6**3, 768
    block = 12 * width * width + 13 * width  # linears with their biases, and two norms
    embedding = 16**3 * width + width
    assert cards["vit"]["parameters"] == embedding + tokens * width + 12 * block + 2 * width
    attention = 2 * tokens * tokens * width
    products = tokens * 16**3 * width + 12 * (tokens * 12 * width * width + attention)
    assert cards["vit"]["flops"] == 2 * products


def test_the_table_holds_what_json_holds(
    cards: dict[str, Any], run: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(zoo, "encoder_card", lambda name: card_again(cards[name]))
    said = run()
    assert said.code == 0
    head, *rows, foot = said.out.splitlines()
    assert head.split()[:2] == ["Encoder", "Family"]
    assert [row.split()[0] for row in rows] == sorted(ENCODERS)
    assert "96 x 96 x 96" in foot
    for row in rows:
        card = cards[row.split()[0]]
        assert f" {card['parameters'] / 1e6:.1f} " in row
        assert f" {card['flops'] / 1e9:.1f} " in row
        assert card["paper"].removeprefix("arXiv:") in row
        assert all(layout.split()[0] in row for layout in card["layouts"])
    assert " 4, 8, 16, 32 " in next(row for row in rows if row.startswith("segformer"))
    assert " 1 x 16 x 16 " in next(row for row in rows if row.startswith("timesformer"))


def test_another_size_is_said(cards: dict[str, Any], run: Any, monkeypatch: pytest.MonkeyPatch):
    def card(name: str) -> EncoderCard:
        size = (98,) * 3 if name == "xcit" else (96,) * 3
        return card_again(cards[name] | {"roi_size": size})

    monkeypatch.setattr(zoo, "encoder_card", card)
    assert "xcit with one channel of 98 x 98 x 98 voxels." in run().out.splitlines()


def test_help_needs_no_torch():
    code = (
        "import sys\nfrom unetr_app.cli import main\n"
        "assert main(['encoders', '--help']) == 0\n"
        "assert not {'torch', 'monai', 'numpy'} & sys.modules.keys()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "multiplication with its addition counts as two" in " ".join(ended.stdout.split())


def test_a_checkpoint_is_told_tensor_by_tensor(vit: Path, run: Any):
    said = run("--load", vit)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == (
        "a_vit: timm ViT into vit: 100.0% covered; 28 loaded, 2 inflated, 2 skipped"
    )
    assert lines[1].split() == ["status", "count", "name", "shape", "note"]
    assert any(
        line.split()[:3] == ["inflated", "1", "embed.weight"]
        and below.strip() == "3 channels to 1; spread over depth"
        for line, below in pairwise(lines)
    )
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("loaded") and "blocks.*.norm1.weight" in line for line in lines)
    assert any(line.startswith("skipped") for line in lines)
    assert "classification head" in said.out
    assert "reads 1 channel of 3 axes." in said.out
    assert lines[-1].split() == ["1", "24", "4"]
    assert len(lines) < 40


def test_json_is_what_python_gives(vit: Path, run: Any):
    said = run(
        "--load", vit, "--spatial-dims", 2, "--in-channels", 3, "--roi-size", "16,24",
        "--patch-size", "4,8", "--option", "taps=1,2", "--option", "drop_path=0.1", "--json",
    )  # fmt: skip
    told = json.loads(said.out)
    encoder, report = encoder_from_checkpoint(
        vit, spatial_dims=2, in_channels=3, roi_size=(16, 24), patch_size=(4, 8), taps=(1, 2)
    )
    assert told["checkpoint"] == "a_vit"
    assert (told["layout"], told["encoder"]) == ("timm ViT", "vit")
    assert told["coverage"] == report.coverage == 1.0
    assert told["parameters"] == sum(tensor.numel() for tensor in encoder.parameters())
    assert told["strides"] == [[4, 8], [4, 8]]
    assert told["channels"] == [24, 24]
    assert [(t["name"], t["status"]) for t in told["tensors"]] == [
        (record.name, record.status) for record in report.records
    ]
    assert {"resized", "loaded", "skipped"} == {t["status"] for t in told["tensors"]}


def test_another_family_from_the_same_file(vit: Path, run: Any):
    said = json.loads(run("--load", vit, "--encoder", "timesformer", "--json").out)
    assert said["encoder"] == "timesformer"
    assert said["strides"][0] == [1, 4, 4]
    assert any(t["note"].startswith("zero: ") for t in said["tensors"])


@pytest.mark.parametrize("text", ["taps=1,2", "taps=[1,2]", "taps=[1, 2]"])
def test_lists_as_options(vit: Path, run: Any, text: str):
    assert len(json.loads(run("--load", vit, "--option", text, "--json").out)["strides"]) == 2


def test_every_ending_of_files(tmp_path: Path, run: Any):
    for name in ("w.pt", "w.pth", "w.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (save_file if name.endswith("safetensors") else torch.save)(vit_state(), tmp_path / name)
        said = run("--load", tmp_path / name, "--option", "num_heads=2")
        assert said.code == 0
        assert said.out.startswith(f"{name}: timm ViT into vit")


def test_a_folder_may_be_named_from_within(vit: Path, run: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(vit)
    assert run("--load", ".").out.startswith("a_vit: ")


def test_no_folder_above_the_checkpoint_is_shown(vit: Path, run: Any):
    (vit / "model.safetensors").write_bytes(b"")
    for said in (run("--load", vit), run("--load", vit / "nothing.pt")):
        assert str(vit.parent) not in refusal(said)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.pt", None, "no such file"),
        ("empty.safetensors", b"", "damaged"),
        ("text.pt", b"no checkpoint", "more than tensors"),
        ("folder", {}, "holds no weights"),
        ("numbers.pt", {"epoch": 3}, "no tensors by name"),
        ("other.pt", {"conv.weight": torch.ones(3)}, "no layout that is known here"),
        ("spoilt.pt", vit_state() | {"norm.bias": torch.full((24,), torch.nan)}, "not finite"),
    ],
)
def test_paths_without_a_checkpoint(tmp_path: Path, run: Any, name: str, content: Any, said: str):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == {}:
        path.mkdir()
    elif content is not None:
        torch.save(content, path)
    assert said in refusal(run("--load", path))


def test_no_pickle_is_run(tmp_path: Path, run: Any):
    class Evil:
        def __reduce__(self) -> Any:
            return Path.mkdir, (tmp_path / "ran",)

    torch.save({"state_dict": vit_state(), "extra": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"a": Evil()}))
    for name in ("evil.pt", "evil.pth"):
        assert "could run code" in refusal(run("--load", tmp_path / name))
    assert not (tmp_path / "ran").exists()


def test_a_file_cut_short(vit: Path, run: Any):
    whole = (vit / "model.safetensors").read_bytes()
    for share in (0.01, 0.3, 0.99):
        (vit / "model.safetensors").write_bytes(whole[: int(len(whole) * share)])
        assert "damaged" in refusal(run("--load", vit))


def test_a_file_that_lacks_blocks(vit: Path, run: Any):
    (vit / "config.json").write_text(json.dumps(vit_config(depth=3)))
    assert "holds 2 blocks, and 3 belong" in refusal(run("--load", vit))
    said = refusal(run("--load", vit, "--option", "depth=3"))
    assert "less than 90%" in said
    assert "blocks.2.norm1.weight" in said
    allowed = run("--load", vit, "--option", "depth=3", "--option", "minimum_coverage=0.5")
    assert allowed.code == 0
    assert any(
        line.startswith("missing") and "blocks.*.attention.qkv.weight" in line
        for line in allowed.out.splitlines()
    )


def test_what_no_tensor_tells_is_asked_for(vit: Path, run: Any):
    (vit / "config.json").unlink()
    (vit / "model.safetensors").rename(vit / "weights.safetensors")
    assert "num_heads=" in refusal(run("--load", vit / "weights.safetensors"))


def test_a_configuration_that_is_none(vit: Path, run: Any):
    (vit / "config.json").write_text("{")
    assert "config.json" in refusal(run("--load", vit))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--encoder", "swin"], "holds vit (timm ViT); swin was asked for"),
        (["--encoder", "vitt"], "there is no encoder 'vitt'"),
        (["--spatial-dims", "4"], "must be 2 or 3"),
        (["--spatial-dims", "three"], "'--spatial-dims'"),
        (["--in-channels", "0"], "'--in-channels'"),
        (["--roi-size", "17"], "no multiple of patch_size"),
        (["--roi-size", "16,16"], "must be 3 positive integers"),
        (["--roi-size", "wide"], "--roi-size is 'wide'"),
        (["--roi-size", ""], "--roi-size is ''"),
        (["--patch-size", "0"], "must be 3 positive integers"),
        (["--patch-size", "4", "--option", "patch_size=4"], "Keep one of them."),
        (["--patch-size", "-4"], "--patch-size"),
        (["--patch-size", "1e3"], "--patch-size"),
        (["--option", "taps"], "not NAME=VALUE"),
        (["--option", "=3"], "not NAME=VALUE"),
        (["--option", "tapes=3"], "has no option tapes. Options are: "),
        (["--option", "taps=1,9"], "taps"),
        (["--option", "taps=9"], "make no encoder"),
        (["--option", "num_heads=5"], "no multiple of num_heads"),
        (["--option", "num_heads=many"], "many"),
        (["--option", "positions=spiral"], "there is no positions 'spiral'"),
        (["--option", "minimum_coverage=all"], "no share from 0 to 1"),
        (["--option", "spatial_dims=2"], "Say it with --spatial-dims."),
        (["--option", "roi_size=32"], "Say it with --roi-size."),
        (["--option", "in_channels=3"], "Say it with --in-channels."),
        (["--option", "path=x"], "Say it with --load."),
        (["--quick"], "--quick"),
        (["more"], "more"),
    ],
)
def test_odd_arguments(vit: Path, run: Any, arguments: list[str], said: str):
    assert said in refusal(run("--load", vit, *arguments))


@pytest.mark.parametrize(
    "arguments",
    [["--encoder", "vit"], ["--spatial-dims", 2], ["--in-channels", 1], ["--roi-size", 96],
     ["--patch-size", 8], ["--option", "taps=1"], ["--load", ""]],
)  # fmt: skip
def test_options_of_a_checkpoint_want_one(run: Any, arguments: list[object]):
    assert "--load" in refusal(run(*arguments))


def test_a_published_checkpoint(shared: Path, run: Any):
    folder = shared / "weights" / "dinov2_vit_small_patch14"
    if not folder.is_dir():
        pytest.skip("no DINOv2 weights among the shared data")
    said = json.loads(
        run("--load", folder, "--roi-size", 48, "--patch-size", "8,6,4", "--json").out
    )
    assert said["coverage"] == 1.0
    assert said["strides"] == [[8, 6, 4]] * 4
    assert said["channels"] == [384] * 4
