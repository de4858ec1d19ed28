"""A list names cases; what is wrong with a row, or with the list, is said and stops no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from tests.io_files import OBLIQUE, edit_dicom, integers, save_itk, save_nifti, save_series
from unetr_app.cases import Case, find_cases
from unetr_app.errors import UnetrError, UnreadableInput
from unetr_app.io import read_geometry, read_volume

TWO = ("T1", "FLAIR")
CANARY = "DOE^JANE"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images on one grid; the tests write their lists beside them, under names of their own."""
    root = tmp_path_factory.mktemp("lists")
    for n, name in enumerate(("a1", "a2", "b1", "b2")):
        save_nifti(root / f"{name}.nii.gz", integers(OBLIQUE.shape, n))
    (root / "deep").mkdir()
    save_itk(root / "deep" / "c d.nrrd", integers(OBLIQUE.shape, 9), OBLIQUE)
    save_nifti(root / "both.nii.gz", integers((3, 4, 5, 2)))
    (root / "empty").mkdir()
    (root / "bad.nii").write_bytes(b"rubbish")
    return root


def write(folder: Path, content: str | bytes | list[Any] | dict[str, Any], ending: str) -> Path:
    """A list in a file of its own, so that no test sees another's."""
    count = len(list(folder.glob("list*")))
    path = folder / f"list{count}{ending}"
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table(folder: Path, content: str | bytes, channels: tuple[str, ...] = TWO) -> list[Case]:
    return find_cases(write(folder, content, ".csv"), channels=channels)


def parts(case: Case) -> list[str]:
    assert case.problem is None, case.problem
    return [Path(part[0]).name for part in case.parts]


def words(case: Case) -> str:
    assert isinstance(case.problem, UnetrError)
    return str(case.problem)


ROWS = "a,a1.nii.gz,a2.nii.gz\nb,b1.nii.gz,b2.nii.gz\n"


# --- tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "case,T1,FLAIR\n" + ROWS,
        "CASE, t1 ,Flair\n" + ROWS,
        "\ufeffcase,T1,FLAIR\r\n" + ROWS.replace("\n", "\r\n"),
        ("case,T1,FLAIR\n" + ROWS).replace(",", ";"),
        ("case,T1,FLAIR\n" + ROWS).replace(",", "\t"),
        ("case,T1,FLAIR\n" + ROWS).replace("\n", "\r"),
        "case,image_0,image_1\n" + ROWS,
        "case,Image 0,IMAGE-1\n" + ROWS,
        "\n\ncase,T1,FLAIR,age\n,,,\n" + ROWS + "\n;\n,,,\n"[3:],
        'case,T1,FLAIR\n"a","a1.nii.gz",  a2.nii.gz\n"b",b1.nii.gz,"b2.nii.gz"',
        "FLAIR,label,T1,case\na2.nii.gz,x,a1.nii.gz,a\nb2.nii.gz,y,b1.nii.gz,b\n",
        "image_1,case,image_0\na2.nii.gz,a,a1.nii.gz\nb2.nii.gz,b,b1.nii.gz\n",
    ],
)
def test_tables_of_any_spelling_say_the_same(folder: Path, content: str) -> None:
    found = table(folder, content)
    assert [case.id for case in found] == ["a", "b"]
    assert parts(found[0]) == ["a1.nii.gz", "a2.nii.gz"]
    assert parts(found[1]) == ["b1.nii.gz", "b2.nii.gz"]
    assert found[0].channels == TWO


def test_a_listed_case_is_the_stack_of_its_images(folder: Path) -> None:
    (found,) = table(folder, "FLAIR,T1\ndeep/c d.nrrd,./a1.nii.gz\n")
    alone = [read_volume(folder / name).data[0] for name in ("a1.nii.gz", "deep/c d.nrrd")]
    assert np.array_equal(read_volume(found).data, np.stack(alone))
    assert read_volume(found).channel_names == TWO


def test_paths_start_from_the_lists_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, f"T1,FLAIR\na1.nii.gz,{folder / 'a2.nii.gz'}\n", ".csv")
    for here, given_path in ((folder, path.name), (folder / "deep", f"../{path.name}")):
        monkeypatch.chdir(here)
        (found,) = find_cases(given_path, channels=TWO)
        assert [Path(p).resolve().name for p in found.paths] == ["a1.nii.gz", "a2.nii.gz"]
        assert read_volume(found).data.shape[0] == 2


