"""A second opening does no work; whatever happens to the cache, the logits stay right."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.backend_fakes import WINDOW, Fake, Slow, fake_library, small_network
from unetr_app.errors import UnusableBundle
from unetr_app.inference import backends
from unetr_app.inference.backends import open_backend
from unetr_app.inference.backends.cache import Cache, cache_folder
from unetr_app.inference.backends.fingerprint import network_fingerprint


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNETR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    _use(monkeypatch, fake)
    return fake


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def _use(monkeypatch: pytest.MonkeyPatch, fake: Fake, version: str = "1.0") -> None:
    monkeypatch.setattr(backends, "LIBRARIES", {"fake": fake_library("fake", fake, version)})


@pytest.mark.parametrize("name", ["auto", "fake"])
def test_the_second_opening_does_no_work(name: str, fake: Fake) -> None:
    first = open_backend(name, Slow(), window=WINDOW, weights_hash="a")
    network = Slow()
    calls = len(network.calls)
    second = open_backend(name, network, window=WINDOW, weights_hash="a")
    assert (second.name, second.notes) == (first.name, first.notes) == ("fake", first.notes)
    assert len(network.calls) == calls
    assert len(fake.converted) == 1


def test_what_could_change_the_choice_is_tried_again(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    def is_tried(weights: str = "a", window: tuple[int, ...] = WINDOW) -> bool:
        network = Slow()
        calls = len(network.calls)
        open_backend("auto", network, window=window, weights_hash=weights)
        return len(network.calls) > calls

    assert is_tried()
    assert not is_tried()
    assert is_tried(weights="b")
    assert is_tried(window=(1, 1, 8, 8, 8))
    torch.set_num_threads(threads + 1)
    assert is_tried()
    torch.set_num_threads(threads)
    assert not is_tried()
    _use(monkeypatch, fake, version="2.0")
    assert is_tried()


def test_equal_weights_in_another_network_are_another_network() -> None:
    network = small_network()
    before = network_fingerprint(network)
    assert network_fingerprint(small_network()) == before
    for module in network.modules():
        if hasattr(module, "num_heads"):
            module.num_heads = 3
    assert network_fingerprint(network) != before


def test_without_a_hash_nothing_is_kept(cache: Path, fake: Fake) -> None:
    open_backend("auto", Slow(), window=WINDOW)
    assert not cache.exists()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)


DAMAGES: list[Callable[[Path], None]] = [_truncate, _flip, Path.unlink, lambda p: p.write_text("")]


@pytest.mark.parametrize("damage", DAMAGES, ids=["truncated", "flipped", "missing", "empty"])
def test_a_damaged_file_is_made_anew(damage: Callable[[Path], None], cache: Path) -> None:
    pytest.importorskip("openvino")
    network, image = small_network(), torch.ones(WINDOW)
    wanted = open_backend("openvino", network, window=WINDOW, weights_hash="a")(image)
    for pattern in ("*/network.bin", "*/network.xml", "*/whole.json", "*.json"):
        found = next((cache / "backends").glob(pattern))
        whole = found.read_bytes()
        damage(found)
        again = open_backend("openvino", network, window=WINDOW, weights_hash="a")
        torch.testing.assert_close(again(image), wanted, rtol=1e-4, atol=1e-5)
        if pattern == "*/network.bin":
            assert found.read_bytes() == whole
    assert not list((cache / "backends").glob(".*"))


@pytest.mark.parametrize("record", ["[1]", '{"backend": "none", "notes": []}', '{"backend": []}'])
def test_a_choice_that_means_nothing_is_made_anew(record: str, cache: Path, fake: Fake) -> None:
    open_backend("auto", Slow(), window=WINDOW, weights_hash="a")
    (choice,) = (cache / "backends").glob("*.json")
    choice.write_text(record)
    assert open_backend("auto", Slow(), window=WINDOW, weights_hash="a").name == "fake"


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(cache: Path, fake: Fake) -> None:
    cache.write_text("a file where the folder should be")
    for _ in range(2):
        assert open_backend("fake", Slow(), window=WINDOW, weights_hash="a").name == "fake"
    assert len(fake.converted) == 2
    assert not any(folder.exists() for folder in fake.converted)


def test_a_failed_conversion_leaves_nothing(cache: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise UnusableBundle("cannot be converted")

    with pytest.raises(UnusableBundle), Cache(cache).entry("key", fill):
        pass
    assert not list((cache / "backends").iterdir())


def test_many_at_once_all_see_whole_entries(cache: Path) -> None:
    text = "x" * 100_000
    seen: list[str] = []

    def fill(folder: Path) -> None:
        with (folder / "file").open("w") as file:
            for start in range(0, len(text), 1000):
                file.write(text[start : start + 1000])
                file.flush()

    def work() -> None:
        with Cache(cache).entry("key", fill) as folder:
            seen.append((folder / "file").read_text())

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == [text] * 8
    assert [path.name for path in (cache / "backends").iterdir()] == ["key"]


def test_what_a_killed_process_left_goes_after_a_day(cache: Path) -> None:
    left, fresh = (cache / "backends" / f".key.{n}.part" for n in ("old", "new"))
    for folder in (left, fresh):
        folder.mkdir(parents=True)
    os.utime(left, (0, 0))
    with Cache(cache).entry("other", lambda folder: None):
        pass
    assert not left.exists()
    assert fresh.exists()
    shutil.rmtree(fresh)


def test_the_users_word_decides_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNETR_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("UNETR_CACHE")
    usual = cache_folder()
    assert usual is not None
    assert "unetr-app" in usual.parts


def test_a_disk_without_room_costs_nothing_but_time(
    cache: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(cache.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    backend = open_backend("fake", Slow(), window=WINDOW, weights_hash="a")
    assert backend.name == "fake"
    assert not fake.converted[0].is_relative_to(cache)  # made elsewhere
