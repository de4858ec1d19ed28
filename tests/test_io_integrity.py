"""Damage anywhere in a packed file is noticed, whichever byte it hits."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io_files import integers, save_nifti
from unetr_app.errors import UnetrError, UnreadableInput
from unetr_app.io import read_volume
from unetr_app.io.integrity import CheckedStream, open_input

# gzip's flag for text, time stamp, level and system; no checksum covers these, and nobody heeds
# them. The last byte before the checksum ends in bits that fill it up and mean nothing either.
UNCOVERED = range(3, 10)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("packed") / "a.nii.gz"
    return save_nifti(path, integers((9, 8, 7))).read_bytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "a.nii.gz"


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, 10**6))
def test_a_file_cut_anywhere_is_refused(packed: bytes, place: Path, cut: int) -> None:
    place.write_bytes(packed[: cut % len(packed)])
    with pytest.raises(UnreadableInput) as caught:
        read_volume(place)
    assert caught.value.cure
    assert "a.nii.gz" in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_changes_nothing(
    packed: bytes, place: Path, position: int, bit: int
) -> None:
    position %= len(packed)
    damaged = bytearray(packed)
    damaged[position] ^= 1 << bit
    place.write_bytes(damaged)
    try:
        volume = read_volume(place)
    except UnetrError:
        return
    # A header byte that no checksum covers, bits behind the last code, or a repetition that was
    # taken from elsewhere and is the same: then nothing may have changed.
    assert np.array_equal(volume.data[0], integers((9, 8, 7)))
    assert np.array_equal(volume.geometry.affine, nibabel.load(place).affine)
    damaged_data = position not in UNCOVERED and position != len(packed) - 9
    assert not damaged_data or gzip.decompress(bytes(damaged)) == gzip.decompress(packed)


@settings(max_examples=30, deadline=None)
@given(position=st.integers(0, 10**6))
def test_a_block_of_zeros_is_refused(packed: bytes, place: Path, position: int) -> None:
    position = 10 + position % (len(packed) - 40)
    place.write_bytes(packed[:position] + bytes(30) + packed[position + 30 :])
    with pytest.raises(UnetrError):
        read_volume(place)


def test_nibabel_alone_would_have_missed_it(packed: bytes, place: Path) -> None:
    place.write_bytes(packed[:-8] + b"\0\0\0\0" + packed[-4:])  # a wrong checksum
    assert nibabel.load(place).get_fdata().shape == (9, 8, 7)
    with pytest.raises(UnreadableInput, match="damaged"):
        read_volume(place)


def test_several_members_and_padding_are_one_stream(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one ") + gzip.compress(b"two") + bytes(70000))
    with CheckedStream(path) as stream:
        assert stream.read(100) == b"one two"
        stream.finish()


def test_rubbish_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one") + b"rubbish")
    with CheckedStream(path) as stream, pytest.raises(UnreadableInput, match="damaged"):
        stream.finish(slack=10)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20])
@pytest.mark.parametrize("packing", ["none", "gzip", "zlib"])
def test_reading_in_pieces_gives_the_whole(tmp_path: Path, packing: str, size: int) -> None:
    content = np.random.default_rng(0).integers(0, 9, size).astype(np.uint8).tobytes()
    pack = {"none": bytes, "gzip": gzip.compress, "zlib": zlib.compress}[packing]
    path = tmp_path / "a"
    path.write_bytes(b"head" + pack(content))
    with CheckedStream(path, offset=4, packing=packing) as stream:  # pyright: ignore
        first = stream.read(1000)
        skipped = stream.skip(size // 2)
        rest = stream.read(size)
        stream.finish()
    assert first + content[len(first) : len(first) + skipped] + rest == content


def test_more_than_promised_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(50 << 20)))
    with CheckedStream(path) as stream:
        stream.read(10)
        with pytest.raises(UnreadableInput, match="more data than its header promises"):
            stream.finish(slack=4096)


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableInput, match="pipe"):
        open_input(tmp_path / "pipe")
    with pytest.raises(UnreadableInput, match="folder"):
        open_input(tmp_path)
