from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import CenterSpatialCropd
from monai.transforms.intensity.dictionary import ScaleIntensityd
from monai.transforms.post.dictionary import (
    Activationsd,
    AsDiscreted,
    FillHolesd,
    Invertd,
    KeepLargestConnectedComponentd,
    LabelFilterd,
    MeanEnsembled,
    RemoveSmallObjectsd,
)
from monai.transforms.spatial.dictionary import Orientationd, Resized, Spacingd
from monai.transforms.transform import MapTransform
from monai.transforms.utility.dictionary import (
    CastToTyped,
    CopyItemsd,
    EnsureTyped,
    Lambdad,
    ToTensord,
)

from unetr_app.bundle import Restoration
from unetr_app.bundle.steps import read_restoration
from unetr_app.inference import RestoreLabelsd

KEY = "pred"
needs_skimage = pytest.mark.skipif(find_spec("skimage") is None, reason="needs scikit-image")
SAME_GRID = Compose([ScaleIntensityd("image")])
RESPACED = Compose(
    [Orientationd("image", axcodes="RAS", labels=None), Spacingd("image", (2, 2, 3))]
)


def home(preprocessing: Compose = SAME_GRID, *, nearest: bool = False, **options: Any) -> Invertd:
    return Invertd(KEY, preprocessing, orig_keys="image", nearest_interp=nearest, **options)


def read(*steps: Any, preprocessing: Compose = SAME_GRID, **options: Any) -> Restoration:
    return read_restoration(Compose(list(steps)), preprocessing, **options)


def followed(found: Restoration, logits: torch.Tensor) -> torch.Tensor:
    """What a restoration says, done slowly, where both grids are the same."""
    acts: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "softmax": lambda x: x.softmax(0), "sigmoid": torch.sigmoid, "none": lambda x: x,
    }  # fmt: skip
    values, level = acts[found.activation](logits), torch.tensor(found.threshold)
    if found.kind == "exclusive":
        labels = values.argmax(0, keepdim=True).float()
    else:
        labels = (values >= acts[found.activation](level)).float()
    for step in found.steps:
        labels = torch.as_tensor(step.transform({KEY: MetaTensor(labels)})[KEY])
    return labels


SOFTMAX, SIGMOID = Activationsd(KEY, softmax=True), Activationsd(KEY, sigmoid=True)
ARGMAX, HALF = AsDiscreted(KEY, argmax=True), AsDiscreted(KEY, threshold=0.5)
LARGEST = KeepLargestConnectedComponentd(KEY, applied_labels=[1, 2])


@pytest.mark.filterwarnings("ignore:inverse has been called")  # nothing to invert: that is meant
@pytest.mark.parametrize(
    "steps",
    [
        (ARGMAX,),
        (SOFTMAX, home(), ARGMAX),
        (EnsureTyped(KEY), SOFTMAX, ARGMAX, home(nearest=True), ToTensord(KEY)),
        pytest.param((ARGMAX, LARGEST, home(nearest=True)), marks=needs_skimage),
        (home(), ARGMAX, FillHolesd(KEY), LabelFilterd(KEY, applied_labels=[1])),
        (SIGMOID, home(), HALF),
        (home(), SIGMOID, AsDiscreted(KEY, threshold=0.8)),
        (SIGMOID, AsDiscreted(KEY, threshold=0.2), home(nearest=True), HALF),
        (AsDiscreted(KEY, threshold=0.7), FillHolesd(KEY)),
        (SIGMOID, AsDiscreted(KEY, rounding="torchrounding")),
        (SIGMOID, AsDiscreted(KEY, threshold=0.0)),
        (SIGMOID, AsDiscreted(KEY, threshold=1.5)),
        (CopyItemsd(KEY, names="kept"), SIGMOID, HALF),
    ],
    ids=lambda steps: "-".join(type(step).__name__ for step in steps),
)
def test_a_restoration_does_what_the_postprocessing_does(steps: tuple[Any, ...]):
    image = SAME_GRID({"image": MetaTensor(torch.rand(1, 9, 10, 11))})["image"]
    for seed in range(3):
        logits = torch.randn(3, 9, 10, 11, generator=torch.Generator().manual_seed(seed)) * 2
        done: Any = Compose(list(steps))(
            {KEY: MetaTensor(logits.clone(), meta=image.meta), "image": image}
        )
        found = read(*steps)
        assert found.kind != "other", found.reason
        assert torch.equal(torch.as_tensor(done[KEY]).float(), followed(found, logits))


def test_our_own_step_is_an_argmax_at_home():
    assert read(RestoreLabelsd()) == Restoration("exclusive")


@pytest.mark.parametrize(
    ("steps", "discrete_first", "activation"),
    [
        ((SOFTMAX, home(RESPACED), ARGMAX), False, "softmax"),
        ((home(RESPACED), SOFTMAX, ARGMAX), False, "none"),
        ((SOFTMAX, home(RESPACED, nearest=True), ARGMAX), True, "none"),
        ((SOFTMAX, ARGMAX, home(RESPACED)), True, "none"),
        ((SIGMOID, home(RESPACED), HALF), False, "sigmoid"),
        ((SIGMOID, HALF, home(RESPACED)), True, "none"),
        ((SOFTMAX, ARGMAX), True, "none"),
    ],
)
def test_what_comes_first_is_told(steps: tuple[Any, ...], discrete_first: bool, activation: str):
    found = read(*steps, preprocessing=RESPACED)
    assert (found.discrete_first, found.activation) == (discrete_first, activation)


