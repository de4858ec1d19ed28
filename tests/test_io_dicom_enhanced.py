"""Enhanced multi-frame files: every frame at its own place, with its own rescale, in its volume."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import io_orientation, ornt_transform
from pydicom.uid import RLELossless, generate_uid

from tests.enhanced_files import Frame, frames_of_volume, save_enhanced
from tests.io_files import OBLIQUE, integers, save_series
from tests.strategies import geometries
from unetr_app.cases import find_cases
from unetr_app.errors import InvalidRequest, UnevenSlices, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry, read_volume
from unetr_app.io.dicom.enhanced import frames_of
from unetr_app.io.dicom.index import index_slices
from unetr_app.io.dicom.slice import read_slice
from unetr_app.volume import Volume

STORED = integers(OBLIQUE.shape)


def at_ascending_place(geometry: Geometry, values: np.ndarray[Any, Any]) -> tuple[Any, Geometry]:
    """Voxels and grid as reading gives them: slices along the normal of rows and columns."""
    axes = geometry.affine_lps[:3, :3]
    if np.cross(axes[:, 0], axes[:, 1]) @ axes[:, 2] > 0:
        return values, geometry
    affine = geometry.affine.copy()
    affine[:3, 3] = geometry.index_to_world((0, 0, geometry.shape[2] - 1))
    affine[:3, 2] *= -1
    return values[..., ::-1], Geometry(geometry.shape, affine)


@settings(max_examples=20, deadline=None)
@given(geometry=geometries(min_side=2, max_side=5), seed=st.integers(0, 99),
       per_frame=st.booleans(), modality=st.sampled_from(["MR", "CT"]))  # fmt: skip
def test_frames_in_any_order_make_the_volume(
    tmp_path_factory: pytest.TempPathFactory, geometry: Geometry, seed: int, per_frame: bool,
    modality: str,
) -> None:  # fmt: skip
    stored = integers(geometry.shape, seed)
    frames = frames_of_volume(stored, geometry)
    np.random.default_rng(seed).shuffle(frames)  # pyright: ignore[reportArgumentType]
    path = save_enhanced(tmp_path_factory.mktemp("e") / "x", frames, geometry,
                         per_frame=per_frame, modality=modality)  # fmt: skip
    volume = read_volume(path)
    values, place = at_ascending_place(geometry, stored)
    assert np.array_equal(volume.data[0], values)
    assert volume.geometry.is_close(place, 1e-4)
    (case,) = find_cases(path)
    assert (case.form, case.paths, case.geometry) == ("enhanced", (str(path),), volume.geometry)
    assert sorted(n for _, n in case.frames) == list(range(geometry.shape[2]))


def test_rescale_and_representation_are_those_of_each_frame(tmp_path: Path) -> None:
    frames = frames_of_volume(STORED - 300, OBLIQUE)
    for n, frame in enumerate(frames):
        frame.slope, frame.intercept = 1 + n / 4, 10.0 * n - 5
    volume = read_volume(save_enhanced(tmp_path / "x.dcm", frames, OBLIQUE))
    n = np.arange(OBLIQUE.shape[2])
    expected = (STORED - 300) * (1 + n / 4) + (10.0 * n - 5)
    assert np.array_equal(volume.data[0], expected.astype(np.float32))


def test_a_tilted_gantry_in_one_file_keeps_its_shear(tmp_path: Path) -> None:
    affine = np.diag([-0.7, -0.7, 2.5, 1.0])
    affine[1, 2] = 0.9
    tilted = Geometry((5, 6, 4), affine)
    stored = integers(tilted.shape)
    path = save_enhanced(tmp_path / "x", frames_of_volume(stored, tilted), tilted, modality="CT")
    volume = read_volume(path)
    assert volume.geometry.is_sheared
    assert volume.geometry.is_close(tilted, 1e-4)
    assert np.array_equal(volume.data[0], stored)


def test_compressed_frames_are_decoded_each(tmp_path: Path) -> None:
    path = save_enhanced(tmp_path / "x.dcm", frames_of_volume(STORED, OBLIQUE), OBLIQUE)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(path)
    assert np.array_equal(read_volume(path).data[0], STORED)


# --- several volumes in one file -------------------------------------------------------------

TOLD_APART: dict[str, list[dict[str, Any]]] = {
    "echo": [{"MREchoSequence": {"EffectiveEchoTime": t}} for t in (4.6, 9.2, 20.0)],
    "time point": [{"FrameContentSequence": {"TemporalPositionIndex": n}} for n in (1, 2, 10)],
    "stack": [{"FrameContentSequence": {"StackID": n}} for n in "12"],
    "b-value": [{"MRDiffusionSequence": {"DiffusionBValue": b}} for b in (0.0, 800.0)],
    "gradient direction": [
        {"MRDiffusionSequence": {"DiffusionBValue": 800.0, "DiffusionGradientDirectionSequence":
                                 {"DiffusionGradientOrientation": v}}}
        for v in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])],
    "frame type": [{"MRImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", t, "NONE"]}}
                   for t in ("M", "P")],
    "complex component": [{"MRImageFrameTypeSequence": {"ComplexImageComponent": t}}
                          for t in ("MAGNITUDE", "PHASE")],
    "cardiac phase": [
        {"CardiacSynchronizationSequence": {"NominalPercentageOfCardiacPhase": p}}
        for p in (0.0, 50.0)],
    "tube voltage": [{"CTXRayDetailsSequence": {"KVP": v}} for v in (80.0, 140.0)],
}  # fmt: skip


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("word", TOLD_APART)
def test_volumes_in_one_file_are_told_apart(tmp_path: Path, word: str, interleaved: bool) -> None:
    stored = [integers(OBLIQUE.shape, n) for n in range(len(TOLD_APART[word]))]
    sets = [frames_of_volume(values, OBLIQUE, **groups)
            for values, groups in zip(stored, TOLD_APART[word], strict=True)]  # fmt: skip
    frames = ([f for many in zip(*sets, strict=True) for f in many] if interleaved
              else [f for one in sets for f in one])  # fmt: skip
    path = save_enhanced(tmp_path / "x.dcm", frames, OBLIQUE)
    cases = find_cases(path)
    assert len({case.id for case in cases}) == len(cases) == len(stored)
    found = [read_volume(case) for case in cases]
    assert all(v.geometry.is_close(OBLIQUE, 1e-4) for v in found)
    assert all(any(f"told apart by {word}" in w for w in case.warnings) for case in cases)
    for values in stored:
        assert sum(np.array_equal(v.data[0], values) for v in found) == 1
    with pytest.raises(InvalidRequest, match=f"{len(stored)} volumes"):
        read_volume(path)


def test_two_dimensions_at_once(tmp_path: Path) -> None:
    """b = 0 without direction, b = 800 with two: three volumes."""
    groups = [TOLD_APART["b-value"][0], *TOLD_APART["gradient direction"]]
    frames = [f for n, g in enumerate(groups)
              for f in frames_of_volume(integers(OBLIQUE.shape, n), OBLIQUE, **g)]  # fmt: skip
    found = find_cases(save_enhanced(tmp_path / "x.dcm", frames, OBLIQUE))
    assert [case.form for case in found] == ["enhanced"] * 3


def test_stacks_beside_each_other_are_volumes_of_their_own(tmp_path: Path) -> None:
    above = OBLIQUE.cropped((0, 0, 30), OBLIQUE.shape)
    beside = OBLIQUE.cropped((9, 0, 2), (5, 6, 3))
    frames = [f for n, g in (("1", OBLIQUE), ("2", above), ("3", beside))
              for f in frames_of_volume(integers(g.shape, int(n)), g,
                                        FrameContentSequence={"StackID": n})]  # fmt: skip
    found = find_cases(save_enhanced(tmp_path / "x.dcm", frames, OBLIQUE))
    assert sorted(case.geometry.shape[2] for case in found if case.geometry) == [3, 7, 7]


def test_a_file_for_each_time_point(tmp_path: Path) -> None:
    for n in range(3):
        frames = frames_of_volume(integers(OBLIQUE.shape, n), OBLIQUE)
        save_enhanced(tmp_path / f"{n}.dcm", frames, OBLIQUE)
    found = find_cases(tmp_path)
    assert [case.form for case in found] == ["enhanced"] * 3
    for case in found:
        n = int(Path(case.paths[0]).stem)
        assert np.array_equal(read_volume(case).data[0], integers(OBLIQUE.shape, n))


def test_a_volume_over_several_files_and_a_copy_of_one(tmp_path: Path) -> None:
    """Concatenations (PS3.3 C.7.6.16.2.2.4): the parts of one volume."""
    frames = frames_of_volume(STORED, OBLIQUE)
    save_enhanced(tmp_path / "b.dcm", frames[:3], OBLIQUE)
    save_enhanced(tmp_path / "a.dcm", frames[3:], OBLIQUE)
    shutil.copy(tmp_path / "a.dcm", tmp_path / "c.dcm")
    (case,) = find_cases(tmp_path)
    assert np.array_equal(read_volume(case).data[0], STORED)
    assert [f for _, f in case.frames] == [0, 1, 2, 0, 1, 2, 3]
    assert any("1 file left out: exact copies" in w for w in case.warnings)


# --- what is refused -------------------------------------------------------------------------


def _frames() -> list[Frame]:
    return frames_of_volume(STORED, OBLIQUE)


def test_frames_at_one_place_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    path = save_enhanced(tmp_path / "x.dcm", [*_frames(), *_frames()], OBLIQUE)
    with pytest.raises(UnsafeGeometry, match=r"x.dcm frame 1 and x.dcm frame 8 lie at the same"):
        read_volume(path)


def test_a_missing_frame_is_a_gap(tmp_path: Path) -> None:
    frames = _frames()
    del frames[3]
    path = save_enhanced(tmp_path / "x.dcm", frames, OBLIQUE)
    with pytest.raises(UnevenSlices, match=r"1 slice is missing.*frame 3 to x.dcm frame 4"):
        read_volume(path)
    (case,) = find_cases(path)
    assert case.form == "gaps"
    volume = read_volume(case, regularise=True)
    assert volume.geometry.is_close(OBLIQUE, 1e-3)


@pytest.mark.parametrize(
    ("tags", "words", "form"),
    [
        ({"PerFrameFunctionalGroupsSequence": []}, "do not say where", "enhanced"),
        ({"NumberOfFrames": "9"}, "promises 9 frames, and its headers describe 7", "enhanced"),
        ({"SamplesPerPixel": 3}, "colour", "not-a-volume"),
        ({"PixelData": bytes(100)}, "truncated", "enhanced"),
    ],
)  # fmt: skip
def test_refused_in_words(tmp_path: Path, tags: dict[str, Any], words: str, form: str) -> None:
    path = save_enhanced(tmp_path / "x.dcm", _frames(), OBLIQUE, tags=tags)
    with pytest.raises((UnreadableInput, UnsafeGeometry), match=words) as caught:
        read_volume(path)
    assert caught.value.cure
    assert "SECRET" not in str(caught.value)
    (case,) = find_cases(path)
    assert case.form == form


@pytest.mark.parametrize("group", ["PlanePositionSequence", "PlaneOrientationSequence",
                                   "PixelMeasuresSequence"])  # fmt: skip
def test_a_frame_without_its_place_is_named(tmp_path: Path, group: str) -> None:
    path = save_enhanced(tmp_path / "x.dcm", _frames(), OBLIQUE)
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence[4][group]
    dataset.save_as(path)
    with pytest.raises(UnsafeGeometry, match=r"absent.*\(1 of 7"):
        read_volume(path)


@pytest.mark.parametrize("sop_class", ["12.1", "12.1.1", "3.1", "7.3", "13.1.1", "6.2"])
def test_other_multi_frame_kinds_are_refused_in_words(tmp_path: Path, sop_class: str) -> None:
    path = save_enhanced(tmp_path / "x.dcm", _frames(), OBLIQUE,
                         tags={"SOPClassUID": f"1.2.840.10008.5.1.4.1.1.{sop_class}"})  # fmt: skip
    with pytest.raises(UnreadableInput, match="7 frames of a kind that is no stack of slices"):
        read_volume(path)


def test_half_of_the_frames_mirrored_is_refused(tmp_path: Path) -> None:
    path = save_enhanced(tmp_path / "x.dcm", _frames(), OBLIQUE)
    dataset = pydicom.dcmread(path)
    for item in dataset.PerFrameFunctionalGroupsSequence[4:]:
        plane = item.PlaneOrientationSequence[0]
        row = [-float(v) for v in plane.ImageOrientationPatient[:3]]
        plane.ImageOrientationPatient = [*row, *plane.ImageOrientationPatient[3:]]
    dataset.save_as(path)
    with pytest.raises(UnsafeGeometry, match="differ in orientation"):
        read_volume(path)


@settings(max_examples=40, deadline=None)
@given(keep=st.integers(0, 10**6))
def test_a_file_cut_anywhere_never_gives_a_volume(
    tmp_path_factory: pytest.TempPathFactory, keep: int
) -> None:
    path = save_enhanced(tmp_path_factory.mktemp("cut") / "x.dcm", _frames()[:2], OBLIQUE)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep % len(whole)])
    with pytest.raises((UnreadableInput, UnsafeGeometry)):
        read_volume(path)


def test_single_files_of_the_same_series_are_a_volume_of_their_own(tmp_path: Path) -> None:
    """An archive may keep what was converted beside the conversion."""
    paths = save_series(tmp_path / "s", OBLIQUE, modality="MR")
    first = pydicom.dcmread(paths[0])
    same = {name: first[name].value for name in ("SeriesInstanceUID", "SeriesNumber")}
    save_enhanced(tmp_path / "x.dcm", _frames(), OBLIQUE, tags=same)
    assert sorted(case.form for case in find_cases(tmp_path)) == ["enhanced", "regular"]


# --- independent judges ----------------------------------------------------------------------


def _converted(folder: Path) -> tuple[Path, Volume]:
    """A series, and highdicom's conversion of it to one file."""
    legacy = pytest.importorskip("highdicom.legacy", reason="highdicom is not installed")
    paths = save_series(folder / "single", OBLIQUE, modality="CT")
    made = legacy.LegacyConvertedEnhancedCTImage(
        [pydicom.dcmread(p) for p in reversed(paths)], series_instance_uid=generate_uid(),
        series_number=3, sop_instance_uid=generate_uid(), instance_number=1,
    )  # fmt: skip
    (folder / "many").mkdir()
    made.save_as(folder / "many" / "x.dcm")
    return folder / "many" / "x.dcm", read_volume(folder / "single")


