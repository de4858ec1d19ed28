"""De-identified export: nothing of the patient in any byte, pixels and places as they were."""

from __future__ import annotations

import enum
import importlib
import json
import os
import pkgutil
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from tests.canaries import DAY, NUMBER, UID, WORD, plant_everywhere, save_canaries
from tests.io_files import content, edit_dicom, save_series
from unetr_app.cases import find_cases
from unetr_app.errors import Cancelled, InvalidRequest
from unetr_app.io import read_volume
from unetr_app.io.dicom.codestream import has_comment
from unetr_app.io.dicom.confidentiality.dates import moved
from unetr_app.io.dicom.confidentiality.profile import Action, action_of
from unetr_app.io.dicom.confidentiality.uid_map import UidMap, is_uid
from unetr_app.io.dicom.confidentiality.words import is_plain_code, is_plain_text
from unetr_app.io.dicom.deidentify import Choices, Exported, deidentify
from unetr_app.volume import Volume

LOOKED_AT = Choices(accept_pixels=True)


def export(source: Path, out: Path, **options: Any) -> tuple[Exported, list[Path]]:
    done = deidentify([source], out, **options)
    return done, sorted(out.rglob("*.dcm"))


def one(source: Path, out: Path, **options: Any) -> pydicom.Dataset:
    """The one object that came of a run."""
    done, files = export(source, out, **options)
    assert [ended.error for ended in done.ended if ended.error] == []
    (file,) = files
    return pydicom.dcmread(file)


def why(source: Path, out: Path, **options: Any) -> str:
    """Why the one object of a folder was refused."""
    done, files = export(source, out, **options)
    assert files == []
    (ended,) = done.ended
    assert ended.error is not None
    assert ended.error.cure
    return str(ended.error)


def exported_volume(out: Path) -> Volume:
    """The one volume of an export."""
    (case,) = find_cases(out)
    return read_volume(case)


@pytest.fixture
def slice_(tmp_path: Path) -> Path:
    """A CT slice in a folder of its own."""
    path = save_series(tmp_path / "series")[0]
    (tmp_path / "in").mkdir()
    return path.rename(tmp_path / "in" / "slice.dcm")


def holds(folder: Path, *words: str) -> list[str]:
    """Files that hold one of some words in their bytes or names, in capitals or not."""
    found: list[str] = []
    for path in folder.rglob("*"):
        data = path.read_bytes().lower() if path.is_file() else b""
        for word in words:
            for encoding in ("ascii", "utf-16-le"):
                if word.lower().encode(encoding) in data or word.lower() in path.name.lower():
                    found.append(f"{path.name}: {word}")
    return found


@pytest.mark.parametrize("dates", ["remove", "shift"])
@pytest.mark.parametrize("named", [True, False])
def test_a_canary_in_every_attribute_is_in_no_byte(
    tmp_path: Path, named: bool, dates: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = save_canaries(tmp_path / "in", named=named)
    assert len(holds(tmp_path / "in", WORD)) >= len(paths)
    choices = Choices(dates, accept_pixels=True)
    done, files = export(tmp_path / "in", tmp_path / "out", choices=choices)
    assert [str(ended.error) for ended in done.ended if ended.error] == []
    assert len(files) == len(paths)
    assert holds(tmp_path / "out", WORD, UID, DAY, NUMBER) == []
    said = "".join(capfd.readouterr())
    assert WORD not in said


def test_the_planting_is_thorough() -> None:
    assert plant_everywhere(Dataset()) > 3000


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_native_syntax_is_kept_and_cleaned(slice_: Path, tmp_path: Path, syntax: Any) -> None:
    dataset = pydicom.dcmread(slice_)
    before = dataset.pixel_array.copy()
    plant_everywhere(dataset)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = dataset.pixel_array.byteswap().tobytes()
    with pydicom.config.disable_value_validation():
        dataset.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(
            slice_, dataset, implicit_vr=syntax.is_implicit_VR,
            little_endian=syntax.is_little_endian, force_encoding=True,
        )  # fmt: skip
    again = one(tmp_path / "in", tmp_path / "out", choices=LOOKED_AT)
    assert again.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(again.pixel_array, before)
    assert holds(tmp_path / "out", WORD, UID, DAY) == []
    assert WORD not in str(again)


def test_pixels_and_places_are_as_they_were(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "in")
    _, files = export(tmp_path / "in", tmp_path / "out")
    before, after = read_volume(tmp_path / "in"), exported_volume(tmp_path / "out")
    assert np.array_equal(before.data, after.data)
    assert np.array_equal(before.geometry.affine, after.geometry.affine)
    pixels = {pydicom.dcmread(path).PixelData for path in paths}
    assert {pydicom.dcmread(file).PixelData for file in files} == pixels
    reader = sitk.ImageSeriesReader()
    (series,) = {str(file.parent) for file in files}
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(series))
    image = reader.Execute()
    assert np.array_equal(
        sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float32), before.data[0]
    )