def test_a_file_with_all_channels_fills_a_row(folder: Path) -> None:
    found, short = table(folder, "case,image\na,both.nii.gz\nb,a1.nii.gz\n")
    assert parts(found) == ["both.nii.gz"] * 2
    assert "line 3: a1.nii.gz: one image, where the bundle takes 2 channels" in words(short)


@pytest.mark.parametrize("channels", [(), ("MR",)])
@pytest.mark.parametrize("header", ["image", "Image_0", "mr"])
def test_a_table_of_single_images_is_those_images(
    folder: Path, channels: tuple[str, ...], header: str
) -> None:
    found = table(folder, f"{header}\nb1.nii.gz\na1.nii.gz\n", channels)
    assert found == find_cases([folder / "a1.nii.gz", folder / "b1.nii.gz"])


def test_without_a_bundle_the_columns_tell_the_channels(folder: Path) -> None:
    text = "case,age,label,T1,FLAIR\na,54,a1.nii.gz,a1.nii.gz,a2.nii.gz\n"
    (found,) = table(folder, text, ())
    assert (found.channels, parts(found)) == (TWO, ["a1.nii.gz", "a2.nii.gz"])
    assert read_geometry(found) == read_geometry(folder / "a1.nii.gz")
    (numbered,) = table(folder, "image_1,image_0\na1.nii.gz,a2.nii.gz\n", ())
    assert (numbered.channels, parts(numbered)) == (
        ("channel_0", "channel_1"), ["a2.nii.gz", "a1.nii.gz"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("x,absent.nii.gz,a2.nii.gz", "line 3: absent.nii.gz is not there"),
        ("x,a1.nii.gz,", "line 3: names no image for FLAIR"),
        ("x", "line 3: names no image for T1, FLAIR"),
        ("x,a1.nii.gz,a2.nii.gz,more", "line 3: has 4 cells, where the header has 3"),
        ("x,a1.nii.gz,a1.nii.gz", "line 3: a1.nii.gz: is named for two channels, T1 and FLAIR"),
        ("x,a1.nii.gz,bad.nii", "line 3: bad.nii: the content is not of an image format"),
        ("x,a1.nii.gz,empty", "line 3: empty holds no images, where one is needed"),
        ("x,a1.nii.gz,.", "images, where one is needed"),
        (f"x,a1.nii.gz,{'y' * 9999}", r"line 3: y{60}\.\.\. is not there"),
        ("x,a1.nii.gz,a\u202eb\ud7ff\n"[:-1], r"line 3: a\?b\? is not there"),
    ],
)
def test_one_bad_row_leaves_the_rest(folder: Path, row: str, said: str) -> None:
    found = table(folder, f"case,T1,FLAIR\na,a1.nii.gz,a2.nii.gz\n{row}\nb,b1.nii.gz,b2.nii.gz\n")
    assert [case.id for case in found] == ["a", "b", "x"]
    assert (parts(found[0]), parts(found[1])) == (
        ["a1.nii.gz", "a2.nii.gz"], ["b1.nii.gz", "b2.nii.gz"]
    )  # fmt: skip
    assert re.search(said, words(found[2]))
    assert found[2].problem is not None
    assert found[2].problem.cure
    assert all(Path(path).is_file() for path in found[2].paths)
    with pytest.raises(UnetrError):
        read_volume(found[2])


def test_a_row_without_id_is_named_by_its_place_where_its_images_cannot_name_it(
    folder: Path,
) -> None:
    (found,) = table(folder, "T1,FLAIR\nabsent,a1.nii.gz\n")
    assert re.fullmatch(r"list\d+-line_2", found.id)


def test_the_input_of_a_row_stays_whatever_becomes_of_the_row(folder: Path) -> None:
    """So a case that failed is the same case once it is mended, and leads back to its images."""
    path = write(folder, "", ".csv")
    for row in ("a1.nii.gz,absent", "a1.nii.gz,a2.nii.gz", "a2.nii.gz,a1.nii.gz", ","):
        path.write_text(f"case,T1,FLAIR\nx,{row}\n")
        (found,) = find_cases(path, channels=TWO)
        assert (found.id, found.input) == ("x", str(path))
    for name in ("both.nii.gz", "absent.nii.gz"):
        (found,) = table(folder, f"case,image\nx,{name}\n")
        assert (found.id, found.input) == ("x", str(folder / name))


def test_a_blank_or_quoted_line_does_not_shift_the_count(folder: Path) -> None:
    found = table(folder, 'case,T1,FLAIR,note\n\na,a1.nii.gz,a2.nii.gz,"x\ny"\nx,,,\n')
    assert words(found[1]).endswith("line 5: names no image for T1, FLAIR. Correct the list.")


