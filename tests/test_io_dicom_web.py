"""DICOMweb: a series comes whole or not at all, whatever the server does; secrets stay secret."""

from __future__ import annotations

import json
import logging
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_pacs import FakePacs, Handler, serving, stored_answer, tag
from tests.io_files import content, edit_dicom, save_series
from unetr_app.errors import InvalidRequest, RemoteFailure, UnetrError, UnwritableOutput
from unetr_app.io import read_volume
from unetr_app.io.dicom.web.address import Address, is_address
from unetr_app.io.dicom.web.client import Pacs
from unetr_app.io.dicom.web.credentials import Credentials, find_credentials
from unetr_app.io.dicom.web.limits import Limits
from unetr_app.io.dicom.web.multipart import FilePart, save_only_part
from unetr_app.io.dicom.web.retries import PassingFailure, Retries
from unetr_app.io.dicom.web.retrieval import Retrieval, choose_series, retrieve
from unetr_app.io.dicom.web.rows import RemoteSeries, rows_of, series_of
from unetr_app.io.dicom.web.storage import store
from unetr_app.io.dicom.web.uids import is_uid

MULTIPART = "multipart/related; boundary=XX"
SECRET = "s3cret-Canary"
QUICK = Limits(connect_seconds=5, read_seconds=0.5, answer_seconds=2, body_seconds=3, page=7)


@pytest.fixture
def server() -> Generator[FakePacs]:
    with serving(FakePacs()) as pacs:
        yield pacs


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    return save_series(tmp_path / "source")


@pytest.fixture
def study(server: FakePacs, series: list[Path]) -> str:
    return server.hold(series)


class Waits(list[float]):
    """Seconds that were to be slept."""

    def retries(self, attempts: int = 3) -> Retries:
        return Retries(attempts, sleep=self.append)


def pacs_of(server: FakePacs, *, limits: Limits = QUICK, waits: Waits | None = None) -> Pacs:
    address = Address.parse(server.address)
    return Pacs(address, limits=limits, retries=(waits if waits is not None else Waits()).retries(),
                credentials=Credentials(address.origin, f"Bearer {SECRET}"))  # fmt: skip


def everything(pacs: Pacs, study: str, folder: Path, **options: Any) -> Retrieval:
    return retrieve(pacs, study, choose_series(pacs.find_series(study)), folder, **options)


def on(
    part: str, do: Callable[[Handler], object], *, times: int = 10**9
) -> Callable[[Handler], bool]:
    """Trouble with requests that have this in their path."""
    left = [times]

    def trouble(handler: Handler) -> bool:
        if part not in handler.path or left[0] <= 0:
            return False
        left[0] -= 1
        do(handler)
        return True

    return trouble


# --- the way in ------------------------------------------------------------------------------


def test_a_series_comes_as_it_lies_there(
    server: FakePacs, study: str, series: list[Path], tmp_path: Path
):
    told: list[tuple[int, int]] = []
    with pacs_of(server) as pacs:
        got = everything(pacs, study, tmp_path / "in", on_progress=lambda *now: told.append(now))
    (folder,) = got.folders
    assert sorted(content(folder).values()) == sorted(p.read_bytes() for p in series)
    assert told == [(n, len(series)) for n in range(1, len(series) + 1)]
    ours, theirs = read_volume(folder), read_volume(series[0].parent)
    assert ours.geometry == theirs.geometry
    assert (ours.data == theirs.data).all()


def test_names_of_files_hold_nothing_that_the_server_chose(
    server: FakePacs, study: str, tmp_path: Path
):
    with pacs_of(server) as pacs:
        everything(pacs, study, tmp_path / "in")
    names = " ".join(content(tmp_path / "in"))
    assert not any(part in names for part in (study, *server.instances))


def test_only_series_of_images_are_taken_unless_named(server: FakePacs, tmp_path: Path):
    images = save_series(tmp_path / "a")
    study = server.hold(images)
    report = edit_dicom(images[0], tmp_path / "sr.dcm", Modality="SR",
                        SeriesInstanceUID="1.2.3", SOPInstanceUID="1.2.3.4")  # fmt: skip
    server.hold([report])
    with pacs_of(server) as pacs:
        found = pacs.find_series(study)
        assert {s.modality for s in found} == {"CT", "SR"}
        assert [s.modality for s in choose_series(found)] == ["CT"]
        assert [s.uid for s in choose_series(found, ["1.2.3"])] == ["1.2.3"]
        assert choose_series(found, is_wanted=lambda s: s.uid == "1.2.3") == []
        with pytest.raises(RemoteFailure, match=r"2 series.*9\.9 is none.*unetr inspect"):
            choose_series(found, ["9.9"])