def test_names_and_folders_are_of_new_uids_alone(tmp_path: Path) -> None:
    (path, *_) = save_series(tmp_path / "in" / WORD)
    path.rename(path.with_name(f"{WORD}.dcm"))
    _, files = export(tmp_path / "in", tmp_path / "out")
    for file in files:
        dataset = pydicom.dcmread(file)
        study, series, name = file.relative_to(tmp_path / "out").parts
        assert (study, series) == (dataset.StudyInstanceUID, dataset.SeriesInstanceUID)
        assert all(c in "0123456789abcdef" for c in name.removesuffix(".dcm"))
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert is_uid(dataset.SOPInstanceUID)


def test_what_was_done_is_stated(slice_: Path, tmp_path: Path) -> None:
    dataset = one(tmp_path / "in", tmp_path / "out")
    assert dataset.PatientIdentityRemoved == "YES"
    assert dataset.LongitudinalTemporalInformationModified == "REMOVED"
    (code,) = dataset.DeidentificationMethodCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("113100", "DCM")
    assert code.CodeMeaning == "Basic Application Confidentiality Profile"
    assert dataset.preamble == b"\0" * 128
    shifted = one(tmp_path / "in", tmp_path / "out2", choices=Choices("shift"))
    assert shifted.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [code.CodeValue for code in shifted.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107"]


@pytest.mark.parametrize(
    ("keyword", "value", "left"),
    [
        ("PatientName", "Quagmyre^Jo", ""), ("AccessionNumber", "A1", ""),
        ("InstitutionName", "Hospital", "ANONYMIZED"), ("StudyDescription", "Liver", None),
        ("PatientAge", "061Y", None), ("ReferringPhysicianName", "Who^Ever", ""),
        ("ContentDate", "20240301", "19000101"), ("StudyDate", "20240301", ""),
        ("OtherPatientIDs", "B2", None), ("Manufacturer", "SIEMENS", "SIEMENS"),
        ("ManufacturerModelName", "SOMATOM Definition AS", "SOMATOM Definition AS"),
        ("KVP", "120", 120), ("ConvolutionKernel", "STANDARD", "STANDARD"),
        ("BodyPartExamined", "LIVER", "LIVER"), ("PatientWeight", "80", None),
    ],
)  # fmt: skip
def test_table_e_1_1(slice_: Path, tmp_path: Path, keyword: str, value: Any, left: Any) -> None:
    edit_dicom(slice_, **{keyword: value})
    assert one(tmp_path / "in", tmp_path / "out").get(keyword) == left


def test_rows_of_the_table_by_hand() -> None:
    """Read from the standard itself, not from the library."""
    rows = {
        (0x0008, 0x0050): Action.EMPTY, (0x0010, 0x0010): Action.EMPTY,
        (0x0010, 0x1010): Action.REMOVE, (0x0008, 0x0018): Action.MAP,
        (0x0020, 0x0052): Action.MAP, (0x0008, 0x2112): Action.REFER,
        (0x0008, 0x1140): Action.REFER, (0x0010, 0x0020): Action.DUMMY,
        (0x0018, 0x1000): Action.DUMMY, (0x0040, 0xA730): Action.DUMMY,
        (0x0400, 0x0561): Action.REMOVE, (0xFFFA, 0xFFFA): Action.REMOVE,
        (0x6002, 0x3000): Action.REMOVE, (0x5010, 0x0005): Action.REMOVE,
        (0x0029, 0x1010): Action.REMOVE, (0x0028, 0x0010): Action.JUDGE,
    }  # fmt: skip
    assert {tag: action_of(*tag) for tag in rows} == rows


def test_uids_are_replaced_alike_in_all_files_and_sequences(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "in")
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in paths]
    reference = Dataset()
    reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    reference.ReferencedSOPInstanceUID = uids[1]
    nested = Dataset()
    nested.ReferencedImageSequence = Sequence([reference])
    edit_dicom(paths[0], ReferencedSeriesSequence=Sequence([nested]))
    _, files = export(tmp_path / "in", tmp_path / "out")
    datasets = [pydicom.dcmread(file) for file in files]
    assert len({d.StudyInstanceUID for d in datasets}) == 1
    assert len({d.FrameOfReferenceUID for d in datasets}) == 1
    new = {d.SOPInstanceUID for d in datasets}
    assert len(new) == len(paths)
    assert new.isdisjoint(uids)
    (first,) = [d for d in datasets if "ReferencedSeriesSequence" in d]
    item = first.ReferencedSeriesSequence[0].ReferencedImageSequence[0]
    assert item.ReferencedSOPInstanceUID in new - {first.SOPInstanceUID}
    assert item.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"