# --- ids -------------------------------------------------------------------------------------


def test_equal_ids_are_refused_and_both_lines_named(folder: Path) -> None:
    found = table(folder, "case,T1,FLAIR\na,a1.nii.gz,a2.nii.gz\nc,b1.nii.gz,b2.nii.gz\n"
                          "A,b1.nii.gz,b2.nii.gz\na,b1.nii.gz,a2.nii.gz\n")  # fmt: skip
    assert [case.id for case in found] == ["a", "c"]
    assert "line 2: has the same id as line 4, line 5" in words(found[0])
    assert found[1].problem is None


def test_ids_that_only_come_out_equal_stay_apart(folder: Path) -> None:
    content = "case,T1,FLAIR\n病,a1.nii.gz,a2.nii.gz\n例,b1.nii.gz,b2.nii.gz\n"
    found = table(folder, content)
    assert len({case.id for case in found}) == 2
    assert not any(case.problem for case in found)


@settings(max_examples=60, deadline=None)
@given(ids=st.lists(st.text(max_size=120), min_size=1, max_size=4, unique_by=str.casefold))
def test_ids_are_safe_and_unique(folder: Path, ids: list[str]) -> None:
    rows = [{"case": name, "image": ["a1.nii.gz", "a2.nii.gz"]} for name in ids]
    found = find_cases(write(folder, rows, ".json"), channels=TWO)
    assert len({case.id.casefold() for case in found}) == len(found)
    for case in found:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", case.id)
        assert ".." not in case.id


def test_images_without_ids_name_their_case(folder: Path, tmp_path: Path) -> None:
    for name in ("x_0000", "x_0001"):
        save_nifti(tmp_path / f"{name}.nii.gz")
    (found,) = table(tmp_path, "image_0,image_1\nx_0000.nii.gz,x_0001.nii.gz\n")
    assert found.id == "x"


def test_what_a_list_names_is_not_found_twice(folder: Path) -> None:
    path = write(folder, "case,T1,FLAIR\nall,a1.nii.gz,a2.nii.gz\n", ".csv")
    files = [folder / name for name in ("a1.nii.gz", "a2.nii.gz", "both.nii.gz")]
    found = find_cases([path, *files, path], channels=TWO)
    assert [case.id for case in found] == ["all", "both"]