def test_pages_are_asked_for_until_nothing_new_comes(server: FakePacs, study: str):
    with pacs_of(server, limits=Limits(page=5)) as pacs:
        (series,) = pacs.find_series(study)
        assert sorted(pacs.find_instances(study, series.uid)) == sorted(server.instances)
        rows = [{"00080018": tag(uid)} for uid in server.instances]
        server.troubles.append(on("/instances", lambda h: h.say_json(rows)))  # knows no pages
        assert sorted(pacs.find_instances(study, series.uid)) == sorted(server.instances)


def test_what_an_earlier_run_left_is_not_asked_for_again(
    server: FakePacs, study: str, tmp_path: Path
):
    of = len(server.instances)
    broken = list(server.instances)[of // 2]
    server.troubles.append(on(broken, lambda h: h.say(404)))
    with pacs_of(server) as pacs:
        got = everything(pacs, study, tmp_path / "in")
        assert got.folders == ()
        assert len(got.failed) == 1
        server.troubles.clear()
        before = server.count("/instances/")
        (folder,) = everything(pacs, study, tmp_path / "in").folders
    assert server.count("/instances/") - before == of - of // 2
    assert len(content(folder)) == of


def test_a_series_that_is_not_whole_is_no_series_to_a_search(
    server: FakePacs, study: str, tmp_path: Path
):
    from unetr_app.cases import find_cases

    server.troubles.append(on(list(server.instances)[-1], lambda h: h.say(404)))
    with pacs_of(server) as pacs:
        everything(pacs, study, tmp_path / "in")
        assert content(tmp_path / "in")
        assert find_cases(tmp_path / "in") == []
        server.troubles.clear()
        everything(pacs, study, tmp_path / "in")
    assert len(find_cases(tmp_path / "in")) == 1


def test_what_the_server_has_no_more_goes_here_too(server: FakePacs, study: str, tmp_path: Path):
    with pacs_of(server) as pacs:
        (folder,) = everything(pacs, study, tmp_path / "in").folders
        (folder / "notes.txt").write_text("mine")
        del server.instances[next(iter(server.instances))]
        (again,) = everything(pacs, study, tmp_path / "in").folders
    assert again == folder
    assert len(content(folder)) == len(server.instances) + 1


def test_damage_on_the_disk_is_fetched_anew(server: FakePacs, study: str, tmp_path: Path):
    with pacs_of(server) as pacs:
        (folder,) = everything(pacs, study, tmp_path / "in").folders
        whole = content(folder)
        one, two = sorted(folder.iterdir())[:2]
        one.write_bytes(one.read_bytes()[:400])
        two.write_bytes(b"")
        everything(pacs, study, tmp_path / "in")
    assert content(folder) == whole


def test_one_series_that_fails_costs_no_other(server: FakePacs, tmp_path: Path):
    study = server.hold(save_series(tmp_path / "a"))
    other = [edit_dicom(p, SeriesInstanceUID="1.2.3", SOPInstanceUID=f"1.2.3.{n}")
             for n, p in enumerate(save_series(tmp_path / "b"))]  # fmt: skip
    server.hold(other)
    server.troubles.append(on("/instances/1.2.3.4", lambda h: h.say(403)))
    with pacs_of(server) as pacs:
        got = everything(pacs, study, tmp_path / "in")
    assert len(got.folders) == 1
    ((failed, error),) = got.failed
    assert failed.uid == "1.2.3"
    assert "does not allow" in str(error)


def test_fewer_instances_than_the_server_says_is_no_series(
    server: FakePacs, study: str, tmp_path: Path
):
    rows = [{"00080018": tag(uid)} for uid in list(server.instances)[1:]]
    server.troubles.append(on("/instances?", lambda h: h.say_json(rows)))
    with pacs_of(server) as pacs:
        ((_, error),) = everything(pacs, study, tmp_path / "in").failed
    assert f"has {len(server.instances)} instances, and lists {len(rows)}" in str(error)


def test_a_large_instance_is_never_in_memory(server: FakePacs, study: str, tmp_path: Path):
    uid, instance = next(iter(server.instances.items()))
    padding, pieces = bytes(2**16), 2**10  # 64 MiB behind the pixels, of which no header speaks

    def in_pieces(handler: Handler) -> None:
        head, tail = b"--XX\r\n\r\n" + instance.data, b"\r\n--XX--"
        handler.send_response(200)
        handler.send_header("Content-Type", MULTIPART)
        handler.send_header("Content-Length", str(len(head + tail) + pieces * len(padding)))
        handler.end_headers()
        for piece in [head, *[padding] * pieces, tail]:
            handler.wfile.write(piece)

    server.troubles.append(on("/instances/", in_pieces))
    with pacs_of(server, limits=Limits()) as pacs:
        tracemalloc.start()
        pacs.fetch(study, instance.series, uid, tmp_path / "x.dcm", most=2**30)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (tmp_path / "x.dcm").stat().st_size == len(instance.data) + pieces * len(padding)
    assert peak < 2**23


# --- retries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_servers_are_asked_again_with_growing_waits(server: FakePacs, study: str, status: int):
    server.troubles.append(on("/series", lambda h: h.say(status), times=2))
    waits = Waits()
    with pacs_of(server, waits=waits) as pacs:
        assert len(pacs.find_series(study)) == 1
    assert waits == [0.5, 1.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 415])
