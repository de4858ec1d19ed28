"""A real PACS: what goes in comes out, voxel for voxel, and results go back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.batch_fakes import write_bundle
from tests.io_files import content, save_series
from tests.orthanc_room import ADDRESS, PASSWORD, USER, Room, missing, orthanc
from unetr_app.errors import RemoteFailure
from unetr_app.io import read_geometry, read_volume
from unetr_app.io.dicom.seg import write_seg
from unetr_app.io.dicom.seg_content import Kind
from unetr_app.io.dicom.seg_reader import read_seg
from unetr_app.io.dicom.series import source_slices
from unetr_app.io.dicom.web.address import Address
from unetr_app.io.dicom.web.client import Pacs
from unetr_app.io.dicom.web.credentials import Credentials, find_credentials
from unetr_app.io.dicom.web.retrieval import choose_series, retrieve
from unetr_app.io.dicom.web.storage import store
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Generator[Room]:
    if reason := missing():
        pytest.skip(f"no Orthanc in a network of its own: {reason}")
    with orthanc(tmp_path_factory.mktemp("orthanc")) as found:
        yield found


@pytest.fixture
def pacs() -> Generator[Pacs]:
    address = Address.parse(ADDRESS)
    known = {"UNETR_DICOMWEB_USER": USER, "UNETR_DICOMWEB_PASSWORD": PASSWORD}
    with Pacs(address, credentials=find_credentials(address, known)) as pacs:
        yield pacs


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return save_series(tmp_path_factory.mktemp("series"))


@pytest.fixture
def study(room: Room, pacs: Pacs, series: list[Path]) -> str:
    study = str(pydicom.dcmread(series[0]).StudyInstanceUID)
    ended = room.run(lambda: store(pacs, study, series))
    assert [one.error for one in ended] == [None] * len(series)
    return study


def test_the_room_has_no_way_out(room: Room):
    assert room.run(lambda: [name for _, name in socket.if_nameindex()]) == ["lo"]
    assert os.readlink("/proc/self/ns/net") != room.run(
        lambda: os.readlink("/proc/thread-self/ns/net")
    )


def test_a_series_comes_back_voxel_for_voxel(
    room: Room, pacs: Pacs, study: str, series: list[Path], tmp_path: Path
):
    def fetch() -> Path:
        found = pacs.find_series(study)
        assert [(s.modality, s.instances) for s in found if s.modality == "CT"] == [
            ("CT", len(series))
        ]
        (folder,) = retrieve(pacs, study, choose_series(found), tmp_path).folders
        return folder

    got, meant = read_volume(room.run(fetch)), read_volume(series[0].parent)
    assert got.geometry == meant.geometry
    assert np.array_equal(got.data, meant.data)


def segmentation_of(series: list[Path]) -> Segmentation:
    """Two labels on a series."""
    grid = read_geometry(series[0].parent)
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:5, 1:4, 1:3] = 1
    labels[0:3, 0:2, 2:4] = 2
    return Segmentation(labels, grid, LabelSet.from_names({1: "One", 2: "Two"}))


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_a_segmentation_goes_in_and_comes_back_and_goes_in_again(
    room: Room, pacs: Pacs, study: str, series: list[Path], tmp_path: Path, kind: Kind
):
    meant, path = segmentation_of(series), tmp_path / "segmentation.dcm"
    write_seg(meant, [s.path for s in source_slices(series)], path, kind=kind)
    made = pydicom.dcmread(path)
    uid = str(made.SeriesInstanceUID)

    def there_and_back() -> Path:
        for _ in range(2):
            assert [one.error for one in store(pacs, study, [path])] == [None]
            assert pacs.find_instances(study, uid) == [str(made.SOPInstanceUID)]
        found = pacs.find_series(study)
        (folder,) = retrieve(pacs, study, choose_series(found, [uid]), tmp_path / "back").folders
        return folder

    (back,) = room.run(there_and_back).iterdir()
    found = read_seg(back, meant.geometry)
    assert np.array_equal(found.label_map, meant.label_map)
    assert found.labels.names == meant.labels.names


def test_what_the_server_refuses_is_told(
    room: Room, pacs: Pacs, study: str, series: list[Path], monkeypatch: pytest.MonkeyPatch
):
    send = pacs.send
    monkeypatch.setattr(pacs, "send", lambda _, path: send("1.2.3", path))
    (ended,) = room.run(lambda: store(pacs, study, series[:1]))
    assert "did not store IM0000.dcm: it could not be processed" in str(ended.error)
    assert "0110" in str(ended.error)


def test_what_is_not_there(room: Room, pacs: Pacs, study: str, tmp_path: Path):
    assert room.run(lambda: pacs.find_series("1.2.3")) == []
    with pytest.raises(RemoteFailure, match="HTTP 404"):
        room.run(lambda: pacs.fetch(study, "1.2", "1.3", tmp_path / "x.dcm", most=2**20))
    assert content(tmp_path) == {}


def test_who_asks_must_be_known(room: Room, tmp_path: Path):
    address = Address.parse(ADDRESS)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")

    def ask(credentials: Credentials) -> object:
        with Pacs(address, credentials=credentials) as pacs:
            return room.run(lambda: pacs.find_series("1.2.3"))

    assert ask(find_credentials(address, {"NETRC": str(netrc)})) == []
    wrong = {"UNETR_DICOMWEB_USER": USER, "UNETR_DICOMWEB_PASSWORD": "wrong"}
    for credentials in (Credentials(""), find_credentials(address, wrong)):
        with pytest.raises(RemoteFailure, match="HTTP 401"):
            ask(credentials)


@pytest.mark.filterwarnings("ignore")
def test_the_command_takes_a_study_and_gives_results_back(
    room: Room, pacs: Pacs, study: str, series: list[Path], tmp_path: Path
):
    write_bundle(tmp_path / "bundle")
    (tmp_path / "scratch").mkdir()
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1",
        "TMPDIR": str(tmp_path / "scratch"), "UNETR_DICOMWEB_USER": USER,
        "UNETR_DICOMWEB_PASSWORD": PASSWORD,
    }  # fmt: skip

    def segment() -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tests.batch_fakes", "0", "segment", ADDRESS, "--study", study,
             "-o", "out", "-b", "bundle", "--trust", "--no-preview"],
            cwd=tmp_path, text=True, env=environment, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout

    assert "1 input = 1 done" in room.run(segment)
    (case,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    made = pydicom.dcmread(case / "segmentation.dcm")
    uid = str(made.SeriesInstanceUID)
    for _ in range(2):  # the object is sent again, and is there once
        assert room.run(lambda: pacs.find_instances(study, uid)) == [str(made.SOPInstanceUID)]
        assert f"Stored: {case.name}/segmentation.dcm" in room.run(segment)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not any(PASSWORD.encode() in data for data in content(tmp_path / "out").values())