# --- DICOM -----------------------------------------------------------------------------------


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Two MR series of one grid in folders that are named after the patient."""
    for n, name in enumerate((f"{CANARY}_T1", f"{CANARY}_FLAIR")):
        for path in save_series(tmp_path / name, modality="MR", suffix=""):
            edit_dicom(path, PatientName=CANARY, PatientID=CANARY, SeriesNumber=n + 3,
                       SeriesInstanceUID=f"1.2.3.{n}", SOPInstanceUID=generate_uid())  # fmt: skip
    return tmp_path


def test_series_are_the_channels_of_a_case(studies: Path) -> None:
    (found,) = table(studies, f"FLAIR,T1\n{CANARY}_FLAIR,{CANARY}_T1\n")
    assert found.problem is None
    assert (found.kind, found.modality) == ("dicom-series", "MR")
    assert re.fullmatch(r"MR-003-[0-9a-f]{8}", found.id)
    assert [{Path(p).parent.name for p in part} for part in found.parts] == [
        {f"{CANARY}_T1"}, {f"{CANARY}_FLAIR"},
    ]  # fmt: skip
    volume = read_volume(found)
    for n, name in enumerate(("T1", "FLAIR")):
        assert np.array_equal(volume.data[n], read_volume(studies / f"{CANARY}_{name}").data[0])
    assert (volume.modality, volume.geometry) == ("MR", read_geometry(found))


def test_a_row_of_series_holds_nothing_of_the_patient_in_its_id(studies: Path) -> None:
    next((studies / f"{CANARY}_T1").iterdir()).unlink()
    (studies / f"{CANARY}.dcm").write_bytes(b"rubbish")
    content = (f"T1,FLAIR\n{CANARY}_T1,{CANARY}_FLAIR\n{CANARY}.dcm,{CANARY}_FLAIR\n"
               f"{CANARY},{CANARY}\n")  # fmt: skip
    found = table(studies, content)
    assert len(found) == 3
    for case in found:
        assert case.problem is not None or len(case.paths) > 1
        assert "DOE" not in case.id


def test_a_folder_of_several_series_is_refused(studies: Path) -> None:
    (found,) = table(studies, "case,T1,FLAIR\na,.,.\n")
    assert "holds 2 images, where one is needed. Name a file, or the folder of one" in words(found)


# --- JSON ------------------------------------------------------------------------------------


def test_json_lists_name_cases(folder: Path) -> None:
    rows = [{"case": "b", "image": ["b1.nii.gz", "b2.nii.gz"]}, {"case": 7, "image": "both.nii.gz"},
            {"image": ["a1.nii.gz", "deep/c d.nrrd"]}, "both.nii.gz"]  # fmt: skip
    found = find_cases(write(folder, rows, ".json"), channels=TWO)
    assert [case.id for case in found] == ["7", "a1", "b", "both"]
    assert [parts(case) for case in found] == [
        ["both.nii.gz"] * 2, ["a1.nii.gz", "c d.nrrd"], ["b1.nii.gz", "b2.nii.gz"],
        ["both.nii.gz"] * 2,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (3, 'entry 2: is no {"case": id'),
        ({}, "entry 2: names no image"),
        ({"image": []}, "entry 2: names no image"),
        ({"image": ["a1.nii.gz", None]}, "entry 2: names no image"),
        ({"image": {"T1": "a1.nii.gz"}}, "entry 2: names no image"),
        ({"case": ["x"], "image": "both.nii.gz"}, "entry 2: has an id"),
        ({"image": "a1.nii.gz"}, "one image, where the bundle takes 2 channels"),
        ({"image": ["a1.nii.gz", "a2.nii.gz", "b1.nii.gz"]}, "3 images, where the bundle takes 2"),
        ({"image": ["a1.nii.gz", "a\0b"]}, "entry 2: a?b is not there"),
        ({"image": ["\ud800", "a1.nii.gz"]}, "entry 2: ? is not there"),
        ({"image": ["a1.nii.gz", "\udc80"]}, "entry 2: ? is not there"),
        ({"case": "ok", "image": "both.nii.gz"}, "entry 1: has the same id as entry 2"),
    ],
)
def test_one_bad_entry_leaves_the_rest(folder: Path, entry: Any, said: str) -> None:
    good = {"case": "good", "image": ["b1.nii.gz", "b2.nii.gz"]}
    rows = [{"case": "ok", "image": ["a1.nii.gz", "a2.nii.gz"]}, entry, good]
    found = find_cases(write(folder, rows, ".json"), channels=TWO)
    assert parts(next(c for c in found if c.id == "good")) == ["b1.nii.gz", "b2.nii.gz"]
    (bad,) = [case for case in found if case.problem is not None]
    assert said in words(bad)
    json.dumps(bad.input).encode()
    words(bad).encode()


def test_the_decathlons_data_sets_name_cases(folder: Path) -> None:
    data = {
        "name": "x", "modality": {"0": "T1", "1": "FLAIR"}, "numTest": 1,
        "training": [{"image": "./both.nii.gz", "label": "./labels/both.nii.gz"},
                     {"image": ["./b1.nii.gz", "./b2.nii.gz"], "label": "./b.nii.gz"}],
        "validation": [{"image": "./both.nii.gz"}, {"image": "./absent.nii.gz"}],
        "test": ["./both.nii.gz", ["a1.nii.gz"], {"image": ["a1.nii.gz", "a2.nii.gz"]}],
    }  # fmt: skip
    found = find_cases(write(folder, data, ".json"), channels=TWO)
    good = {case.id: parts(case) for case in found if case.problem is None}
    assert good == {"both": ["both.nii.gz"] * 2, "b1": ["b1.nii.gz", "b2.nii.gz"],
                    "a1": ["a1.nii.gz", "a2.nii.gz"]}  # fmt: skip
    bad = sorted(words(case) for case in found if case.problem is not None)
    assert "test, entry 2: is no" in bad[0]
    assert "validation, entry 2: absent.nii.gz is not there" in bad[1]


# --- what is no list -------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".csv", ".json", ".CSV"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "."),
        (b"\xef\xbb\xbf", "."),
        (b"  \r\n \n", "."),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "line 1 holds what is no text in UTF-8"),
        (b"[\n\n'\xff'\n]", "line 3 holds what is no text"),
        (b"T1,FLAIR\na,\0\n", "line 2 holds what is no text"),
        ("T1,FLAIR\n".encode("utf-16"), "no text in UTF-8"),
        (b"[]", "."),
        (b"{}", "."),
        (b"[" * 100_000, "."),
        (b"1" * 5_000, "."),
        (b'{"training": 3}', "."),
        (b'{"test": [,]}', "."),
        (b"NaN", "."),
        (b"T1,FLAIR\n", "."),
        (b"case,age\na,54\n", "."),
    ],
)
def test_what_is_no_list_is_a_case_with_a_problem(
    folder: Path, content: bytes, said: str, ending: str
) -> None:
    path = write(folder, content, ending)
    found = find_cases([path, folder / "both.nii.gz"], channels=TWO)
    bad, good = sorted(found, key=lambda case: case.problem is None)
    assert parts(good) == ["both.nii.gz"] * 2
    assert isinstance(bad.problem, UnreadableInput)
    assert re.search(said, words(bad))
    assert words(bad).startswith(path.name)
    assert bad.problem.cure


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the list is empty"),
        ("case,T1,FLAIR\n", "the list names no case"),
        ("case,T1,T2\na,x,y\n", "no column for FLAIR; the columns are case, T1, T2"),
        ("case,scan\na,a1.nii.gz\n", "no column holds images; the columns are case, scan"),
        ("case,T1,T1,FLAIR\n", "two columns are named 't1'"),
        ("image_0,image_2\n", "there are columns image_0, image_2; needed are image_0 to image_1"),
        ("image_0\n", "there are columns image_0; needed are image_0 to image_1"),
        ("image_1,image_2\n", "needed are image_0 to image_1"),
        ('T1,FLAIR\na,b\n"c,d\n', "line 3 cannot be read as a line of a table"),
        ('T1,FLAIR\n"a"b,c\n', "line 2 cannot be read as a line of a table"),
        (f"T1,FLAIR\na,{'b' * 200_000}\n", "line 2 cannot be read as a line of a table"),
        (f"case,{'x' * 99}\n", f"the columns are case, {'x' * 40}..."),
    ],
)
def test_what_is_wrong_with_a_table_is_said(folder: Path, content: str, said: str) -> None:
    (found,) = table(folder, content)
    assert said in words(found)


def test_columns_are_guessed_for_no_bundle(folder: Path) -> None:
    """Their order may be another one than the bundle's."""
    content = "case,flair_mr,t1_mr\na,a2.nii.gz,a1.nii.gz\n"
    (found,) = table(folder, content)
    assert "no column holds images; the columns are case, flair_mr, t1_mr" in words(found)
    assert "Name one column for each channel: T1, FLAIR, or image_0 to image_1." in words(found)
    (seen,) = table(folder, content, ())
    assert seen.channels == ("flair_mr", "t1_mr")
    assert parts(seen) == ["a2.nii.gz", "a1.nii.gz"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[\n{,\n]", "line 2 is no JSON"),
        ("", "line 1 is no JSON"),
        ("[]", "the list names no case"),
        ('{"RepetitionTime": 2}', "the JSON is no list of cases"),
        ('"text"', "the JSON is no list of cases"),
        ('{"training": {"image": "x"}}', "training is no list"),
    ],
)
def test_what_is_wrong_with_json_is_said(folder: Path, content: str, said: str) -> None:
    (found,) = find_cases(write(folder, content, ".json"), channels=TWO)
    assert said in words(found)


