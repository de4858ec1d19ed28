from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.test_explain_runner import write_image
from unetr_app import cli
from unetr_app.cli.chosen_encoder import parse_options, parse_triple
from unetr_app.errors import InvalidRequest
from unetr_app.notice import RESEARCH_NOTICE

Command = Callable[..., tuple[int, str, str]]

# An untrained encoder that is quick to build and to run.
VIT = ("--encoder", "vit", "--option", "embed_dim=24", "--option", "depth=2", "--option",
       "num_heads=2", "--option", "patch_size=8,16,16", "--roi-size", "32,64,64")  # fmt: skip


@pytest.fixture
def unetr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run the command in a folder with ``in`` (two images) and ``labels``."""
    for seed in range(2):
        write_image(tmp_path / "in" / f"case_{seed}.nii.gz", seed)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["explain", *arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return run


def test_help_is_quick_and_has_examples():
    code = (
        "from unetr_app.cli import main\nassert main(['explain', '--help']) == 0\nimport sys\n"
        "heavy = {'torch', 'monai', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Examples:" in ended.stdout
    assert "[IMAGE]..." in ended.stdout


def test_noise_is_enough_for_the_receptive_field(unetr: Command, tmp_path: Path):
    code, out, err = unetr("-o", "out", *VIT)
    assert code == 0
    assert "weights are random" in err
    head, *rows = out.splitlines()
    assert head.split()[:3] == ["Map", "Stride", "Channels"]
    assert rows[0].split()[:6] == ["0", "8", "x", "16", "x", "16"]
    assert rows[1].rstrip().endswith("-")  # no millimetres
    assert RESEARCH_NOTICE in out
    assert (tmp_path / "out/receptive_field.png").is_file()
    assert not (tmp_path / "out/tsne.png").exists()


def test_the_seed_makes_the_weights(unetr: Command, tmp_path: Path):
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert unetr("-o", out, *VIT, "--seed", seed)[0] == 0
    first, again, other = (
        np.load(tmp_path / out / "receptive_field.npz")["mass_1"] for out in "abc"
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_all_that_can_be_shown_of_images(unetr: Command, tmp_path: Path):
    pytest.importorskip("sklearn")
    code, out, err = unetr("in", "-o", "in/out", *VIT, "--labels", "labels", "--at", "7,20,40")
    assert code == 0
    assert "2 images: 2 done, 0 failed." in out
    assert "Written: in/out/tsne.png" in out
    for case in ("case_0", "case_1"):
        assert (tmp_path / f"in/out/{case}/attention.png").is_file()
    assert "1 x 1.5 x 2" not in err
    code, out, _ = unetr("in", "-o", "in/out", *VIT, "--what", "erf", "-q")
    assert code == 0
    assert "2 images: 2 done" in out  # what was written before is no input


def test_some_failed_and_none_done(unetr: Command, tmp_path: Path):
    (tmp_path / "in/case_0.nii.gz").write_bytes(b"nothing")
    code, out, err = unetr("in", "-o", "out", *VIT, "--what", "erf")
    assert code == 3
    assert "failed: case_0: case_0.nii.gz" in err
    assert "2 images: 1 done, 1 failed." in out
    code, out, _ = unetr("in/case_0.nii.gz", "-o", "out2", *VIT, "--what", "erf")
    assert code == 4
    assert not (tmp_path / "out2").exists()
    (tmp_path / "empty").mkdir()
    code, _, err = unetr("empty", "-o", "out2", *VIT)
    assert code == 4
    assert "no images were found" in err


def test_an_encoder_without_attention_is_said_to_have_none(unetr: Command):
    mixer = ("--encoder", "mixer", "--roi-size", "32,64,64", "--option", "embed_dim=24",
             "--option", "depth=1")  # fmt: skip
    code, out, err = unetr("in/case_0.nii.gz", "-o", "out", *mixer)
    assert code == 0
    assert "Note: no attention is shown" in err
    assert "receptive_field.png" in out
    code, _, err = unetr("in/case_0.nii.gz", "-o", "out", *mixer, "--what", "attention")
    assert code == 2
    assert "--what erf" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "out"), "no encoder is named.*--encoder .*vit"),
        (("-o", "", *VIT), "no output folder is named"),
        (VIT, "--output"),
        (("-o", "out", "--encoder", "vti"), "no encoder 'vti'.*There are:.* vit"),
        (("-o", "out", "--encoder", "vit", "--option", "colour=3"), "vit has no option colour"),
        (("-o", "out", "--encoder", "vit", "--option", "depth"), "'depth' is not NAME=VALUE"),
        (("-o", "out", "--encoder", "vit", "--option", "depth=many"), "vit cannot be built"),
        (("-o", "out", "--encoder", "vit", "--roi-size", "50"), "no multiple of patch_size"),
        (("-o", "out", "--encoder", "vit", "--roi-size", "1,2"), "--roi-size is '1,2'"),
        (("-o", "out", "--load", "gone"), "gone: .*no such file"),
        (("-o", "out", "-b", "hippocampus_unetr"), "Did you mean hippocampus_mr_unetr"),
        (("-o", "out", "-b", "x", "--roi-size", "32"), "are for --encoder and --load"),
        (("gone", "-o", "out", *VIT), "gone: there is no such file"),
        (("-o", "out", *VIT, "--what", "tsne"), "need images"),
        (("-o", "out", *VIT, "--what", "magic"), "'magic' cannot be explained"),
        (("in", "-o", "out", *VIT, "--at", "1,2"), "--at is '1,2'"),
        (("in", "-o", "out", *VIT, "--points", "dots"), "points cannot be 'dots'"),
        (("in", "-o", "out", *VIT, "--labels", "gone"), "gone: --labels is no folder"),
        (("-o", "out", *VIT, "--device", "tpu"), "the device 'tpu' is not there"),
        (("-o", "out", *VIT, "--seed", "-4"), "seed -4"),
    ],
)
def test_usage_errors_are_one_line_that_helps(
    unetr: Command, arguments: tuple[str, ...], said: str, tmp_path: Path
):
    code, out, err = unetr(*arguments)
    assert code == 2
    assert not out
    *notes, error = err.splitlines()
    assert all("random" in line for line in notes)
    assert re.search(said, error)
    assert not (tmp_path / "out").exists()


def test_without_scikit_learn_the_rest_is_shown(unetr: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    code, out, err = unetr("in/case_0.nii.gz", "-o", "out", *VIT)
    assert code == 0
    assert "unetr-app[explain]" in err
    assert "attention.png" in out
    code, _, err = unetr("in/case_0.nii.gz", "-o", "out", *VIT, "--what", "tsne")
    assert code == 2
    assert "unetr-app[explain]" in err


@pytest.mark.weights
def test_a_bundle_with_its_own_preprocessing(unetr: Command, tmp_path: Path):
    bundle = ("-b", "hippocampus_mr_unetr_segmentation")
    write_image(tmp_path / "one" / "small.nii.gz", 0, (30, 20, 18))
    code, out, err = unetr("one", "-o", "out", *bundle, "--what", "erf,attention")
    assert code == 0
    assert "Note: small: field of view" in err
    assert "40 x 56 x 40" in out
    arrays = np.load(tmp_path / "out/small/attention.npz")
    assert arrays["blocks.8.attention"].shape == (6, 5, 7, 5)
    np.testing.assert_allclose(arrays["blocks.8.attention"].sum(axis=(1, 2, 3)), 1, atol=1e-4)
    code, out, _ = unetr("one", "-o", "out2", *bundle, "--encoder", "vit", "--what", "erf",
                         "--option", "patch_size=8", "--option", "embed_dim=24",
                         "--option", "num_heads=2", "--option", "depth=1")  # fmt: skip
    assert code == 0
    assert "40 x 56 x 40" in out


def test_numbers_and_options_are_parsed():
    assert parse_triple("", "--at") is None
    for wrong in ("1", "1,2,3,4", "1,-2,3", "1.5,2,3", "a,b,c"):
        with pytest.raises(InvalidRequest, match="--at"):
            parse_triple(wrong, "--at")
    assert parse_options(["a=1", "b=0.5", "c=null", "d=x=y", "e=1, 2"]) == {
        "a": 1, "b": 0.5, "c": None, "d": "x=y", "e": (1, 2),
    }  # fmt: skip
    for wrong in ("=1", "a b=1", "1a=2"):
        with pytest.raises(InvalidRequest, match="NAME=VALUE"):
            parse_options([wrong])