def test_two_runs_with_one_map_keep_a_study_together(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "in")
    uid_map = tmp_path / "private" / "map.json"
    deidentify(paths[:3], tmp_path / "out", uid_map=uid_map)
    deidentify(paths[3:], tmp_path / "out", uid_map=uid_map)
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert exported_volume(tmp_path / "out").geometry == read_volume(tmp_path / "in").geometry
    if os.name == "posix":
        assert stat.S_IMODE(uid_map.stat().st_mode) == 0o600
    known = json.loads(uid_map.read_text())["uids"]
    assert {pydicom.dcmread(path).SOPInstanceUID for path in paths} <= known.keys()


def test_without_a_map_runs_have_nothing_in_common(tmp_path: Path) -> None:
    save_series(tmp_path / "in")
    _, first = export(tmp_path / "in", tmp_path / "a")
    _, second = export(tmp_path / "in", tmp_path / "b")
    assert {p.name for p in first}.isdisjoint(p.name for p in second)


def test_again_changes_nothing_and_a_stop_goes_on(tmp_path: Path) -> None:
    save_series(tmp_path / "in")
    uid_map = tmp_path / "map.json"
    asked = iter([False, False, False, True])
    with pytest.raises(Cancelled):
        deidentify([tmp_path / "in"], tmp_path / "out", uid_map=uid_map,
                   should_stop=lambda: next(asked))  # fmt: skip
    assert len(content(tmp_path / "out")) == 3
    done = deidentify([tmp_path / "in"], tmp_path / "out", uid_map=uid_map)
    assert (done.count("already done"), done.count("done")) == (3, 4)
    before = content(tmp_path / "out")
    done = deidentify([tmp_path / "in"], tmp_path / "out", uid_map=uid_map)
    assert done.count("already done") == 7
    assert content(tmp_path / "out") == before


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = save_series(tmp_path / "in")[0]
    uid_map = tmp_path / "map.json"
    deidentify([path], tmp_path / "out", uid_map=uid_map)
    before = content(tmp_path / "out")
    edit_dicom(path, WindowWidth="77")
    done = deidentify([path], tmp_path / "out", uid_map=uid_map)
    assert "same SOP Instance UID" in str(done.ended[0].error)
    assert content(tmp_path / "out") == before
    with pytest.raises(InvalidRequest, match="not empty"):
        deidentify([path], tmp_path / "out")