def test_a_list_without_end_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unetr_app.cases.case_list._MOST_BYTES", 1 << 20)
    (found,) = table(folder, "T1,FLAIR\n" + "a,b\n" * 300_000)
    assert "no more than 1 MiB" in words(found)


def test_an_image_by_content_is_no_list(tmp_path: Path) -> None:
    content = save_nifti(tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.csv").write_bytes(content)
    (found,) = find_cases(tmp_path / "a.csv")
    assert (found.form, found.problem) == ("nifti", None)


TEXTS = st.text(max_size=60) | st.text(alphabet='",;\t\n\r a1.0[]{}:', max_size=200)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["case", "image", "training", "test"]), inner, max_size=3)
    ),
    max_leaves=9,
)


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=80) | TEXTS.map(lambda t: t.encode("utf-8", "surrogatepass"))
       | TEXTS.map(lambda t: ("case,T1,FLAIR\n" + t).encode("utf-8", "surrogatepass"))
       | VALUES.map(lambda v: json.dumps(v).encode()),
       ending=st.sampled_from([".csv", ".json"]),
       channels=st.sampled_from([(), ("T1",), TWO]))  # fmt: skip
def test_no_content_breaks_a_search(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str, channels: Any
) -> None:
    path = tmp_path_factory.mktemp("rubbish") / f"list{ending}"
    path.write_bytes(content)
    found = find_cases(path, channels=channels)
    assert found
    for case in found:
        assert case.paths
        assert case.problem is not None or case.form  # the opening of an image, by chance
        str(case.problem).encode()
