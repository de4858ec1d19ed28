"""Compressed pixels: exact where decoders are, and harmless where they fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from tests.io_files import save_series, series_values
from unetr_app.errors import UnreadableInput
from unetr_app.geometry import Geometry
from unetr_app.io import read_volume
from unetr_app.io.dicom import decoding, pixel_file
from unetr_app.io.dicom.decoding import Decoder, close_decoders, decode_frame
from unetr_app.io.dicom.slice import read_slice

BIG = Geometry((40, 36, 4), np.diag([-1.0, -1.0, 2.0, 1.0]))


def _packed(path: Path) -> tuple[bytes, dict[str, int | str]]:
    dataset = pydicom.dcmread(path)
    options = {
        "transfer_syntax_uid": str(dataset.file_meta.TransferSyntaxUID), "pixel_vr": "OB",
        "pixel_keyword": "PixelData", "photometric_interpretation": "MONOCHROME2",
        "rows": dataset.Rows, "columns": dataset.Columns, "samples_per_pixel": 1,
        "bits_allocated": 16, "bits_stored": 16, "pixel_representation": 0, "number_of_frames": 1,
    }  # fmt: skip
    return next(generate_frames(dataset.PixelData, number_of_frames=1)), options


def _compress(paths: list[Path], tool: str, *options: str) -> None:
    command = shutil.which(tool)
    if command is None:
        pytest.skip(f"{tool} of dcmtk is not installed")
    for path in paths:
        subprocess.run([command, *options, path, path], check=True, capture_output=True)


@pytest.fixture
def rle(tmp_path: Path) -> list[Path]:
    paths = save_series(tmp_path / "series")
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    return paths


@pytest.mark.parametrize(
    ("tool", "options", "needed"),
    [
        ("dcmcjpeg", ["+e1"], "gdcm"), ("dcmcjpeg", ["+el"], "gdcm"),
        ("dcmcjpls", ["+el"], "gdcm"), ("dcmcrle", [], ""),
    ],
)  # fmt: skip
def test_lossless_syntaxes_give_exact_values(
    tmp_path: Path, tool: str, options: list[str], needed: str
) -> None:
    if needed:
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    _compress(save_series(tmp_path), tool, *options)
    assert np.array_equal(read_volume(tmp_path).data[0], series_values())


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", ["90", "201"])
def test_jpeg_2000_gives_exact_values(tmp_path: Path, syntax: str, signed: bool) -> None:
    """201 is the high-throughput form, which pydicom does not decode by itself.

    No encoder of it is at hand: its decoder takes the ordinary form too.
    """
    openjpeg = pytest.importorskip("openjpeg.utils", reason="pylibjpeg-openjpeg is not installed")
    expected = np.empty(BIG.shape, np.float32)
    for n, path in enumerate(save_series(tmp_path, BIG)):
        dataset = pydicom.dcmread(path)
        stored = dataset.pixel_array.astype("<i2" if signed else "<u2") - (900 if signed else 0)
        expected[..., n] = stored.T - 1024.0
        dataset.PixelRepresentation = int(signed)
        frame = openjpeg.encode_array(stored)
        dataset.PixelData = encapsulate([bytes(frame)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{syntax}"
        dataset.save_as(path)
    assert np.array_equal(read_volume(tmp_path).data[0], expected)


@pytest.mark.parametrize("options", [["+eb"], ["+ee"]])
def test_lossy_jpeg_of_eight_bits_is_near(tmp_path: Path, options: list[str]) -> None:
    pytest.importorskip("gdcm", reason="python-gdcm is not installed")
    paths = save_series(tmp_path, BIG)
    for n, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        ramp = np.add.outer(np.arange(36), np.arange(40)) + 20 * n
        dataset.PixelData = ramp.astype(np.uint8).tobytes()
        dataset["PixelData"].VR = "OB"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.save_as(path)
    before = read_volume(tmp_path)
    _compress(paths, "dcmcjpeg", *options, "+q", "95")
    after = read_volume(tmp_path)
    assert np.abs(after.data - before.data).max() <= 4
    assert after.geometry == before.geometry


def test_jpeg_extended_of_twelve_bits_is_as_dcmtk_has_it(tmp_path: Path) -> None:
    pytest.importorskip("gdcm", reason="python-gdcm is not installed")
    paths = save_series(tmp_path / "packed", BIG)
    for n, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        ramp = np.add.outer(40 * np.arange(36), 30 * np.arange(40)) + n
        dataset.PixelData = ramp.astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.save_as(path)
    _compress(paths, "dcmcjpeg", "+ee")
    shutil.copytree(tmp_path / "packed", tmp_path / "plain")
    _compress(sorted((tmp_path / "plain").iterdir()), "dcmdjpeg")
    found = read_volume(tmp_path / "packed")
    assert np.array_equal(found.data, read_volume(tmp_path / "plain").data)
    assert found.data.max() > 1500  # beyond eight bits


# --- what goes wrong costs one case ----------------------------------------------------------


def _child(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.abort()", "crash"),
        ("import os, signal; os.kill(os.getpid(), 11)", "crash"),
        ("import sys; sys.stdin.buffer.readline(); print('nonsense', flush=True)", "crash"),
        ("import sys; sys.stdin.buffer.readline(); print('{\"bytes\": 99999999}')", "size"),
        ("while True: pass", "more than 0.5 s"),
    ],
)  # fmt: skip
def test_a_decoder_that_fails_is_an_error_of_its_file(
    rle: list[Path], code: str, words: str
) -> None:
    decoder = Decoder(seconds=0.5 if "while" in code else 30, command=_child(code))
    began = time.monotonic()
    with pytest.raises(UnreadableInput, match=words) as caught:
        decoder.decode(*_packed(rle[0]), rle[0])
    assert time.monotonic() - began < 20
    assert caught.value.cure
    assert caught.value.cause.startswith("IM0000.dcm: ")
    assert not decoder.is_alive
    assert np.array_equal(decode_frame(*_packed(rle[1]), rle[1]).shape, (6, 5))


def test_one_child_serves_many_frames_and_another_follows_a_dead_one(rle: list[Path]) -> None:
    close_decoders()
    read_volume(rle[0].parent)
    (idle,) = decoding._idle
    read_volume(rle[0].parent)
    assert decoding._idle == [idle]
    idle[1].close()
    assert np.array_equal(read_volume(rle[0].parent).data[0], series_values())
    assert decoding._idle != [idle]
    close_decoders()
    assert not decoding._idle


def test_threads_decode_side_by_side(rle: list[Path]) -> None:
    found: list[bool] = []

    def read() -> None:
        found.append(np.array_equal(read_volume(rle[0].parent).data[0], series_values()))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 3
    close_decoders()


@pytest.mark.skipif(sys.platform != "linux", reason="memory of a process is limited on Linux only")
def test_memory_has_a_limit(rle: list[Path]) -> None:
    """A frame of 16384 x 16384 is far beyond what 700 MB hold several times over."""
    decoder = Decoder(memory_bytes=700 * 2**20)
    source, options = _packed(rle[0])
    with pytest.raises(UnreadableInput, match=r"memory|damaged|crash"):
        decoder.decode(source, {**options, "rows": 16384, "columns": 16384}, rle[0])
    if decoder.is_alive:
        assert decoder.decode(source, options, rle[0]).shape == (6, 5)
        decoder.close()


def test_a_picture_that_lies_about_its_size_costs_its_case(tmp_path: Path) -> None:
    """The codestream says 64000 x 64000 where the headers say 40 x 36: a bomb."""
    openjpeg = pytest.importorskip("openjpeg.utils", reason="pylibjpeg-openjpeg is not installed")
    for path in save_series(tmp_path, BIG):
        dataset = pydicom.dcmread(path)
        frame = bytearray(openjpeg.encode_array(dataset.pixel_array.astype("<u2")))
        at = frame.index(b"\xff\x51") + 6  # Xsiz, Ysiz of the SIZ marker (ISO 15444-1 A.5.1)
        for place in (at, at + 4, at + 16, at + 20):
            frame[place : place + 4] = (64000).to_bytes(4, "big")
        dataset.PixelData = encapsulate([bytes(frame)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
        dataset.save_as(path)
    with pytest.raises(UnreadableInput, match=r"memory|damaged|crash") as caught:
        read_volume(tmp_path)
    assert caught.value.cure


@pytest.mark.parametrize(("options", "marker"), [(["+e1"], b"\xff\xc3"), (["+eb"], b"\xff\xc0")])
def test_a_jpeg_that_lies_about_its_size_costs_its_case(
    tmp_path: Path, options: list[str], marker: bytes
) -> None:
    """The same for the frame header (SOF) of JPEG: 65500 x 65500."""
    pytest.importorskip("gdcm", reason="python-gdcm is not installed")
    paths = save_series(tmp_path, BIG)
    if options == ["+eb"]:
        for path in paths:
            dataset = pydicom.dcmread(path)
            dataset.PixelData = (dataset.pixel_array % 251).astype(np.uint8).tobytes()
            dataset["PixelData"].VR = "OB"
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
            dataset.save_as(path)
    _compress(paths, "dcmcjpeg", *options)
    for path in paths:
        whole = bytearray(path.read_bytes())
        at = whole.index(marker) + 5
        whole[at : at + 4] = (65500).to_bytes(2, "big") * 2
        path.write_bytes(whole)
    with pytest.raises(UnreadableInput, match=r"memory|damaged|crash|more than"):
        read_volume(tmp_path)


def test_headers_that_promise_what_no_scan_packs_into_are_refused_at_once(
    rle: list[Path],
) -> None:
    for path in rle:
        dataset = pydicom.dcmread(path)
        dataset.Rows = dataset.Columns = 8000
        dataset.save_as(path)
    began = time.monotonic()
    with pytest.raises(UnreadableInput, match="bytes"):
        read_volume(rle[0].parent)
    assert time.monotonic() - began < 5


def test_noise_in_the_pixels_raises_only_our_errors(rle: list[Path]) -> None:
    dataset = pydicom.dcmread(rle[2])
    rng = np.random.default_rng(0)
    for syntax in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80",
                   "1.2.840.10008.1.2.4.90", RLELossless):  # fmt: skip
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([rng.bytes(200)])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(rle[2])
        with pytest.raises(UnreadableInput):
            read_volume(rle[0].parent)


def test_a_missing_decoder_is_named(rle: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        is_available = False

    monkeypatch.setattr(pixel_file, "get_decoder", lambda uid: Nothing())
    for path in rle:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.80"
        dataset.save_as(path)
    with pytest.raises(UnreadableInput, match=r"IM0000\.dcm: .*JPEG-LS.*python-gdcm"):
        read_volume(rle[0].parent)


# --- deflated files --------------------------------------------------------------------------


def _deflate(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)


def test_deflated_files_read_as_the_others(tmp_path: Path) -> None:
    paths = save_series(tmp_path)
    before = read_volume(tmp_path)
    for path in paths:
        _deflate(path)
    after = read_volume(tmp_path)
    assert np.array_equal(after.data, before.data)
    assert after.geometry == before.geometry


def test_a_deflated_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    path = save_series(tmp_path)[0]
    _deflate(path)
    whole = path.read_bytes()
    meta = 132 + 12 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(engine.compress(bytes(2**24)) for _ in range(8)) + engine.flush()
    path.write_bytes(whole[:meta] + bomb)
    began = time.monotonic()
    with pytest.raises(UnreadableInput, match="deflated DICOM file unpack to more"):
        read_slice(path)
    assert time.monotonic() - began < 5
    path.write_bytes(whole[: meta + 60])
    with pytest.raises(UnreadableInput, match="damaged or cut short"):
        read_slice(path)
