"""A case of several channels is the stack of its images, or a refusal that says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io_files import OBLIQUE, integers, save_itk, save_nifti, save_series, series_values
from tests.strategies import geometries
from unetr_app.cases import Case
from unetr_app.errors import InvalidRequest, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry, read_volume

NAMES = ("T1", "FLAIR", "T2")


def case_of(*parts: Path | list[Path]) -> Case:
    files = tuple(
        tuple(map(str, part)) if isinstance(part, list) else (str(part),) for part in parts
    )
    paths = tuple(path for part in files for path in part)
    return Case("a", paths[0], "file", paths, parts=files, channels=NAMES[: len(files)])


def images(folder: Path) -> list[Path]:
    """The same grid in three formats, voxels all different."""
    return [
        save_nifti(folder / "a.nii.gz", integers(OBLIQUE.shape, 1)),
        save_itk(folder / "b.nrrd", integers(OBLIQUE.shape, 2), OBLIQUE),
        save_itk(folder / "c.mha", integers(OBLIQUE.shape, 3), OBLIQUE),
    ]


def test_a_case_of_channels_is_the_stack_of_its_images(tmp_path: Path) -> None:
    files = images(tmp_path)
    case = case_of(*files)
    found = read_volume(case)
    assert np.array_equal(found.data, np.stack([read_volume(file).data[0] for file in files]))
    assert found.channel_names == NAMES
    assert found.geometry == read_volume(files[0]).geometry == read_geometry(case)
    assert found.source == case.input
    swapped = read_volume(case_of(*files[::-1]))
    assert np.array_equal(swapped.data, found.data[::-1])


def test_a_series_may_be_a_channel(tmp_path: Path) -> None:
    slices = save_series(tmp_path / "dicom")
    series = read_volume(tmp_path / "dicom")
    other = save_nifti(tmp_path / "b.nii", affine=series.geometry.affine)
    found = read_volume(case_of(slices[::-1], other))
    assert np.array_equal(found.data[0], series_values())
    assert np.array_equal(found.data[1], read_volume(other).data[0])
    assert found.modality == ""


@settings(max_examples=15, deadline=None)
@given(count=st.integers(2, 4), seed=st.integers(0, 99), packed=st.booleans(),
       kind=st.sampled_from(["int16", "uint8", "float32", "float64"]))  # fmt: skip
def test_a_file_of_several_volumes_is_the_stack_of_its_volumes(
    tmp_path_factory: pytest.TempPathFactory, count: int, seed: int, packed: bool, kind: str
) -> None:
    name = "a.nii.gz" if packed else "a.nii"
    data = integers((3, 4, 5, count), seed, 200).astype(kind)
    data[0, 0, 0] = 1  # so that no volume is constant
    path = save_nifti(tmp_path_factory.mktemp("volumes") / name, data)
    parts = ((str(path),),) * count
    names = tuple(f"c{n}" for n in range(count))
    case = Case("a", str(path), "file", (str(path),), parts=parts, channels=names)
    alone = [read_volume(path, channel=n) for n in range(count)]
    found = read_volume(case)
    assert np.array_equal(found.data, np.stack([volume.data[0] for volume in alone]))
    assert found.geometry == alone[0].geometry == read_geometry(case)
    for n in range(count):
        one = read_volume(case, channel=n)
        assert np.array_equal(one.data, alone[n].data)
        assert one.channel_names == (f"c{n}",)


def test_one_channel_of_a_case_is_that_image(tmp_path: Path) -> None:
    files = images(tmp_path)
    for n, file in enumerate(files):
        one = read_volume(case_of(*files), channel=n)
        assert np.array_equal(one.data, read_volume(file).data)
        assert one.channel_names == (NAMES[n],)
    for absent in (-1, 3):
        with pytest.raises(InvalidRequest, match=f"no channel {absent}"):
            read_volume(case_of(*files), channel=absent)


def moved(
    *, by: float = 0.0, spacing: float = 1.0, shape: tuple[int, int, int] = OBLIQUE.shape
) -> Geometry:
    affine = OBLIQUE.affine.copy()
    affine[:3, 2] *= spacing
    affine[0, 3] += by
    return Geometry(shape, affine)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (moved(shape=(5, 6, 8)), "its shape is 5 x 6 x 8 rather than 5 x 6 x 7"),
        (moved(by=7.25), "its voxels lie up to 7.25 mm away"),
        (moved(by=0.002), "its voxels lie up to 0.00[12]"),
        (moved(spacing=1.5), "its spacing is 0.8 x 1.3 x 4.35 mm rather than 0.8 x 1.3 x 2.9 mm"),
        (OBLIQUE.reoriented("LPS"), "its axes run LPS rather than RAS"),
    ],
)
def test_a_channel_on_another_grid_is_refused_in_words(
    tmp_path: Path, other: Geometry, words: str
) -> None:
    first = save_nifti(tmp_path / "a.nii")
    second = save_nifti(tmp_path / "b.nii", integers(other.shape), affine=other.affine)
    for read in (read_volume, read_geometry):
        with pytest.raises(UnsafeGeometry, match=words) as caught:
            read(case_of(first, second))
        said = str(caught.value)
        assert said.startswith("b.nii: channel FLAIR does not lie on the grid of channel T1: ")
        assert said.endswith("Resample it onto the image of T1, and give the result.")


@settings(max_examples=20, deadline=None)
@given(geometry=geometries(min_side=2, max_side=4), digits=st.integers(6, 12))
def test_what_writers_round_is_one_grid(
    tmp_path_factory: pytest.TempPathFactory, geometry: Geometry, digits: int
) -> None:
    folder = tmp_path_factory.mktemp("grids")
    data = integers(geometry.shape)
    first = save_nifti(folder / "a.nii", data, affine=geometry.affine, edit=no_qform)
    second = save_nifti(folder / "b.nii", data, affine=np.round(geometry.affine, digits),
                        edit=no_qform)  # fmt: skip
    assert read_volume(case_of(first, second)).geometry == read_volume(first).geometry


def no_qform(header: object) -> None:
    header["qform_code"] = 0  # type: ignore[index]


def test_damage_in_any_channel_is_the_cases(tmp_path: Path) -> None:
    for n in range(3):
        files = images(tmp_path)
        content = files[n].read_bytes()
        files[n].write_bytes(content[: len(content) - 40])
        with pytest.raises(UnreadableInput) as caught:
            read_volume(case_of(*files))
        assert caught.value.path == str(files[n])


def test_a_flipped_bit_in_the_last_of_several_volumes_is_seen(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", integers((3, 4, 5, 2)))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum
    path.write_bytes(content)
    case = Case("a", str(path), "file", (str(path),), parts=((str(path),),) * 2, channels=NAMES[:2])
    with pytest.raises(UnreadableInput, match="damaged"):
        read_volume(case)


def test_a_file_that_has_lost_a_volume_since_is_refused(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", integers((3, 4, 5, 2)))
    case = Case("a", str(path), "file", (str(path),), parts=((str(path),),) * 3, channels=NAMES)
    with pytest.raises(UnreadableInput, match="2 volumes in the file, where 3 are needed"):
        read_volume(case)


def test_a_channel_without_content_is_refused(tmp_path: Path) -> None:
    first = save_nifti(tmp_path / "a.nii")
    empty = save_nifti(tmp_path / "b.nii", np.zeros(OBLIQUE.shape, np.int16))
    with pytest.raises(UnreadableInput, match=r"b\.nii: all voxels have the same value"):
        read_volume(case_of(first, empty))


def test_the_problem_of_a_case_is_raised(tmp_path: Path) -> None:
    files = images(tmp_path)
    problem = UnreadableInput("no")
    case = Case("a", str(files[0]), "file", tuple(map(str, files)), problem=problem,
                parts=tuple((str(f),) for f in files), channels=NAMES)  # fmt: skip
    for read in (read_volume, read_geometry, lambda c: read_volume(c, channel=0)):
        with pytest.raises(UnreadableInput) as caught:
            read(case)
        assert caught.value is problem
