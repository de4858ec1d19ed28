"""What the options change, and what they leave as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers.inferer import SimpleInferer, SlidingWindowInferer

from tests.bundle_zoo import (
    ARGMAX,
    PREPROCESSING,
    SOFTMAX,
    UNET,
    config,
    invert,
    metadata,
    write_zoo_bundle,
)
from tests.test_inference_segmenter import _bright, _segmenter  # pyright: ignore
from unetr_app.bundle import open_bundle
from unetr_app.errors import DeviceMemory, InvalidRequest, UnusableBundle, UnusableWeights
from unetr_app.geometry import Geometry
from unetr_app.inference import InferenceOptions, Segmenter
from unetr_app.inference.memory_plan import MemoryPlan
from unetr_app.inference.preprocess import preprocess
from unetr_app.networks import build_network
from unetr_app.resample import restore_label_map
from unetr_app.volume import Volume

GRID = Geometry((26, 34, 22), np.diag([0.9, 1.1, 1.3, 1.0]))


def _network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network(
        "vit", out_channels=2, roi_size=16, patch_size=8, embed_dim=24, depth=2, num_heads=2,
        feature_size=4,
    ).eval()  # fmt: skip


def _opened(folder: Path, options: InferenceOptions | None = None, **parts: Any) -> Segmenter:
    segmenter = _segmenter(folder, **{"network": _network(), **parts})
    return Segmenter(segmenter.bundle, options)


def _noise() -> Volume:
    noise = np.random.default_rng(0).normal(0, 1, (1, *GRID.shape)).astype(np.float32)
    noise[:, :, :12] = 0.0  # air
    return Volume(noise, GRID)


@pytest.mark.parametrize("flips", [(), (0,), (1, 2)])
@pytest.mark.parametrize("overlap", [0.0, 0.6])
def test_overlap_and_flips_win_over_the_bundles(
    overlap: float, flips: tuple[int, ...], tmp_path: Path
) -> None:
    options = InferenceOptions(overlap=overlap, flips=flips)
    found = _opened(tmp_path / "a", options).segment(_noise()).label_map
    segmenter = _opened(tmp_path / "b")
    inferer = type(segmenter.bundle.inferer)((16, 16, 16), overlap=overlap, flip_axes=flips)
    bundle = replace(segmenter.bundle, inferer=inferer)
    wanted = Segmenter(bundle).segment(_noise()).label_map
    assert (found == wanted).mean() > 0.9999
    assert len(np.unique(wanted)) > 1


@pytest.mark.parametrize("options", [{"skip": False}, {"memory_limit": 2**40}])
def test_neither_skipping_nor_a_limit_changes_labels(
    options: dict[str, Any], tmp_path: Path
) -> None:
    plain = _opened(tmp_path / "a").segment(_noise()).label_map
    found = _opened(tmp_path / "b", InferenceOptions(**options)).segment(_noise()).label_map
    np.testing.assert_array_equal(found, plain)


def test_a_tight_limit_is_kept_on_disk_and_a_tighter_one_refused(tmp_path: Path) -> None:
    plans: list[MemoryPlan] = []
    plain = _opened(tmp_path / "a").segment(_noise(), on_plan=plans.append).label_map
    tight = InferenceOptions(memory_limit=int(plans[0].least * 1.3))
    found = _opened(tmp_path / "b", tight).segment(_noise(), on_plan=plans.append).label_map
    np.testing.assert_array_equal(found, plain)
    assert plans[1].limit == tight.memory_limit
    none = _opened(tmp_path / "c", InferenceOptions(memory_limit=2**20))
    with pytest.raises(DeviceMemory, match=r"are allowed and .* are needed"):
        none.segment(_noise())


def test_maps_belong_to_the_labels(tmp_path: Path) -> None:
    segmenter = _opened(tmp_path / "bundle")
    maps = {"probabilities": tmp_path / "p.npy", "uncertainty": tmp_path / "u.npy"}
    labels = segmenter.segment(_noise(), maps=maps).label_map
    probabilities = np.load(maps["probabilities"]) / 255
    uncertainty = np.load(maps["uncertainty"])
    assert probabilities.shape == (*GRID.shape, 2)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=0.01)
    best = np.take_along_axis(probabilities, labels[..., None].astype(int), axis=-1)[..., 0]
    assert (best >= probabilities.max(axis=-1) - 1 / 254).all()
    shares = np.clip(probabilities, 1e-9, 1)
    entropy = -(shares * np.log(shares)).sum(axis=-1) / np.log(2)
    np.testing.assert_allclose(uncertainty, entropy, atol=0.02)


def test_a_rough_look_first_finds_the_same_thing(tmp_path: Path) -> None:
    volume = _bright(Geometry((60, 64, 50), np.eye(4)))
    plain = _segmenter(tmp_path / "a")
    options = InferenceOptions(localise=True)
    told: list[tuple[int, int]] = []
    found = Segmenter(_segmenter(tmp_path / "b").bundle, options).segment(
        volume, progress=lambda *done: told.append(done)
    )
    np.testing.assert_array_equal(found.label_map, plain.segment(volume).label_map)
    everywhere: list[tuple[int, int]] = []
    plain.segment(volume, progress=lambda *done: everywhere.append(done))
    assert 0 < len(told) < len(everywhere) / 4


@pytest.mark.parametrize(
    "options", [{"overlap": 0.1}, {"flips": ()}, {"localise": True}, {"memory_limit": 2**40}]
)
def test_an_inferer_of_another_kind_is_asked_for_nothing(
    options: dict[str, Any], tmp_path: Path
) -> None:
    volume = Volume(np.zeros((1, 16, 16, 16), np.float32), Geometry((16, 16, 16), np.eye(4)))
    plain = _opened(tmp_path / "a", inferer=SimpleInferer())
    assert plain.segment(volume).label_map.shape == (16, 16, 16)
    asked = _opened(tmp_path / "b", InferenceOptions(**options), inferer=SimpleInferer())
    with pytest.raises(InvalidRequest, match=f"no {next(iter(options))}"):
        asked.segment(volume)
    with pytest.raises(InvalidRequest, match="no uncertainty"):
        plain.segment(volume, maps={"uncertainty": tmp_path / "u.npy"})


@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_labels_are_those_of_monais_inferer_and_of_resampled_logits(
    overlap: float, tmp_path: Path
) -> None:
    inferer = SlidingWindowInferer((16, 16, 16), overlap=overlap, mode="gaussian")
    segmenter = _opened(tmp_path / "bundle", inferer=inferer)
    volume = _noise()
    image: Any = preprocess(segmenter.bundle, volume)[0]["image"]
    with torch.inference_mode():
        logits: Any = inferer(image.as_tensor()[None], segmenter.bundle.network)
    i, j, k = image.shape[1:]
    model = Geometry((i, j, k), np.asarray(image.affine))
    wanted = restore_label_map(logits[0].numpy(), model, GRID)
    found = segmenter.segment(volume).label_map
    assert (found == wanted).mean() > 0.9999


def test_logits_of_several_weights_are_averaged(tmp_path: Path) -> None:
    segmenter = _opened(tmp_path / "bundle")
    network = segmenter.bundle.network
    files: list[str] = []
    for sign in (1.0, 0.5):
        state = {k: v.clone() for k, v in network.state_dict().items()}
        for name in ("head.conv.conv.weight", "head.conv.conv.bias"):
            state[name] *= sign
        torch.save(state, tmp_path / f"{sign}.pt")
        files.append(str(tmp_path / f"{sign}.pt"))
    one = Segmenter(segmenter.bundle, InferenceOptions(weights=(files[0],)))
    found = one.segment(_noise(), maps={"probabilities": tmp_path / "one.npy"})
    assert found.provenance["weights_hash"] != segmenter.card.weights_hash
    np.testing.assert_array_equal(found.label_map, segmenter.segment(_noise()).label_map)
    both = Segmenter(segmenter.bundle, InferenceOptions(weights=tuple(files)))
    told: list[tuple[int, int]] = []
    both.segment(
        _noise(), maps={"probabilities": tmp_path / "both.npy"},
        progress=lambda *done: told.append(done),
    )  # fmt: skip
    single, mean = (np.load(tmp_path / f"{n}.npy") / 255 for n in ("one", "both"))
    inner = (single > 0.02) & (single < 0.98) & (mean > 0.02) & (mean < 0.98)
    logit = np.log(single / (1 - single + 1e-9) + 1e-9), np.log(mean / (1 - mean + 1e-9) + 1e-9)
    ratio = logit[1][inner] / logit[0][inner]
    assert abs(float(np.median(ratio)) - 0.75) < 0.03  # (1 + 1/2) / 2
    assert told[-1][0] == told[-1][1]
    with pytest.raises(InvalidRequest, match="no such file of weights"):
        InferenceOptions(weights=("gone.pt",))


@pytest.fixture
def own_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNETR_CACHE", str(tmp_path / "cache"))
    names = metadata(["background", "bright"])
    return write_zoo_bundle(tmp_path / "zoo", config(UNET, SOFTMAX, invert(), ARGMAX), names)


def test_a_library_has_the_weights_and_torch_gets_them_again(own_bundle: Path) -> None:
    pytest.importorskip("openvino")
    plain = Segmenter.open(own_bundle, device="cpu").segment(_noise()).label_map
    segmenter = Segmenter.open(
        own_bundle, device="cpu", options=InferenceOptions(backend="openvino")
    )
    found = segmenter.segment(_noise()).label_map
    assert (found == plain).mean() > 0.999
    assert len(np.unique(plain)) > 1
    network = segmenter.bundle.network
    assert all(parameter.is_meta for parameter in network.parameters())
    with torch.inference_mode():  # another shape: converted again, from weights that come again
        assert segmenter._networks.open((1, 1, 24, 16, 16), 0).name == "openvino"  # pyright: ignore
    (own_bundle / "models" / "model.pt").write_bytes(b"others")
    with pytest.raises(UnusableWeights, match="have changed since"):
        segmenter._networks.open((1, 1, 16, 16, 16), 0)  # pyright: ignore


def test_a_network_that_others_use_keeps_its_weights(own_bundle: Path) -> None:
    pytest.importorskip("openvino")
    bundle = open_bundle(own_bundle, device="cpu")
    first = Segmenter(bundle).segment(_noise()).label_map
    Segmenter(bundle, InferenceOptions(backend="openvino")).segment(_noise())
    np.testing.assert_array_equal(Segmenter(bundle).segment(_noise()).label_map, first)


def test_what_is_prepared_ahead_gives_the_same_labels(tmp_path: Path) -> None:
    segmenter = _opened(tmp_path / "a")
    plain = segmenter.segment(_noise()).label_map
    found = segmenter.segment(segmenter.prepare(_noise())).label_map
    np.testing.assert_array_equal(found, plain)


def _foreign(folder: Path, *post: dict[str, Any], names: list[str], **other: Any) -> Segmenter:
    write_zoo_bundle(folder, config(UNET, *post, **other), metadata(names))
    return Segmenter(open_bundle(folder, device="cpu"))


def test_more_names_than_channels_are_refused(tmp_path: Path) -> None:
    names = ["background", "liver", "tumor", "vessel"]
    with pytest.raises(UnusableBundle, match="gives 2 channels"):
        _foreign(tmp_path / "a", SOFTMAX, invert(), ARGMAX, names=names).segment(_noise())


def test_labels_without_a_name_go_by_their_number(tmp_path: Path) -> None:
    tenfold = {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x * 10"}
    segmenter = _foreign(
        tmp_path / "a", SOFTMAX, invert(), ARGMAX, tenfold, names=["background", "liver"]
    )
    assert set(segmenter.segment(_noise()).labels.names) == {"liver", "label 10"}


def test_one_hot_labels_are_masks(tmp_path: Path) -> None:
    one_hot = ARGMAX | {"to_onehot": 2}
    names = ["background", "liver"]
    plain = _foreign(tmp_path / "a", SOFTMAX, invert(), ARGMAX, names=names).segment(_noise())
    largest = {
        "_target_": "KeepLargestConnectedComponentd", "keys": "pred", "is_onehot": True,
        "applied_labels": [0],
    }  # fmt: skip
    found = _foreign(tmp_path / "b", SOFTMAX, invert(), one_hot, largest, names=names)
    assert found.bundle.restoration.kind == "other"
    np.testing.assert_array_equal(found.segment(_noise()).mask(1), plain.mask(1))


def test_steps_that_are_put_off_are_done(tmp_path: Path) -> None:
    names = ["background", "liver"]
    lazy = [
        step | {"lazy": True} if step["_target_"] in ("Orientationd", "Spacingd") else step
        for step in PREPROCESSING
    ]
    other = {"preprocessing": {"_target_": "Compose", "transforms": lazy}}
    plain = _foreign(tmp_path / "a", SOFTMAX, invert(), ARGMAX, names=names).segment(_noise())
    found = _foreign(tmp_path / "b", SOFTMAX, invert(), ARGMAX, names=names, **other)
    np.testing.assert_array_equal(found.segment(_noise()).label_map, plain.label_map)


def test_a_preprocessing_that_is_not_followed_runs_as_it_is(tmp_path: Path) -> None:
    turned = {"_target_": "Transposed", "keys": "image", "indices": [0, 2, 1, 3]}
    steps = [*PREPROCESSING, turned]
    segmenter = _foreign(
        tmp_path / "a", SOFTMAX, invert(), ARGMAX, names=["background", "liver"],
        preprocessing={"_target_": "Compose", "transforms": steps},
    )  # fmt: skip
    assert segmenter.segment(_noise()).label_map.shape == GRID.shape
    options = InferenceOptions(overlap=0.7)
    asked = Segmenter(segmenter.bundle, options)
    with pytest.raises(InvalidRequest, match=r"no overlap.*Transpose"):
        asked.segment(_noise())


def _of_three_windows(folder: Path) -> Path:
    """A bundle that makes three channels of one CT, each a window of its numbers."""
    windows = [("soft", -57, 164), ("bone", -500, 1300), ("lung", -1000, 200)]
    names = [name for name, _, _ in windows]
    steps: list[dict[str, Any]] = [
        *PREPROCESSING[:4],
        {"_target_": "CopyItemsd", "keys": "image", "names": names, "times": 3},
        *(
            {"_target_": "ScaleIntensityRanged", "keys": name, "a_min": low, "a_max": high,
             "b_min": 0.0, "b_max": 1.0, "clip": True}
            for name, low, high in windows
        ),
        {"_target_": "ConcatItemsd", "keys": names, "name": "image"},
    ]  # fmt: skip
    network = UNET | {"in_channels": 3}
    inference = config(network, SOFTMAX, invert(), ARGMAX)
    inference["preprocessing"]["transforms"] = steps
    channels = {"num_channels": 3, "channel_def": dict(zip("012", names, strict=True))}
    return write_zoo_bundle(folder, inference, metadata(["background", "bright"], **channels))


def test_channels_that_the_preprocessing_makes_of_one_image(tmp_path: Path) -> None:
    segmenter = Segmenter.open(_of_three_windows(tmp_path / "zoo"), device="cpu")
    volume = Volume(_noise().data * 500, GRID)
    bundle = segmenter.bundle
    prepared = segmenter.prepare(volume)
    with torch.inference_mode():
        image = prepared.data["image"].as_tensor()[None]
        shares = torch.softmax(bundle.inferer(image, bundle.network)[0], dim=0).numpy()
    wanted = restore_label_map(shares, prepared.steps[-1].geometry, GRID)
    found = segmenter.segment(volume).label_map
    assert (found == wanted).mean() > 0.999
    assert len(np.unique(found)) == 2


def test_channels_that_nobody_makes_are_refused(tmp_path: Path) -> None:
    segmenter = Segmenter.open(_of_three_windows(tmp_path / "zoo"), device="cpu")
    assert segmenter.card.channels == ("soft",)  # which is what an image must bring
    two = Volume(np.repeat(_noise().data, 2, axis=0), GRID)
    with pytest.raises(InvalidRequest, match=r"has 2 channels; .* takes 1 \(soft\)"):
        segmenter.segment(two)