def test_probabilities_by_nearest_neighbour_are_labels_by_nearest_neighbour():
    """So `discrete_first` is exact where MONAI's Invertd takes the nearest before the argmax."""
    image = RESPACED({"image": MetaTensor(torch.rand(1, 12, 14, 15))})["image"]
    logits = torch.randn(3, *image.shape[1:])
    nearest = home(RESPACED, nearest=True)
    both: list[Any] = [
        Compose(steps)({KEY: MetaTensor(logits, meta=image.meta), "image": image})[KEY]
        for steps in ([SOFTMAX, nearest, ARGMAX], [SOFTMAX, ARGMAX, nearest])
    ]
    assert both[0].shape == (1, 12, 14, 15)
    assert torch.equal(both[0].as_tensor(), both[1].as_tensor())


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_a_threshold_is_on_the_scale_of_logits(level: float):
    found = read(SIGMOID, AsDiscreted(KEY, threshold=level))
    assert torch.sigmoid(torch.tensor(found.threshold)).item() == pytest.approx(level)
    assert read(AsDiscreted(KEY, threshold=level)).threshold == level
    assert read(SIGMOID, AsDiscreted(KEY, threshold=-1.0)).threshold == -math.inf


def test_steps_tell_the_grid_that_they_stand_on():
    found = read(ARGMAX, LARGEST, home(RESPACED), FillHolesd(KEY), preprocessing=RESPACED)
    assert [(s.name, s.grid) for s in found.steps] == [
        ("KeepLargestConnectedComponentd", "model"), ("FillHolesd", "native"),
    ]  # fmt: skip
    small = RemoveSmallObjectsd(KEY, min_size=3)
    assert [s.grid for s in read(RestoreLabelsd(), LARGEST, small).steps] == ["native", "native"]


class Custom(MapTransform):
    def __call__(self, data: Any) -> Any:
        return data


def test_steps_on_other_keys_do_not_matter():
    others = (
        Custom("image"),
        Activationsd("label", sigmoid=True),
        AsDiscreted("label", argmax=True),
    )
    assert read(*others, SOFTMAX, ARGMAX) == read(SOFTMAX, ARGMAX)


AREA = Compose([Resized("image", (8, 8, 8), mode="area")])


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ((), "no AsDiscreted"),
        ((SOFTMAX, home()), "no AsDiscreted"),
        ((Custom(KEY), ARGMAX), "Custom"),
        ((ARGMAX, Custom(KEY)), "Custom"),
        ((MeanEnsembled([KEY]), ARGMAX), "MeanEnsembled"),
        ((Lambdad(KEY, torch.exp), ARGMAX), "Lambdad"),
        ((ARGMAX, Lambdad(KEY, torch.exp)), "Lambdad"),
        ((Activationsd(KEY, other=torch.tanh), HALF), "Activationsd"),
        ((Activationsd(KEY, softmax=True, dim=1), ARGMAX), "Activationsd"),
        ((SIGMOID, SIGMOID, HALF), "Activationsd"),
        ((ARGMAX, SOFTMAX), "Activationsd"),
        ((SOFTMAX, HALF), "AsDiscreted"),
        ((AsDiscreted(KEY, argmax=True, threshold=0.5),), "AsDiscreted"),
        ((AsDiscreted(KEY, argmax=True, dim=1),), "AsDiscreted"),
        ((AsDiscreted(KEY, to_onehot=3),), "AsDiscreted"),
        ((ARGMAX, HALF), "AsDiscreted"),
        ((AsDiscreted(KEY, argmax=True, to_onehot=3), LARGEST), "KeepLargest"),
        ((LARGEST, ARGMAX), "KeepLargest"),
        ((home(), home(), ARGMAX), "Invertd is there twice"),
        ((home(post_func=torch.sigmoid), HALF), "Invertd"),
        ((home(RESPACED), RestoreLabelsd()), "RestoreLabelsd"),
        ((CastToTyped(KEY, dtype=torch.uint8), ARGMAX), "CastToTyped"),
    ],
)
def test_what_is_not_understood_is_named_in_one_sentence(steps: tuple[Any, ...], named: str):
    found = read(*steps)
    assert found.kind == "other"
    assert named in found.reason
    assert not found.reason.endswith(".")
    assert "\n" not in found.reason


def test_a_way_home_that_is_not_ours_is_named():
    found = read(SOFTMAX, home(AREA), ARGMAX, preprocessing=AREA)
    assert (found.kind, "area" in found.reason) == ("other", True)
    only_cropped = home(Compose([CenterSpatialCropd("image", (4, 4, 4))]))
    assert read(SOFTMAX, only_cropped, ARGMAX, preprocessing=RESPACED).kind == "other"