def test_refusals_are_not_asked_again(server: FakePacs, study: str, status: int):
    server.troubles.append(on("/series", lambda h: h.say(status)))
    waits = Waits()
    with pacs_of(server, waits=waits) as pacs, pytest.raises(RemoteFailure) as caught:
        pacs.find_series(study)
    assert f"(HTTP {status})" in str(caught.value)
    assert caught.value.cure
    assert waits == []
    assert len(server.heard) == 1


def test_attempts_end(server: FakePacs, study: str):
    server.troubles.append(on("/series", lambda h: h.say(503)))
    with pacs_of(server) as pacs, pytest.raises(PassingFailure, match="HTTP 503"):
        pacs.find_series(study)
    assert len(server.heard) == 3


def test_the_servers_wish_to_wait_is_heard_within_reason(server: FakePacs, study: str):
    asked = iter(["7", "86400", "Fri, 31 Dec 1999 23:59:59 GMT", "soon"])
    server.troubles.append(on("/series", lambda h: h.say(503, Retry_After=next(asked)), times=4))
    waits = Waits()
    address = Address.parse(server.address)
    with Pacs(address, retries=waits.retries(5), credentials=Credentials("")) as pacs:
        pacs.find_series(study)
    assert waits == [7.0, 30.0, 2.0, 4.0]


def test_a_server_that_is_not_there(tmp_path: Path):
    with serving(FakePacs()) as gone:
        pass
    waits = Waits()
    with (
        pacs_of(gone, waits=waits) as pacs,
        pytest.raises(PassingFailure, match=r"no connection to 127\.0\.0\.1.*Check host and port"),
    ):
        pacs.find_series("1.2")
    assert len(waits) == 2


def test_a_server_that_goes_away_ends_the_retrieval(server: FakePacs, study: str, tmp_path: Path):
    def hang_up(handler: Handler) -> None:
        handler.close_connection = True

    server.troubles.append(on("/instances/", hang_up))
    with pacs_of(server) as pacs, pytest.raises(PassingFailure):
        everything(pacs, study, tmp_path / "in")
    assert server.count("/instances/") == 3  # attempts for one instance, not for each


@pytest.mark.parametrize("cut", [0, 1, 40, 200, -1, -8])
def test_an_answer_that_breaks_off_is_asked_for_again(
    server: FakePacs, study: str, tmp_path: Path, cut: int
):
    def halve(handler: Handler) -> None:
        handler.close_connection = True
        uid = handler.path.split("/")[-1]
        body = b"--XX\r\n\r\n" + server.instances[uid].data + b"\r\n--XX--"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=XX\r\n"
        handler.wfile.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:cut])

    server.troubles.append(on("/instances/", halve, times=2))
    with pacs_of(server) as pacs:
        (folder,) = everything(pacs, study, tmp_path / "in").folders
    assert sorted(content(folder).values()) == sorted(i.data for i in server.instances.values())


