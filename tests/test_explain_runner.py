from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from tests.explain_encoders import ROI, Means, tiny
from unetr_app.cases import Case, find_cases
from unetr_app.errors import Cancelled, InvalidRequest
from unetr_app.explain import Explainer, Request, explain
from unetr_app.explain.explainer import plain_preparation
from unetr_app.explain.request import WHAT
from unetr_app.geometry import Geometry
from unetr_app.io import nifti
from unetr_app.labels import LabelSet

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
SHAPE = (30, 70, 62)  # shorter, longer and shorter than the input
NAMES = LabelSet.from_names({1: "Core"})


def write_image(path: Path, seed: int, shape: tuple[int, int, int] = SHAPE) -> Path:
    """A bright core in noise, on an oblique anisotropic grid that is not RAS."""
    data = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    data[core(shape)] += 5
    geometry = Geometry.from_parts(shape, (1.0, 1.5, 2.0), -TURN, (9.0, 4.0 + seed, 7.0))
    path.parent.mkdir(exist_ok=True, parents=True)
    nifti.write(data, geometry, path)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[core(shape)] = 1
    folder = path.parent.parent / "labels"
    folder.mkdir(exist_ok=True)
    nifti.write(labels, geometry, folder / path.name)
    return path


def core(shape: tuple[int, int, int]) -> tuple[slice, ...]:
    return tuple(slice(n // 4, n // 2) for n in shape)


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    for seed in range(2):
        write_image(tmp_path / "in" / f"case_{seed}.nii.gz", seed)
    return find_cases(tmp_path / "in")


def explainer(name: str = "vit", **options: object) -> Explainer:
    return Explainer(
        f"tiny {name}", tiny(name, **options), ROI, 1, plain_preparation, torch.device("cpu")
    )


def means(*strides: tuple[int, int, int]) -> Explainer:
    return Explainer("means", Means(*strides), ROI, 1, plain_preparation, torch.device("cpu"))


def request_for(tmp_path: Path, **options: object) -> Request:
    references = {f"case_{n}": tmp_path / f"labels/case_{n}.nii.gz" for n in range(2)}
    return replace(Request(references=references, names=NAMES), **options)  # pyright: ignore


def test_everything_is_written_and_lies_where_it_should(tmp_path: Path, cases: list[Case]):
    pytest.importorskip("sklearn")
    out = tmp_path / "out"
    heard: list[tuple[int, int]] = []
    found = explain(
        explainer(), cases, out, request_for(tmp_path, at=(7, 20, 40)),
        progress=lambda done, of: heard.append((done, of)),
    )  # fmt: skip
    assert heard == [(0, 3), (1, 3), (2, 3)]
    assert found.done == ("case_0", "case_1")
    assert not found.failures
    assert not found.notes
    assert found.spacing_mm == pytest.approx((1.0, 1.5, 2.0))
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {
        "receptive_field.png", "receptive_field.csv", "receptive_field.npz",
        "receptive_field/map_0.nii.gz", "receptive_field/map_1.nii.gz", "tsne.png", "tsne.npz",
        *(f"case_{n}/{name}" for n in range(2) for name in (
            "image.nii.gz", "attention.png", "attention.npz",
            "attention/00_blocks.0.attention.nii.gz", "attention/01_blocks.1.attention.nii.gz",
            "attention/02_rollout.nii.gz",
        )),
    }  # fmt: skip
    assert set(found.written) <= {out / name for name in files}


def test_volumes_show_the_image_and_its_cells(tmp_path: Path, cases: list[Case]):
    out = tmp_path / "out"
    at = (7, 2, 10)  # on the RAS grid j is 67: the window has to move there
    explain(explainer(), cases[:1], out, Request(("attention",), at=at))
    image = nibabel.load(out / "case_0/image.nii.gz")  # pyright: ignore
    native = nibabel.load(cases[0].input)  # pyright: ignore
    place = native.affine @ (*at, 1)
    here = np.rint(np.linalg.solve(image.affine, place)[:3]).astype(int)
    np.testing.assert_allclose(image.affine @ (*here, 1), place, atol=1e-4)
    voxels = np.asarray(native.dataobj)
    wanted = (voxels[at] - voxels.mean()) / voxels.std()
    assert np.asarray(image.dataobj)[tuple(here)] == pytest.approx(wanted, rel=1e-4)

    arrays = np.load(out / "case_0/attention.npz")
    in_window = np.rint(np.linalg.solve(arrays["affine"], place))[:3].astype(int)
    own_cell = np.unravel_index(arrays["rollout"].argmax(), (4, 4, 4))
    assert own_cell == tuple(in_window // (8, 16, 16))
    assert set(arrays) == {"blocks.0.attention", "blocks.1.attention", "rollout", "affine"}
    assert arrays["blocks.0.attention"].shape == (2, 4, 4, 4)
    volume = nibabel.load(out / "case_0/attention/00_blocks.0.attention.nii.gz")  # pyright: ignore
    np.testing.assert_allclose(volume.affine, image.affine)
    assert volume.shape == image.shape
    to_window = np.linalg.solve(arrays["affine"], image.affine)
    for voxel in ((0, 0, 0), (5, 9, 33), tuple(n - 1 for n in image.shape)):
        cell = np.rint(to_window @ (*voxel, 1))[:3].astype(int) // (8, 16, 16)
        expected = arrays["blocks.0.attention"].mean(axis=0)[tuple(cell)]
        assert np.asarray(volume.dataobj)[voxel] == pytest.approx(expected, rel=1e-5)


def test_the_field_of_one_image_lies_on_its_window(tmp_path: Path, cases: list[Case]):
    explain(means((4, 4, 4)), cases[:1], tmp_path / "out", Request(("erf",)))
    mass = nibabel.load(tmp_path / "out/receptive_field/map_0.nii.gz")  # pyright: ignore
    native = nibabel.load(cases[0].input)  # pyright: ignore
    assert mass.shape == ROI
    centre = mass.affine @ (*(np.argwhere(np.asarray(mass.dataobj) > 0).mean(axis=0)), 1)
    middle = native.affine @ (*(np.array(SHAPE) / 2), 1)
    assert np.linalg.norm(centre - middle) < 4 * 2.0  # within a cell
    table = (tmp_path / "out/receptive_field.csv").read_text().splitlines()
    assert table[0].startswith("map,channels,stride_i,stride_j,stride_k,share,radius_i_voxels")
    assert table[2] == "0,1,4,4,4,0.95,2.0,2.0,2.0,2.0,3.0,4.0,4,4,4"


def test_the_field_of_noise_has_no_millimetres(tmp_path: Path):
    found = explain(means((4, 4, 2)), [], tmp_path / "out", Request(("erf",)))
    assert found.spacing_mm is None
    assert [field.extent for field in found.fields] == [(4, 4, 2)]
    table = (tmp_path / "out/receptive_field.csv").read_text().splitlines()
    assert table[1] == "0,1,4,4,2,0.5,1.0,1.0,0.5,,,,4,4,2"
    mass = nibabel.load(tmp_path / "out/receptive_field/map_0.nii.gz")  # pyright: ignore
    np.testing.assert_allclose(mass.affine @ (15.5, 31.5, 31.5, 1), (0, 0, 0, 1), atol=1e-5)


def test_labels_and_features_of_all_cases_meet(tmp_path: Path, cases: list[Case]):
    pytest.importorskip("sklearn")
    strides = [(2, 2, 2), (4, 8, 8)]
    explain(
        means(*strides), cases, tmp_path / "out", request_for(tmp_path, what=("tsne",), count=40)
    )
    arrays = np.load(tmp_path / "out/tsne.npz")
    assert arrays["case_ids"].tolist() == ["case_0", "case_1"]
    for level in range(2):
        labels, features = arrays[f"labels_{level}"], arrays[f"features_{level}"][:, 0]
        assert set(labels) == {0, 1}
        assert features[labels == 1].mean() > features[labels == 0].mean() + 0.5
        assert set(arrays[f"cases_{level}"]) == {0, 1}
        assert arrays[f"points_{level}"].shape == (len(labels), 2)


def test_one_bad_case_does_not_end_the_run(tmp_path: Path, cases: list[Case]):
    pytest.importorskip("sklearn")
    Path(cases[0].input).write_bytes(b"nothing")
    found = explain(explainer(), cases, tmp_path / "out", request_for(tmp_path))
    assert found.done == ("case_1",)
    assert "case_0.nii.gz" in found.failures["case_0"]
    assert (tmp_path / "out/receptive_field.png").is_file()
    assert not (tmp_path / "out/case_0").exists()


def test_a_case_without_its_label_map_fails(tmp_path: Path, cases: list[Case]):
    pytest.importorskip("sklearn")
    request = request_for(tmp_path, what=("tsne",), points="voxels")
    (tmp_path / "labels/case_0.nii.gz").unlink()
    found = explain(means((4, 4, 4)), cases, tmp_path / "out", request)
    assert found.done == ("case_1",)
    lacking = replace(request, references={"case_1": request.references["case_1"]})
    found = explain(means((4, 4, 4)), cases, tmp_path / "out", lacking)
    assert "no label map of its name" in found.failures["case_0"]


def test_a_voxel_outside_is_an_error_of_that_case(tmp_path: Path, cases: list[Case]):
    request = Request(("attention",), at=(7, 70, 0))
    found = explain(explainer(), cases, tmp_path / "out", request)
    assert not found.done
    assert "there is no voxel (7, 70, 0)" in found.failures["case_1"]


def test_class_tokens_are_shown_where_no_voxel_is_named(tmp_path: Path, cases: list[Case]):
    out = tmp_path / "out"
    explain(explainer(class_token=True), cases[:1], out, Request(("attention",)))
    arrays = np.load(out / "case_0/attention.npz")
    assert arrays["blocks.0.attention/to_prefix"].shape == (2, 1)
    total = arrays["rollout"].sum() + arrays["rollout/to_prefix"].sum()
    assert total == pytest.approx(1.0, rel=1e-5)


def test_what_an_encoder_cannot_show_is_left_out_or_an_error(tmp_path: Path, cases: list[Case]):
    with pytest.raises(InvalidRequest, match="no attention over places"):
        explain(explainer("xcit"), cases, tmp_path / "out", Request(("attention",)))
    request = Request(("erf", "attention"), lenient=True)
    found = explain(means((4, 4, 4)), cases, tmp_path / "out", request)
    assert len(found.fields) == 1
    assert "no attention is shown" in found.notes[0]


def test_too_few_points_are_a_note_or_an_error(tmp_path: Path, cases: list[Case]):
    pytest.importorskip("sklearn")
    request = Request(("tsne",), points="cases", lenient=True)
    found = explain(means((4, 4, 4)), cases, tmp_path / "out", request)
    assert "t-SNE needs 5 points" in found.notes[0]
    with pytest.raises(InvalidRequest, match="there are 2"):
        explain(means((4, 4, 4)), cases, tmp_path / "out", replace(request, lenient=False))


def test_maps_too_coarse_for_points_are_left_out(tmp_path: Path, cases: list[Case]):
    pytest.importorskip("sklearn")
    found = explain(means((8, 8, 8), (32, 64, 64)), cases, tmp_path / "out",
                    Request(("tsne",), count=30))  # fmt: skip
    assert found.notes == ("map 1 has too few points for t-SNE",)
    assert "points_0" in np.load(tmp_path / "out/tsne.npz")


def test_images_are_needed_for_all_but_fields(tmp_path: Path):
    with pytest.raises(InvalidRequest, match="need images"):
        explain(means((4, 4, 4)), [], tmp_path / "out", Request(WHAT))


def test_it_stops_when_asked(tmp_path: Path, cases: list[Case]):
    for given in (cases, []):
        with pytest.raises(Cancelled):
            explain(means((4, 4, 4)), given, tmp_path / "out", Request(("erf",)),
                    should_stop=lambda: True)  # fmt: skip


def test_an_encoder_that_refuses_its_input_says_why(tmp_path: Path):
    wrong = replace(explainer(), roi_size=(30, 64, 64))
    with pytest.raises(InvalidRequest, match=r"tiny vit failed .*no multiple of"):
        explain(wrong, [], tmp_path / "out", Request(("erf",)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"what": ("erf", "magic")}, "'magic' cannot be explained"),
        ({"what": ()}, "nothing cannot be explained"),
        ({"points": "dots"}, "points cannot be 'dots'"),
        ({"count": 0}, "0 points"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_requests_are_checked(options: dict[str, object], said: str):
    with pytest.raises(InvalidRequest, match=said):
        Request(**options)  # pyright: ignore