@pytest.mark.filterwarnings("ignore")
def test_highdicoms_conversion_is_the_series_that_it_was_made_of(tmp_path: Path) -> None:
    path, single = _converted(tmp_path)
    volume = read_volume(path)
    assert np.array_equal(volume.data, single.data)
    assert volume.geometry.is_close(single.geometry, 1e-4)
    assert read_geometry(path) == volume.geometry


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_simpleitk_agrees(tmp_path: Path, modality: str) -> None:
    frames = frames_of_volume(STORED, OBLIQUE)
    path = save_enhanced(tmp_path / "x.dcm", frames, OBLIQUE, modality=modality)
    dataset = pydicom.dcmread(path)  # ITK trusts this tag for the distance
    for item in dataset.PerFrameFunctionalGroupsSequence:
        item.PixelMeasuresSequence[0].SpacingBetweenSlices = str(OBLIQUE.spacing[2])
    dataset.save_as(path)
    theirs = sitk.ReadImage(str(path))
    volume = read_volume(path)
    assert np.array_equal(volume.data[0], sitk.GetArrayFromImage(theirs).transpose())
    for index in ((0, 0, 0), (4, 5, 6), (1, 2, 3)):
        place = np.array(theirs.TransformIndexToPhysicalPoint(index)) * (-1, -1, 1)
        assert np.allclose(volume.geometry.index_to_world(index), place, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_dcm2niix_agrees(tmp_path: Path) -> None:
    dcm2niix = pytest.importorskip("dcm2niix", reason="dcm2niix is not installed")
    path, _ = _converted(tmp_path)
    subprocess.run([dcm2niix.bin, "-b", "n", "-o", tmp_path, "-f", "n", path.parent],
                   check=True, capture_output=True)  # fmt: skip
    (found,) = tmp_path.glob("*.nii")
    theirs = nibabel.load(found)
    volume = read_volume(path)
    ours = nibabel.Nifti1Image(volume.data[0], volume.geometry.affine)
    ours = ours.as_reoriented(ornt_transform(io_orientation(ours.affine),
                                             io_orientation(theirs.affine)))  # fmt: skip
    assert np.abs(ours.affine - theirs.affine).max() < 1e-3
    assert np.array_equal(ours.get_fdata(), theirs.get_fdata())


def test_frames_know_their_file_and_number(tmp_path: Path) -> None:
    path = save_enhanced(tmp_path / "x.dcm", _frames(), OBLIQUE)
    frames = frames_of(read_slice(path))
    assert [(f.path, f.frame, f.frames) for f in frames] == [(str(path), n, 7) for n in range(7)]
    (volume,) = index_slices([read_slice(path)]).volumes
    assert [s.frame for s in volume.stack.slices] == list(range(7))