def test_the_form_is_negotiated(server: FakePacs, study: str, tmp_path: Path):
    def picky(handler: Handler) -> bool:
        if "/instances/" not in handler.path or "*" not in handler.headers["Accept"]:
            return False
        handler.say(406)
        return True

    server.troubles.append(picky)
    with pacs_of(server) as pacs:
        assert everything(pacs, study, tmp_path / "in").folders
    assert server.count("/instances/") == len(server.instances) + 1


# --- hostile servers -------------------------------------------------------------------------


def rows_answer(value: Any) -> Callable[[Handler], None]:
    return lambda handler: handler.say_json(value)


@pytest.mark.parametrize(
    "uid",
    [
        "../../etc/passwd",
        "1.2/../3",
        "",
        "1..2",
        "a",
        "1." * 40 + "1",
        "1.2\n",
        "\uff11.2",
        7,
        None,
    ],
)
def test_identifiers_that_are_none_go_nowhere(
    server: FakePacs, study: str, tmp_path: Path, uid: object
):
    server.troubles.append(on("/instances?", rows_answer([{"00080018": tag(uid)}])))
    with pacs_of(server) as pacs:
        ((_, error),) = everything(pacs, study, tmp_path / "deep" / "in").failed
        assert "no UID" in str(error)
        server.troubles[:] = [on("/series?", rows_answer([{"0020000E": tag(uid)}]))]
        with pytest.raises(RemoteFailure, match="no UID"):
            pacs.find_series(study)
    assert content(tmp_path / "deep") == {}
    assert server.count("/instances/") == 0


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"7", b'"x"', b"[7]", b"[[]]", b"{", b"<html>", b"[" * 100_000, b"\xff\xfe",
     b'[{"0020000E": {"Value": {}}}]', b'[{"0020000E": []}]', b'{"0020000E": null}', b"NaN"],
)  # fmt: skip
def test_answers_that_are_no_dicom_json(server: FakePacs, body: bytes):
    server.troubles.append(
        on("/series", lambda h: h.say(200, body, Content_Type="application/dicom+json"))
    )
    with pacs_of(server) as pacs:
        if body == b"":
            assert pacs.find_series("1.2") == []
            return
        with pytest.raises(RemoteFailure):
            pacs.find_series("1.2")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["Value", "0020000E", "00201209", "00200011"]), inner)
        ),
    )
)
def test_whatever_a_row_holds_it_is_a_series_or_refused(value: Any):
    try:
        found = [series_of(row, "1.2") for row in rows_of(value)]
    except RemoteFailure:
        return
    assert all(is_uid(series.uid) and series.name for series in found)


def test_another_study_is_refused(server: FakePacs, study: str):
    row = {"0020000D": tag("1.2.3"), "0020000E": tag("1.2.3.4")}
    server.troubles.append(on("/series?", rows_answer([row])))
    with pacs_of(server) as pacs, pytest.raises(RemoteFailure, match="another study"):
        pacs.find_series(study)


def test_another_instance_is_refused(server: FakePacs, study: str, tmp_path: Path):
    first, second = list(server.instances)[:2]
    server.troubles.append(on(first, lambda h: h.say_part(server.instances[second].data)))
    with pacs_of(server) as pacs:
        ((_, error),) = everything(pacs, study, tmp_path / "in").failed
    assert "another instance" in str(error)


