"""Fetching: from a server, an archive or a folder at hand, always verified, with folds."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data import fetch as fetching
from data import phantom
from unetr_app.errors import InvalidRequest, UnreadableInput, UnwritableOutput

NAME = "Task99_Phantom"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A data set without folds, and its archive."""
    root = tmp_path_factory.mktemp("source")
    folder = phantom.write_msd_dataset(root / NAME, cases=6, shape=(16, 18, 14))
    about = json.loads((folder / "dataset.json").read_text())
    for row in about["training"]:
        del row["fold"]
    (folder / "dataset.json").write_text(json.dumps(about))
    with tarfile.open(root / f"{NAME}.tar", "w") as tar:
        tar.add(folder, NAME)
        note = tarfile.TarInfo(f"{NAME}/imagesTr/._hippocampus_001.nii.gz")
        note.size = 4
        tar.addfile(note, io.BytesIO(b"note"))
    return root


@pytest.fixture
def sources(source):
    """Address and md5 of the archive, on a server of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            return

    handler = functools.partial(Quiet, directory=str(source))
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    md5 = hashlib.md5((source / f"{NAME}.tar").read_bytes(), usedforsecurity=False).hexdigest()
    yield {NAME: (f"http://127.0.0.1:{httpd.server_port}/{NAME}.tar", md5)}
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def folds(dataset):
    return sorted(row["fold"] for row in dataset.training)


def test_a_set_arrives_verified_with_folds_and_no_archive_left(sources, tmp_path):
    dataset = fetching.fetch(NAME, tmp_path, sources=sources)
    assert folds(dataset) == [0, 0, 1, 2, 3, 4]
    assert [p.name for p in tmp_path.iterdir()] == [NAME]
    assert not list(tmp_path.rglob("._*"))


def test_a_set_that_is_there_is_checked_not_fetched(sources, tmp_path):
    fetching.fetch(NAME, tmp_path, sources=sources)
    again = fetching.fetch(NAME, tmp_path, sources={})
    assert folds(again) == [0, 0, 1, 2, 3, 4]
    label = tmp_path / NAME / again.training[0]["label"]
    label.write_bytes(label.read_bytes()[:-50])
    with pytest.raises(UnreadableInput, match=r"1 of 6 cases are unsound: hippocampus_001"):
        fetching.fetch(NAME, tmp_path, sources={})


def test_a_wrong_checksum_leaves_nothing(sources, tmp_path):
    wrong = {NAME: (sources[NAME][0], "0" * 32)}
    with pytest.raises(UnreadableInput, match="not 0000"):
        fetching.fetch(NAME, tmp_path, sources=wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_copy_at_hand_is_taken_and_left_as_it_is(source, sources, tmp_path, kind):
    at_hand = source / (NAME if kind == "folder" else f"{NAME}.tar")
    before = (source / NAME / "dataset.json").read_bytes()
    nowhere = {NAME: ("http://127.0.0.1:9/", sources[NAME][1])}
    dataset = fetching.fetch(NAME, tmp_path, at_hand=at_hand, sources=nowhere)
    assert folds(dataset) == [0, 0, 1, 2, 3, 4]
    assert (source / NAME / "dataset.json").read_bytes() == before
    assert at_hand.exists()


def test_another_archive_at_hand_is_refused_and_left(tmp_path, sources):
    other = tmp_path / "other.tar"
    other.write_bytes(b"x" * 1000)
    with pytest.raises(UnreadableInput, match="another file"):
        fetching.fetch(NAME, tmp_path / "sets", at_hand=other, sources=sources)
    assert other.exists()


def test_a_folder_at_hand_is_not_copied_over_another(source, tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(UnwritableOutput, match="there already"):
        fetching.fetch(NAME, tmp_path, at_hand=source / NAME)


@pytest.mark.parametrize("name", ["../up", "no_such_task", ""])
def test_unknown_names_are_refused(tmp_path, name):
    with pytest.raises(InvalidRequest):
        fetching.fetch(name, tmp_path, sources={NAME: ("", "")})
    assert list(tmp_path.iterdir()) == []


def test_monai_names_all_ten_tasks():
    table = fetching.decathlon_sources()
    assert len(table) == 10
    assert table["Task04_Hippocampus"][1] == "9d24dba78a72977dbd1d2e110310f31b"


def test_the_command_line_says_what_it_did_or_why_not(source, tmp_path, capsys):
    arguments = [NAME, "--to", str(tmp_path / "sets"), "--from", str(source / NAME)]
    assert fetching.main(arguments) == 0
    assert "6 cases, 5 folds" in capsys.readouterr().out
    assert fetching.main([NAME, "--to", str(tmp_path / "b"), "--from", str(tmp_path / "no")]) == 1
    assert "Traceback" not in capsys.readouterr().err