def test_folders_within_each_other_and_maps_among_results_are_refused(tmp_path: Path) -> None:
    save_series(tmp_path / "in" / "sub")
    for out in ("in/out", "in", "."):
        with pytest.raises(InvalidRequest, match="within each other"):
            deidentify([tmp_path / "in"], tmp_path / out)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(InvalidRequest, match="within each other"):
        deidentify([tmp_path / "in"], tmp_path / "link" / "out")
    with pytest.raises(InvalidRequest, match="UID map lies within"):
        deidentify([tmp_path / "in"], tmp_path / "out", uid_map=tmp_path / "out" / "m.json")
    (tmp_path / "bad.json").write_text('{"form": "unetr uid map 1", "secret": "00"}')
    with pytest.raises(InvalidRequest, match="no UID map"):
        deidentify([tmp_path / "in"], tmp_path / "out", uid_map=tmp_path / "bad.json")
    assert not (tmp_path / "out").exists()


def test_one_bad_file_does_not_end_the_run(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "in")
    paths[2].write_bytes(paths[2].read_bytes()[:-20])
    (tmp_path / "in" / "notes.txt").write_text("no image")
    (tmp_path / "in" / "empty.dcm").touch()
    done, files = export(tmp_path / "in", tmp_path / "out")
    assert (done.count("done"), done.count("failed"), done.passed_over) == (6, 2, 1)
    assert len(files) == 6
    said = {Path(e.path).name: str(e.error) for e in done.ended if e.error}
    assert said.keys() == {paths[2].name, "empty.dcm"}


@settings(max_examples=30)
@given(cut=st.integers(1, 2000), flips=st.lists(st.integers(0, 10**6), max_size=6))
def test_damage_never_ends_a_run_and_never_leaks(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = save_series(folder / "in")[0]
    edit_dicom(path, PatientName=f"{WORD}^Jo", PatientID=WORD, StudyDescription=WORD)
    data = bytearray(path.read_bytes())
    for place in flips:
        data[132 + place % (len(data) - 132)] ^= 0x41
    path.write_bytes(data[: max(200, len(data) - cut)] if cut % 2 else data)
    done = deidentify([path], folder / "out")
    assert len(done.ended) + done.passed_over == 1
    left = [p for p in (folder / "out").rglob("*") if p.is_file()]
    assert len(left) == done.count("done")


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned-in annotation"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "BurnedInAnnotation": "NO"},
         "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1", "BurnedInAnnotation": "NO"},
         "ultrasound"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.3.1"}, "ultrasound"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4.1"}, "video"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"}, "often has burned-in"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.1"}, "often has burned-in"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screen"),
        ({"ImageType": ["DERIVED", "PRIMARY", "CT_SOM5 PROT"]}, "screen"),
        ({"ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"], "BurnedInAnnotation": "NO"},
         "screen"),
        ({"ImageType": ["DERIVED", "SECONDARY", "STRANGE"]}, "unknown kind"),
        ({"ConversionType": "WSD"}, "secondary capture"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, ""),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, ""),
    ],
)  # fmt: skip
def test_pixels_that_may_show_text_are_refused_until_looked_at(
    slice_: Path, tmp_path: Path, tags: dict[str, Any], words: str
) -> None:
    edit_dicom(slice_, **tags)
    if not words:
        assert one(tmp_path / "in", tmp_path / "out")
        return
    said = why(tmp_path / "in", tmp_path / "out")
    assert words in said
    assert "--accept-pixels" in said
    accepted = one(tmp_path / "in", tmp_path / "accepted", choices=LOOKED_AT)
    assert accepted.get("BurnedInAnnotation", "NO") == "NO"