def say_as(kind: str, body: bytes) -> Callable[[Handler], None]:
    return lambda handler: handler.say(200, body, Content_Type=kind)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda h: h.say_part(b"no DICOM"), "no sound DICOM"),
        (lambda h: h.say_part(b""), "no sound DICOM"),
        (lambda h: h.say_part(), "no part"),
        (lambda h: h.say_part(b"one", b"two"), "several parts"),
        (say_as("application/dicom", b"\0" * 128 + b"DICM"), "no sound DICOM"),
        (say_as("text/html", b"<html>"), "not a multipart"),
        (say_as("multipart/related", b"--\r\n\r\n"), "not a multipart"),
        (say_as(f"multipart/related; boundary={'X' * 300}", b""), "not a multipart"),
        (say_as(MULTIPART, b"x" * 9000 + b"\r\n--XX\r\n\r\n"), "not the multipart"),
        (say_as(MULTIPART, b"--XX\r\n" + b"a: b\r\n" * 9000), "not the multipart"),
        (say_as(MULTIPART, b"--XX\r\n\r\nx\r\n--XX--" + b"x" * 9000), "not the multipart"),
        (say_as(MULTIPART, b"--XX\r\n\r\nx"), "ends too early"),
        (lambda h: h.say(200, b"", Content_Encoding="gzip"), "packs its answer"),
    ],
)
def test_answers_that_are_no_file(
    server: FakePacs, study: str, tmp_path: Path, answer: Callable[[Handler], None], said: str
):
    server.troubles.append(on("/instances/", answer))
    with pacs_of(server) as pacs:
        ((_, error),) = everything(pacs, study, tmp_path / "in").failed
    assert said in str(error)
    assert content(tmp_path / "in") == {}


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=XX\r\n\r\n--XX\r\n\r\n"
TRICKLED = {
    "headers": b"HTTP/1.1 200 OK\r\nX-Long: ",
    "body": ENDLESS,
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/related;"
    b" boundary=XX\r\n\r\n0\r\nx: ",
}


def test_endless_files_are_cut(server: FakePacs, study: str, tmp_path: Path):
    server.troubles.append(
        on("/instances/", lambda h: h.say_endlessly(ENDLESS, bytes(2**16), lambda: None))
    )
    limits = Limits(instance_bytes=2**22)
    with pacs_of(server, limits=limits) as pacs:
        ((_, error),) = everything(pacs, study, tmp_path / "in").failed
    assert "longer than" in str(error)
    assert content(tmp_path / "in") == {}


