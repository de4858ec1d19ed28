"""A PACS as the input of the command: series in, results back, nothing half, no secrets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pydicom
import pytest

from tests.batch_fakes import FakeSegmenter, manifest_of, write_bundle
from tests.fake_pacs import PATIENT, FakePacs, Handler, serving
from tests.io_files import content, edit_dicom, save_series
from unetr_app import cli
from unetr_app.batch.short_stay import short_stay
from unetr_app.bundle import read_card

SECRET = "s3cret-Canary"


@pytest.fixture
def server(tmp_path: Path) -> Generator[FakePacs]:
    pacs = FakePacs()
    series = save_series(tmp_path / "source")
    pacs.hold(series)
    for n, path in enumerate(save_series(tmp_path / "other", modality="MR")):
        study = pacs.take(series[0].read_bytes())
        edit_dicom(path, StudyInstanceUID=study, SeriesInstanceUID="1.2.3",
                   SOPInstanceUID=f"1.2.3.{n}")  # fmt: skip
        pacs.hold([path])
    report = edit_dicom(series[0], tmp_path / "sr.dcm", Modality="SR", SeriesInstanceUID="1.2.4",
                        SOPInstanceUID="1.2.4.1")  # fmt: skip
    pacs.hold([report])
    with serving(pacs):
        yield pacs


def study_of(server: FakePacs) -> str:
    return next(iter(server.instances.values())).study


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a bundle that is a threshold, and who asks in the environment."""
    write_bundle(tmp_path / "bundle")
    (tmp_path / "scratch").mkdir()
    for name in ("USER", "PASSWORD"):
        monkeypatch.delenv(f"UNETR_DICOMWEB_{name}", raising=False)
    monkeypatch.setenv("UNETR_DICOMWEB_TOKEN", SECRET)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def unetr(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run the command in this process, with a threshold in place of a network."""

    def opened(bundle: Path, **_: Any) -> FakeSegmenter:
        return FakeSegmenter(read_card(bundle))  # pyright: ignore

    fake = ModuleType("unetr_app.inference.segmenter")
    fake.Segmenter = SimpleNamespace(open=opened)  # pyright: ignore
    monkeypatch.setitem(sys.modules, fake.__name__, fake)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        said = capsys.readouterr()
        return checked(folder, code, said.out, said.err)

    return run


def checked(folder: Path, code: int, out: str, err: str) -> tuple[int, str, str]:
    """No traceback, nothing told that is secret, nothing left behind."""
    assert "Traceback" not in err
    left = b"".join(content(folder / "out").values()) if (folder / "out").is_dir() else b""
    for secret in (SECRET, PATIENT):
        assert secret not in out + err
        assert secret.encode() not in left
    assert list((folder / "scratch").iterdir()) == []
    return code, out, err


MAIN = ("-o", "out", "-b", "bundle", "--trust", "--no-preview")


def test_series_are_segmented_and_results_stored(server: FakePacs, unetr: Command, tmp_path: Path):
    study = study_of(server)
    command = ("segment", server.address, "--study", study, *MAIN)
    code, out, err = unetr(*command)
    assert code == 0, err
    assert "2 inputs = 2 done" in out
    assert "2 of 3 series of the study are retrieved; left out: SR" in err
    assert {h.headers["Authorization"] for h in server.heard} == {f"Bearer {SECRET}"}

    (case,) = (p for p in (tmp_path / "out").iterdir() if p.name.startswith("CT-"))
    made = case / "segmentation.dcm"
    uid = str(pydicom.dcmread(made).SOPInstanceUID)
    assert f"Stored: {case.name}/segmentation.dcm" in out
    assert server.instances[uid].data == made.read_bytes()
    sent = server.count("", "POST")
    assert sent == 2
    code, out, err = unetr(*command)  # cases that are done already are stored all the same
    assert code == 0, err
    assert "2 already done" in out
    assert f"Stored: {case.name}/segmentation.dcm" in out
    assert server.count("", "POST") == 2 * sent
    code, out, err = unetr(*command, "--no-store")
    assert code == 0, err
    assert "2 already done" in out
    assert server.count("", "POST") == 2 * sent
    code, out, err = unetr(*command, "--format", "nifti")
    assert code == 0, err
    assert "Nothing was stored" in err
    assert not made.exists()


def test_one_series_can_be_named(server: FakePacs, unetr: Command, tmp_path: Path):
    command = ("segment", server.address, "--study", study_of(server), "--series", "1.2.3", *MAIN)
    code, out, err = unetr(*command)
    assert code == 0, err
    assert "1 input = 1 done" in out
    assert {h.path.split("/")[5] for h in server.heard if "/instances/" in h.path} == {"1.2.3"}


def test_the_manifest_names_the_server_and_a_changed_series_is_done_again(
    server: FakePacs, unetr: Command, folder: Path
):
    command = ("segment", server.address, "--study", study_of(server), "--series", "1.2.3", *MAIN)
    assert unetr(*command)[0] == 0
    (row,) = manifest_of(folder / "out")
    assert str(row["input"]).startswith(f"{server.address}#")
    assert row["input_from_manifest"] == row["input"]
    last = [uid for uid, held in server.instances.items() if held.series == "1.2.3"][-1]
    del server.instances[last]
    code, out, err = unetr(*command)
    assert code == 0, err
    assert "1 input = 1 done" in out
    assert [again["case_id"] for again in manifest_of(folder / "out")] == [row["case_id"]]


def test_a_series_that_cannot_be_retrieved_costs_no_other(
    server: FakePacs, unetr: Command, tmp_path: Path
):
    def refuse(handler: Handler) -> bool:
        if not handler.path.endswith("/instances/1.2.3.2"):
            return False
        handler.say(403)
        return True

    server.troubles.append(refuse)
    command = ("segment", server.address, "--study", study_of(server), *MAIN)
    code, out, err = unetr(*command)
    assert code == 3
    assert "1 input = 1 done" in out
    assert "Failed: MR-" in err
    assert "not retrieved" in err


def test_a_server_that_refuses_is_none_done(server: FakePacs, unetr: Command, tmp_path: Path):
    server.troubles.append(lambda h: h.say(401) is None)
    command = ("segment", server.address, "--study", study_of(server), *MAIN)
    code, _, err = unetr(*command)
    assert code == 4
    assert "UNETR_DICOMWEB_TOKEN" in err
    assert len(server.heard) == 1
    assert not (tmp_path / "out").exists()


def test_a_study_without_images_is_none_done(server: FakePacs, unetr: Command, tmp_path: Path):
    code, _, err = unetr("segment", server.address, "--study", "9.9", *MAIN)
    assert code == 4
    assert "no images were found" in err


def test_a_plan_retrieves_nothing(server: FakePacs, unetr: Command, tmp_path: Path):
    command = ("segment", server.address, "--study", study_of(server), *MAIN, "--dry-run")
    code, out, _ = unetr(*command)
    assert code == 0
    assert "3 series, of which 2 would be retrieved" in out
    assert server.count("/instances") == 0
    assert not (tmp_path / "out").exists()


def test_inspect_lists_and_with_a_folder_judges(server: FakePacs, unetr: Command, tmp_path: Path):
    command = ("inspect", server.address, "--study", study_of(server), "--json")
    code, out, _ = unetr(*command)
    assert code == 0
    rows = {row["modality"]: row for row in json.loads(out)}
    assert {m: row["taken"] for m, row in rows.items()} == {"CT": True, "MR": True, "SR": False}
    assert rows["MR"]["series_uid"] == "1.2.3"
    code, out, _ = unetr(*command, "--download", "kept")
    assert code == 0
    judged = json.loads(out)
    assert {row["kind"] for row in judged} == {"regular"}
    assert {row["case_id"] for row in judged} == {rows[m]["case_id"] for m in ("CT", "MR")}
    assert len(content(tmp_path / "kept")) == sum(rows[m]["instances"] for m in ("CT", "MR"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{at}",), "no study is named"),
        (("{at}", "--study", "../1"), "--study gives is no UID"),
        (("{at}", "--study", "1.2", "--series", "x"), "--series gives is no UID"),
        (("{at}", "bundle", "--study", "1.2"), "beside other inputs"),
        (("bundle", "--study", "1.2"), "about a DICOMweb server"),
        (("dicomweb://u:" + SECRET + "@host/x", "--study", "1.2"), "name or password"),
        (("https://host/x", "--study", "1.2"), "Write dicomweb://"),
        (("dicomweb+http://192.0.2.1/x", "--study", "1.2"), "--plain-http"),
    ],
)
@pytest.mark.parametrize("command", ["segment", "inspect"])
def test_what_does_not_fit_together_is_usage(
    server: FakePacs, unetr: Command, tmp_path: Path, command: str, arguments: tuple[str, ...],
    said: str,
):  # fmt: skip
    words = [word.format(at=server.address) for word in arguments]
    code, _, err = unetr(command, *words, *(MAIN if command == "segment" else ()))
    assert code == 2
    assert said in err
    assert server.heard == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "where", "nth"), [(signal.SIGINT, "/instances/", 3), (signal.SIGTERM, "/series?", 1)]
)
def test_a_signal_leaves_nothing_half(
    server: FakePacs, unetr: Command, folder: Path, number: int, where: str, nth: int
):
    reached = threading.Event()

    def dawdle(handler: Handler) -> bool:
        if where in handler.path and server.count(where) >= nth:
            reached.set()
            time.sleep(30)
        return False

    server.troubles.append(dawdle)
    command = ("segment", server.address, "--study", study_of(server), *MAIN, "--download", "kept")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.batch_fakes", "0", *command],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert reached.wait(60)
    begun = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert checked(folder, process.returncode, out, err)[0] == 128 + number
    assert time.monotonic() - begun < 10
    kept = content(folder / "kept") if (folder / "kept").is_dir() else {}
    held = {instance.data for instance in server.instances.values()}
    assert set(kept.values()) <= held
    assert len(kept) == nth - 1
    server.troubles.clear()
    assert unetr(*command)[0] == 0


def test_what_a_killed_process_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stale, young = tmp_path / "unetr-images-dead", tmp_path / "unetr-images-new"
    for folder in (stale, young):
        folder.mkdir()
        (folder / "slice.dcm").write_bytes(b"")
    (tmp_path / "unetr-images-link").symlink_to(tmp_path / "elsewhere")
    os.utime(stale, (0, 0))
    with short_stay() as folder:
        assert not stale.exists()
        assert young.exists()
        if os.name != "nt":
            assert folder.stat().st_mode & 0o077 == 0
        os.utime(folder, (0, 0))
        with short_stay():
            assert folder.exists()  # its process lives
    assert not folder.exists()