def test_an_overlay_in_unused_bits_is_refused(slice_: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(slice_)
    dataset.add_new(0x60000010, "US", 5)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 12)
    dataset.save_as(slice_)
    assert "overlay within its pixel values" in why(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("kind", ["104.1", "104.2", "104.3"])
def test_documents_are_refused_whoever_has_looked(slice_: Path, tmp_path: Path, kind: str) -> None:
    edit_dicom(slice_, SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{kind}", PixelData=None,
               EncapsulatedDocument=b"%PDF")  # fmt: skip
    assert "document" in why(tmp_path / "in", tmp_path / "out", choices=LOOKED_AT)


def test_presentation_states_with_text_are_refused(slice_: Path, tmp_path: Path) -> None:
    edit_dicom(slice_, SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1", PixelData=None)
    assert one(tmp_path / "in", tmp_path / "plain")
    text = Dataset()
    text.UnformattedTextValue = WORD
    graphic = Dataset()
    graphic.TextObjectSequence = Sequence([text])
    edit_dicom(slice_, GraphicAnnotationSequence=Sequence([graphic]))
    assert "presentation state" in why(tmp_path / "in", tmp_path / "out", choices=LOOKED_AT)


def test_compressed_pixels_stay_byte_for_byte(slice_: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(slice_)
    dataset.compress(RLELossless)
    dataset.save_as(slice_)
    again = one(tmp_path / "in", tmp_path / "out")
    assert again.file_meta.TransferSyntaxUID == RLELossless
    assert again.PixelData == dataset.PixelData
    assert np.array_equal(again.pixel_array, dataset.pixel_array)


def test_a_comment_within_compressed_pixels_is_found(slice_: Path, tmp_path: Path) -> None:
    frame = b"\xff\x4f\xff\x51\x00\x04ab\xff\x64\x00\x0d\x00\x01" + b"J Miller!" + b"\xff\x90"
    assert has_comment(frame)
    dataset = pydicom.dcmread(slice_)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.save_as(slice_)
    assert "carries a comment" in why(tmp_path / "in", tmp_path / "out")


def test_bytes_after_the_last_pixel_go(slice_: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(slice_)
    pixels = dataset.PixelData
    dataset.PixelData = pixels + b"after the pixels"
    dataset.save_as(slice_)
    assert one(tmp_path / "in", tmp_path / "out").PixelData == pixels


def test_the_patient_in_the_pixel_data_is_refused(slice_: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(slice_)
    dataset.PatientName = f"{WORD}^Jo"
    dataset.PixelData = WORD.encode() + dataset.PixelData[len(WORD) :]
    dataset.save_as(slice_)
    said = why(tmp_path / "in", tmp_path / "out", choices=LOOKED_AT)
    assert "left in the object" in said
    assert WORD not in said


def test_heads_are_warned_of(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "in")
    edit_dicom(paths[0], BodyPartExamined="HEAD")
    edit_dicom(paths[1], StudyDescription="cranial CT")
    edit_dicom(paths[2], BodyPartExamined="ABDOMEN")
    done, _ = export(tmp_path / "in", tmp_path / "out")
    assert done.faces == 2


def test_uids_that_are_missing_are_given_by_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for path in save_series(tmp_path / "in" / name):
            edit_dicom(path, StudyInstanceUID=None, SeriesInstanceUID=None, SOPInstanceUID=None,
                       PatientID=None, InstanceNumber=name == "a")  # fmt: skip
    done, files = export(tmp_path / "in", tmp_path / "out")
    assert (len(files), len(done.series)) == (14, 2)


def test_two_patients_stay_two_and_one_stays_one(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "in")
    for number, path in enumerate(paths):
        edit_dicom(path, PatientID="A" if number < 3 else "B")
    _, files = export(tmp_path / "in", tmp_path / "out")
    assert len({pydicom.dcmread(file).PatientID for file in files}) == 2


def test_shifted_dates_keep_intervals(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "in")[:2]
    for path, day in zip(paths, ("20240228", "20240301"), strict=True):
        edit_dicom(path, StudyDate=day, StudyTime="101530", PatientBirthDate="19700101",
                   AcquisitionDateTime=f"{day}101530.5")  # fmt: skip
    deidentify(paths, tmp_path / "out", choices=Choices("shift"))
    found = [pydicom.dcmread(file) for file in (tmp_path / "out").rglob("*.dcm")]
    first, last = sorted(np.datetime64(f"{d.StudyDate[:4]}-{d.StudyDate[4:6]}-{d.StudyDate[6:]}")
                         for d in found)  # fmt: skip
    assert last - first == np.timedelta64(2, "D")
    assert last < np.datetime64("2023-03-02")
    assert {d.StudyTime for d in found} == {"101530"}
    assert {d.PatientBirthDate for d in found} == {""}
    assert all(d.AcquisitionDateTime == f"{d.StudyDate}101530.5" for d in found)


@given(day=st.dates(), days=st.integers(366, 3652))
def test_a_moved_date_is_a_date(day: Any, days: int) -> None:
    new = moved(day.strftime("%Y%m%d").rjust(8, "0"), "DA", days)
    assert len(new) == 8
    assert new.isdigit()


@given(st.text(max_size=70))
def test_new_uids_are_uids_and_different(text: str) -> None:
    uids = UidMap(b"secret of some length")
    assert is_uid(uids.uid(text))
    assert uids.uid(text) == UidMap(b"secret of some length").uid(text)
    assert uids.uid(text) != uids.uid(text + ".1")
    assert UidMap().uid(text) != uids.uid(text)


@pytest.mark.parametrize("text", ["Left kidney", "GE MEDICAL SYSTEMS", "LightSpeed16", "HU", ""])
def test_words_of_imaging_are_plain(text: str) -> None:
    assert is_plain_text(text)


@pytest.mark.parametrize(
    "text", ["Miller", "liver of J. Doe", "Jane", "19870605", "brain 01.02.1970", "Müller", "Li Wu"]
)
def test_other_words_are_not(text: str) -> None:
    assert not is_plain_text(text)


@pytest.mark.parametrize(
    "code", ["ORIGINAL", "M_FFE", "CT_SOM5 SEQ", "HFS", "MONOCHROME2", "DIS2D", "FFDL", "1500"]
)
def test_codes_of_images_are_plain(code: str) -> None:
    assert is_plain_code(code)


def test_values_that_the_standard_lists_are_plain() -> None:
    """As highdicom has them: for segmentations, reports, presentation states and images."""
    highdicom = pytest.importorskip("highdicom")
    names = [m.name for m in pkgutil.walk_packages(highdicom.__path__, "highdicom.")]
    kinds = [
        kind
        for name in names if name.endswith("enum")
        for kind in vars(importlib.import_module(name)).values()
        if isinstance(kind, type) and issubclass(kind, enum.Enum)
    ]  # fmt: skip
    values = {str(one.value) for kind in kinds for one in kind}
    coded = {value for value in values if re.fullmatch("[A-Z][A-Z0-9_ ]{1,15}", value)}
    coded = {value for value in coded if not re.match("ISO |ISO_|GB", value)}  # character sets
    assert len(coded) > 150
    assert {value for value in coded if not is_plain_code(value)} == set()


def test_unknown_image_types_stay_apart(tmp_path: Path) -> None:
    """What told two volumes from each other still does."""
    paths = save_series(tmp_path / "in")
    for number, path in enumerate(paths):
        edit_dicom(path, ImageType=["ORIGINAL", "PRIMARY", f"ZYX{'AB'[number % 2]}"])
    _, files = export(tmp_path / "in", tmp_path / "out")
    kinds = [tuple(pydicom.dcmread(file).ImageType) for file in files]
    assert len(set(kinds)) == 2
    assert all(kind[:2] == ("ORIGINAL", "PRIMARY") for kind in kinds)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
def test_no_new_error_for_dciodvfy(slice_: Path, tmp_path: Path) -> None:
    one(tmp_path / "in", tmp_path / "out")
    (file,) = (tmp_path / "out").rglob("*.dcm")
    assert errors(file) <= errors(slice_)


def errors(path: Path) -> set[str]:
    ran = subprocess.run(
        ["dciodvfy", "-new", path], capture_output=True, text=True, check=False, errors="replace"
    )
    return {line for line in ran.stderr.splitlines() if line.startswith("Error")}


SERIES = [
    "hippocampus_crop", "brain_mr_oblique", "ct_tilt/S3010", "dicom2nifti/ge/anatomical/001",
    "dicom2nifti/siemens/anatomical/001_implicit", "dicom2nifti/generic/compressed_rle/001",
    "dicom2nifti/generic/compressed_j2k/001", "dcmqi_segmentations/ct-3slice",
]  # fmt: skip


@pytest.mark.parametrize("name", SERIES)
def test_real_series_keep_their_volume(shared: Path, tmp_path: Path, name: str) -> None:
    folder = shared / "data" / "dicom" / name
    done, files = export(folder, tmp_path / "out")
    assert [str(ended.error) for ended in done.ended if ended.error] == []
    before, after = read_volume(folder), exported_volume(tmp_path / "out")
    assert np.array_equal(before.data, after.data)
    assert np.array_equal(before.geometry.affine, after.geometry.affine)
    names = set(words_of(folder))
    assert names
    assert holds(tmp_path / "out", *names) == []
    if shutil.which("dciodvfy"):
        sources = [p for p in folder.iterdir() if p.suffix == ".dcm" or "." not in p.name]
        known = {e for source in sources[:4] for e in errors(source)}
        assert errors(files[0]) <= known


def words_of(folder: Path) -> Iterable[str]:
    """What names the patient in a series, long enough to be looked for."""
    for path in sorted(folder.iterdir())[:2]:
        try:
            dataset = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        yield from (str(dataset[k].value) for k in ("PatientID", "StudyInstanceUID",
                    "SOPInstanceUID", "SeriesInstanceUID")
                    if k in dataset and len(str(dataset[k].value)) > 5)  # fmt: skip


def test_a_segmentation_still_refers_to_its_images(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "dicom" / "dcmqi_segmentations" / "24x38x3"
    deidentify([source / "image", source / "seg"], tmp_path / "out")
    found = [pydicom.dcmread(file) for file in (tmp_path / "out").rglob("*.dcm")]
    (seg,) = [d for d in found if d.Modality == "SEG"]
    images = {d.SOPInstanceUID for d in found if d.Modality == "CT"}
    (series,) = seg.ReferencedSeriesSequence
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} <= images
    assert {d.FrameOfReferenceUID for d in found if d is not seg} == {seg.FrameOfReferenceUID}
    (original,) = (source / "seg").iterdir()
    before = pydicom.dcmread(original)
    assert seg.PixelData == before.PixelData
    for old, new in zip(before.SegmentSequence, seg.SegmentSequence, strict=True):
        assert new.SegmentLabel == old.SegmentLabel
        assert (
            new.SegmentedPropertyTypeCodeSequence[0].CodeMeaning
            == old.SegmentedPropertyTypeCodeSequence[0].CodeMeaning
        )


def test_a_report_keeps_its_structure_and_references_but_no_text(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "in")
    image = pydicom.dcmread(paths[0])
    edit_dicom(paths[0], tmp_path / "in" / "sr.dcm", PixelData=None, Modality="SR",
               SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33", SOPInstanceUID="1.2.3.4",
               ContentSequence=Sequence([
                   item("TEXT", TextValue=f"Seen by {WORD}"), item("PNAME", PersonName=WORD),
                   item("UIDREF", UID="1.2.3.4"),
                   item("IMAGE", ReferencedSOPSequence=Sequence([reference_to(image)])),
               ]))  # fmt: skip
    _, files = export(tmp_path / "in", tmp_path / "out")
    found = [pydicom.dcmread(file) for file in files]
    (report,) = [d for d in found if d.Modality == "SR"]
    text, person, uid, picture = report.ContentSequence
    assert (text.TextValue, str(person.PersonName)) == ("ANONYMIZED", "ANONYMIZED")
    assert report.SOPInstanceUID == uid.UID
    assert picture.ReferencedSOPSequence[0].ReferencedSOPInstanceUID in {
        d.SOPInstanceUID for d in found if d is not report
    }
    assert text.ConceptNameCodeSequence[0].CodeMeaning == "Finding"
    assert "113104" in {c.CodeValue for c in report.DeidentificationMethodCodeSequence}
    assert holds(tmp_path / "out", WORD) == []


def item(kind: str, **values: Any) -> Dataset:
    """An item of a report, named a finding."""
    name, made = Dataset(), Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = "121071", "DCM", "Finding"
    made.ValueType, made.RelationshipType = kind, "CONTAINS"
    made.ConceptNameCodeSequence = Sequence([name])
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def reference_to(image: Dataset) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID = image.SOPClassUID
    made.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return made


def test_contours_keep_their_points_and_images(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "in")
    image = pydicom.dcmread(paths[0])
    roi, contour, drawn = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName = 3, f"Liver of {WORD}"
    roi.ReferencedFrameOfReferenceUID = image.FrameOfReferenceUID
    contour.ContourData, contour.ContourGeometricType = ["1.25", "2", "-3e1"], "POINT"
    contour.ContourImageSequence = Sequence([reference_to(image)])
    drawn.ContourSequence, drawn.ReferencedROINumber = Sequence([contour]), 3
    edit_dicom(paths[0], tmp_path / "in" / "rt.dcm", PixelData=None, Modality="RTSTRUCT",
               SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3", SOPInstanceUID="1.2.3.4",
               StructureSetROISequence=Sequence([roi]),
               ROIContourSequence=Sequence([drawn]))  # fmt: skip
    _, files = export(tmp_path / "in", tmp_path / "out")
    found = [pydicom.dcmread(file) for file in files]
    (structures,) = [d for d in found if d.Modality == "RTSTRUCT"]
    assert structures.StructureSetROISequence[0].ROIName == "ROI 3"
    new = structures.ROIContourSequence[0].ContourSequence[0]
    assert [str(number) for number in new.ContourData] == ["1.25", "2", "-3e1"]
    images = {d.SOPInstanceUID for d in found if d is not structures}
    assert new.ContourImageSequence[0].ReferencedSOPInstanceUID in images
    assert new.ContourGeometricType == "POINT"
    assert structures.StructureSetROISequence[0].ReferencedFrameOfReferenceUID in {
        d.FrameOfReferenceUID for d in found
    }


def test_what_suv_needs_stays_where_asked(slice_: Path, tmp_path: Path) -> None:
    injection = Dataset()
    injection.RadiopharmaceuticalStartTime = "101530"
    injection.RadionuclideTotalDose = "3.7e8"
    edit_dicom(slice_, RadiopharmaceuticalInformationSequence=Sequence([injection]))
    (kept,) = one(
        tmp_path / "in", tmp_path / "out", choices=Choices("shift")
    ).RadiopharmaceuticalInformationSequence
    assert (kept.RadiopharmaceuticalStartTime, kept.RadionuclideTotalDose) == ("101530", 3.7e8)
    (gone,) = one(tmp_path / "in", tmp_path / "out2").RadiopharmaceuticalInformationSequence
    assert "RadiopharmaceuticalStartTime" not in gone


def test_characteristics_stay_where_asked_but_no_great_age(slice_: Path, tmp_path: Path) -> None:
    edit_dicom(slice_, PatientAge="093Y", PatientSex="F", PatientWeight="71.5")
    choices = Choices(keep_characteristics=True)
    dataset = one(tmp_path / "in", tmp_path / "out", choices=choices)
    assert (dataset.PatientAge, dataset.PatientSex) == ("090Y", "F")
    assert str(dataset.PatientWeight) == "71.5"
    codes = [code.CodeValue for code in dataset.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113108"]


def test_a_code_keeps_what_the_standard_states_alone(slice_: Path, tmp_path: Path) -> None:
    known, odd, local = Dataset(), Dataset(), Dataset()
    known.CodeValue, known.CodingSchemeDesignator, known.CodeMeaning = "10200004", "SCT", "Liver"
    odd.CodeValue, odd.CodingSchemeDesignator, odd.CodeMeaning = "999999007", "SCT", WORD
    local.CodeValue, local.CodingSchemeDesignator, local.CodeMeaning = WORD, "99HERE", WORD
    edit_dicom(slice_, AnatomicRegionSequence=Sequence([known, odd, local]))
    found = one(tmp_path / "in", tmp_path / "out").AnatomicRegionSequence
    assert [code.CodeMeaning for code in found][:2] == ["Liver", "SCT 999999007"]
    assert [code.CodingSchemeDesignator for code in found] == ["SCT", "SCT", "99ANON"]
    assert holds(tmp_path / "out", WORD) == []