def test_endless_lists_are_cut(server: FakePacs, study: str):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n\r\n["
    server.troubles.append(
        on("/series", lambda h: h.say_endlessly(head, b"{}, " * 2**14, lambda: None))
    )
    with (
        pacs_of(server, limits=Limits(answer_bytes=2**20)) as pacs,
        pytest.raises(RemoteFailure, match="longer than the 1048576 bytes"),
    ):
        pacs.find_series(study)


def test_endless_pages_are_cut(server: FakePacs):
    made = iter(range(10**9))

    def page(handler: Handler) -> None:
        handler.say_json([{"0020000E": tag(f"1.2.{next(made)}")} for _ in range(7)])

    server.troubles.append(on("/series", page))
    limits = Limits(series=50)
    with pacs_of(server, limits=limits) as pacs, pytest.raises(RemoteFailure, match="more than"):
        pacs.find_series("1.2")


@pytest.mark.parametrize("part", TRICKLED)
def test_trickling_answers_are_given_up(server: FakePacs, study: str, part: str):
    pause = threading.Event()
    uid = next(iter(server.instances))
    server.troubles.append(
        on("/instances/", lambda h: h.say_endlessly(TRICKLED[part], b"x", lambda: pause.wait(0.05)))
    )
    limits = Limits(read_seconds=0.5, answer_seconds=0.7, body_seconds=1.0)
    begun = time.monotonic()
    with (
        pacs_of(server, limits=limits) as pacs,
        pytest.raises(PassingFailure, match=r"too slowly|keeps us waiting"),
    ):
        pacs.fetch(study, "1.2", uid, Path("never.dcm"), most=2**20)
    assert time.monotonic() - begun < 10
    assert server.count("/instances/") == 3


def test_silent_servers_time_out(server: FakePacs):
    server.troubles.append(on("/series", lambda h: time.sleep(1.5), times=1))
    with pacs_of(server) as pacs:
        assert pacs.find_series("1.2") == []
    assert len(server.heard) == 2


def test_totals_of_a_run_are_limited(server: FakePacs, study: str, tmp_path: Path):
    sizes = [len(i.data) for i in server.instances.values()]
    with pacs_of(server, limits=Limits(run_bytes=sum(sizes) // 2)) as pacs:
        ((_, error),) = everything(pacs, study, tmp_path / "in").failed
    assert "more bytes than one run takes" in str(error)
    with pacs_of(server, limits=Limits(instances=len(sizes) + 1)) as pacs:
        (one,) = pacs.find_series(study)
        with pytest.raises(RemoteFailure, match="--series"):
            retrieve(pacs, study, [one, replace(one, number=9)], tmp_path / "in")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server: FakePacs, study: str, status: int):
    with serving(FakePacs()) as other:
        place = f"http://127.0.0.1:{other.port}/dicom-web/studies/{study}/series"
        server.troubles.append(on("/series", lambda h: h.say(status, bytes(999), Location=place)))
        with pacs_of(server) as pacs, pytest.raises(RemoteFailure, match="do not follow"):
            pacs.find_series(study)
        assert other.heard == []


def test_a_full_disk_ends_the_retrieval(
    server: FakePacs, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "in").write_text("a file where the folder should be")
    with pacs_of(server) as pacs, pytest.raises(UnwritableOutput):
        everything(pacs, study, tmp_path / "in")


@given(data=st.binary(max_size=300), seed=st.randoms(), preamble=st.booleans())
def test_any_split_of_a_multipart_gives_the_part(data: bytes, seed: Any, preamble: bool):
    whole = (b"hello\r\n" if preamble else b"") + b"--b\r\nA: c\r\n\r\n" + data + b"\r\n--b--\r\n"
    if b"\r\n--b" in data:
        return
    cuts = sorted(seed.randrange(len(whole) + 1) for _ in range(seed.randrange(9)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    saved = bytearray()
    save_only_part(pieces, "multipart/related; boundary=b", saved.extend)
    assert saved == data


@given(data=st.binary(max_size=300), cut=st.integers(1, 400))
def test_a_multipart_cut_anywhere_is_refused(data: bytes, cut: int):
    whole = b"--b\r\n\r\n" + data + b"\r\n--b--"
    if b"\r\n--b" in data:
        return
    with pytest.raises(RemoteFailure):
        save_only_part([whole[:-cut]], "multipart/related; boundary=b", lambda piece: None)


# --- the way back ----------------------------------------------------------------------------


def test_results_are_stored_and_storing_again_changes_nothing(server: FakePacs, series: list[Path]):
    study = server.take(series[0].read_bytes())
    server.instances.clear()
    with pacs_of(server) as pacs:
        for _ in range(2):
            ended = store(pacs, study, series[:3])
            assert [one.error for one in ended] == [None] * 3
    assert [i.data for i in server.instances.values()] == [p.read_bytes() for p in series[:3]]
    assert {heard.path for heard in server.heard} == {f"/dicom-web/studies/{study}"}


def test_objects_of_another_study_are_not_sent(server: FakePacs, series: list[Path]):
    with pacs_of(server) as pacs:
        (ended,) = store(pacs, "1.2.3", series[:1])
    assert isinstance(ended.error, InvalidRequest)
    assert server.heard == []


@pytest.mark.parametrize(("reason", "said"), [(0x0110, "0110"), (0x0122, "kind"), (7, "0007")])
@pytest.mark.parametrize("status", [200, 202, 409])
def test_failures_are_told_by_file(
    server: FakePacs, series: list[Path], study: str, reason: int, said: str, status: int
):
    uid = list(server.instances)[1]
    server.instances.clear()
    answered = iter([None, reason, None])

    def answer(handler: Handler) -> bool:
        found = next(answered)
        if found is None:
            return False
        handler.say_json(stored_answer(uid, reason=found), status)
        return True

    server.troubles.append(answer)
    with pacs_of(server) as pacs:
        ended = store(pacs, study, series[:3])
    assert [one.error is None for one in ended] == [True, False, True]
    assert said in str(ended[1].error)
    assert series[1].name in str(ended[1].error)


def test_an_object_that_is_there_already_is_stored(
    server: FakePacs, series: list[Path], study: str
):
    uid = next(iter(server.instances))
    server.troubles.append(
        on("/studies", lambda h: h.say_json(stored_answer(uid, reason=0x0111), 409))
    )
    with pacs_of(server) as pacs:
        assert store(pacs, study, series[:1])[0].error is None


@pytest.mark.parametrize("body", [b"", b"<xml/>", b"{}", b"[]", b'{"00081199": 7}', b"[" * 10**5])
def test_an_answer_that_says_nothing_is_no_success(
    server: FakePacs, series: list[Path], study: str, body: bytes
):
    def answer(handler: Handler) -> bool:
        if handler.command != "POST":
            return False
        handler.say(200, body, Content_Type="application/dicom+json")
        return True

    server.troubles.append(answer)
    with pacs_of(server) as pacs:
        assert store(pacs, study, series[:1])[0].error is None  # for the server lists it
        server.instances.clear()
        (ended,) = store(pacs, study, series[:1])
    assert "did not say that it stored" in str(ended.error)


def test_storing_is_tried_again_and_ends_when_the_server_is_lost(
    server: FakePacs, series: list[Path], study: str
):
    server.instances.clear()
    server.troubles.append(on("/studies", lambda h: h.say(503), times=2))
    with pacs_of(server) as pacs:
        assert store(pacs, study, series[:1])[0].error is None
        server.heard.clear()
        server.troubles[:] = [on("/studies", lambda h: setattr(h, "close_connection", True))]
        ended = store(pacs, study, series[:3])
    assert all(isinstance(one.error, PassingFailure) for one in ended)
    assert len(server.heard) == 3


def test_the_body_that_is_sent_is_as_long_as_said(series: list[Path]):
    part = FilePart(series[0])
    assert len(part) == sum(map(len, part))


# --- addresses and credentials ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("dicomweb://pacs.example.org", "https://pacs.example.org"),
        ("DICOMWEB://Pacs.example.org/a/b/", "https://pacs.example.org/a/b"),
        ("dicomweb://10.0.0.1:8443/dicom-web", "https://10.0.0.1:8443/dicom-web"),
        ("dicomweb://[2001:db8::1]:8443/dicom-web", "https://[2001:db8::1]:8443/dicom-web"),
        ("dicomweb+http://localhost:8042/dicom-web", "http://localhost:8042/dicom-web"),
        ("dicomweb+http://127.3.2.1/x", "http://127.3.2.1/x"),
        ("dicomweb+http://[::1]:8042", "http://[::1]:8042"),
    ],
)  # fmt: skip
def test_addresses(text: str, url: str):
    assert is_address(text)
    found = Address.parse(text)
    assert found.url == url
    assert Address.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [f"dicomweb://user:{SECRET}@host/x", f"dicomweb://{SECRET}@host", f"dicomweb:/u:{SECRET}@host",
     f"dicomweb://host/x?token={SECRET}", f"dicomweb://host/x#{SECRET}", "dicomweb://",
     f"https://u:{SECRET}@host/x", "https://host/x", "http://host/x", "dicomweb+ftp://host/x",
     "dicomweb://host:port/x", "dicomweb://host:99999/x", "dicomweb://ho st/x", "dicomweb:host",
     "dicomweb://host/../x", "dicomweb://host/x//y", "dicomweb://good.org\\@evil.org/x",
     "dicomweb://host\r\nX: y/x", "dicomweb://höst/x", "dicomweb://[::1/x", "dicomweb+http://host"],
)  # fmt: skip
def test_addresses_that_are_refused(text: str):
    assert is_address(text)
    with pytest.raises(InvalidRequest) as caught:
        Address.parse(text)
    assert caught.value.cure
    assert SECRET not in str(caught.value)


def test_unencrypted_connections_need_a_word():
    with pytest.raises(InvalidRequest, match="--plain-http"):
        Address.parse("dicomweb+http://pacs.example.org/x")
    assert Address.parse("dicomweb+http://pacs.example.org/x", plain_http=True).scheme == "http"


def header_for(environ: dict[str, str], text: str = "dicomweb://pacs.example.org/x") -> str | None:
    from requests import Request

    address = Address.parse(text)
    prepared = Request("GET", f"{address.url}/studies").prepare()
    return find_credentials(address, environ)(prepared).headers.get("Authorization")


def test_credentials_come_from_the_environment_or_netrc(tmp_path: Path):
    user = {"UNETR_DICOMWEB_USER": "anna", "UNETR_DICOMWEB_PASSWORD": "pä:ss word"}
    nobody = {"NETRC": str(tmp_path / "none")}
    file = tmp_path / "netrc"
    file.write_text("machine pacs.example.org login anna password pass\n")
    assert header_for({"UNETR_DICOMWEB_TOKEN": f"{SECRET}\n"}) == f"Bearer {SECRET}"
    assert header_for(user) == "Basic YW5uYTpww6Q6c3Mgd29yZA=="
    assert header_for({"NETRC": str(file)}) == "Basic YW5uYTpwYXNz"
    assert header_for({"NETRC": str(file)}, "dicomweb://other.example.org") is None
    assert header_for(nobody) is None


@pytest.mark.parametrize(
    "environ",
    [{"UNETR_DICOMWEB_USER": SECRET}, {"UNETR_DICOMWEB_PASSWORD": SECRET},
     {"UNETR_DICOMWEB_TOKEN": SECRET, "UNETR_DICOMWEB_USER": "a", "UNETR_DICOMWEB_PASSWORD": "b"},
     {"UNETR_DICOMWEB_TOKEN": f"{SECRET}\r\nX: y"},
     {"UNETR_DICOMWEB_USER": "a:b", "UNETR_DICOMWEB_PASSWORD": SECRET},
     {"UNETR_DICOMWEB_USER": "a", "UNETR_DICOMWEB_PASSWORD": f"{SECRET}\0"}],
)  # fmt: skip
def test_credentials_that_cannot_be(environ: dict[str, str]):
    with pytest.raises(InvalidRequest) as caught:
        header_for(environ)
    assert SECRET not in str(caught.value)


def test_a_damaged_netrc_is_not_repeated(tmp_path: Path):
    (tmp_path / "netrc").write_text(f"machine a login b password c {SECRET} d\n")
    with pytest.raises(InvalidRequest) as caught:
        header_for({"NETRC": str(tmp_path / "netrc")})
    assert SECRET not in str(caught.value)


def test_credentials_go_to_their_server_alone():
    from requests import Request

    credentials = Credentials("https://pacs.example.org", f"Bearer {SECRET}")
    for url in ("https://pacs.example.org.evil.org/", "http://pacs.example.org/",
                "https://pacs.example.org:8443/",
                "https://evil.org/https://pacs.example.org/"):  # fmt: skip
        assert "Authorization" not in credentials(Request("GET", url).prepare()).headers
    sent = credentials(Request("GET", "https://pacs.example.org/x").prepare())
    assert sent.headers["Authorization"] == f"Bearer {SECRET}"
    assert SECRET not in repr(credentials)


def test_secrets_are_sent_and_never_told(
    server: FakePacs, study: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    errors: list[BaseException] = []
    with pacs_of(server) as pacs:
        everything(pacs, study, tmp_path / "in")
        for status in (401, 500, 302):
            server.troubles[:] = [on("/series", lambda h, status=status: h.say(status))]
            with pytest.raises(RemoteFailure) as caught:
                pacs.find_series(study)
            errors.append(caught.value)
    assert {heard.headers.get("Authorization") for heard in server.heard} == {f"Bearer {SECRET}"}
    while errors:
        error = errors.pop()
        assert SECRET not in f"{error} {error!r} {vars(error)}"
        errors += [e for e in (error.__cause__, error.__context__) if e is not None]
    assert SECRET not in caplog.text
    assert not any(SECRET.encode() in data for data in content(tmp_path / "in").values())


def test_proxies_never_stand_before_this_machine(
    server: FakePacs, study: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pacs_of(server) as pacs:
        assert len(pacs.find_series(study)) == 1


# --- encryption ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "certificate.pem", folder / "key.pem"
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", made[0],
             "-keyout", made[1]],
            check=True, capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl is not there to make a certificate")
    return made


def test_tls_is_verified_and_a_bundle_of_certificates_can_be_named(
    certificate: tuple[Path, Path], series: list[Path], monkeypatch: pytest.MonkeyPatch
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)

    def wrap(plain: Any) -> Any:
        return context.wrap_socket(plain, server_side=True)

    with serving(FakePacs(), wrap=wrap) as server:
        study = server.hold(series)
        waits = Waits()

        def ask(host: str) -> list[RemoteSeries]:
            address = Address.parse(f"dicomweb://{host}:{server.port}/dicom-web")
            with Pacs(address, retries=waits.retries(), credentials=Credentials("")) as pacs:
                return pacs.find_series(study)

        with pytest.raises(RemoteFailure, match=r"cannot be trusted.*REQUESTS_CA_BUNDLE"):
            ask("localhost")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
        assert len(ask("localhost")) == 1
        with pytest.raises(RemoteFailure, match="cannot be trusted"):
            ask("127.0.0.1")  # the certificate is another name's
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "nothing.pem")
        with pytest.raises(InvalidRequest, match=r"nothing\.pem"):
            ask("localhost")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[1]))
        with pytest.raises(UnetrError):
            ask("localhost")
    assert waits == []
    assert json.dumps([h.path for h in server.heard]).count("series") == 2
