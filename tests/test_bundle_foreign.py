from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers.inferer import SimpleInferer, SlidingWindowInferer

from tests.bundle_zoo import (
    ARGMAX,
    BRATS,
    LARGEST,
    SEGRESNET,
    SIGMOID,
    SOFTMAX,
    THRESHOLD,
    UNET,
    config,
    invert,
    metadata,
    random_network,
    write_zoo_bundle,
)
from unetr_app.bundle import open_bundle, read_card
from unetr_app.errors import InvalidRequest, UnusableBundle, UnusableWeights
from unetr_app.inference import InferenceOptions, Segmenter

ORGANS = ["background", "liver", "tumour"]
SPLEEN = ["background", "spleen"]
TUMOUR = ["Tumor core", "Whole tumor", "Enhancing tumor"]
STANDARD = (SOFTMAX, invert(), ARGMAX)


def names(transforms: Any) -> list[str]:
    return [type(step).__name__ for step in transforms.transforms]


def same_answers(found: torch.nn.Module, definition: dict[str, Any]) -> bool:
    window = torch.rand(1, definition["in_channels"], 16, 16, 16)
    with torch.inference_mode():
        return torch.equal(found(window), random_network(definition)(window))


def test_a_json_bundle_opens_without_its_data_its_readers_and_its_evaluator(tmp_path: Path):
    path = write_zoo_bundle(tmp_path / "liver", config(SEGRESNET, *STANDARD), metadata(ORGANS))
    bundle = open_bundle(path, device="cpu")
    assert same_answers(bundle.network, SEGRESNET)
    assert not bundle.network.training
    assert names(bundle.preprocessing) == [
        "Orientationd", "Spacingd", "ScaleIntensityRanged", "EnsureTyped",
    ]  # fmt: skip
    assert names(bundle.postprocessing) == ["Activationsd", "Invertd", "AsDiscreted"]
    assert type(bundle.inferer) is SlidingWindowInferer
    assert bundle.card.labels.names == ("liver", "tumour")
    assert bundle.card.labels.values == (1, 2)
    found = bundle.restoration
    assert (found.kind, found.discrete_first, found.activation) == ("exclusive", False, "softmax")
    assert not (path / "eval").exists()


def test_a_yaml_bundle_that_takes_the_argmax_first_is_followed(tmp_path: Path):
    post = (ARGMAX, LARGEST, invert(nearest=True))
    facts = metadata(SPLEEN)
    path = write_zoo_bundle(tmp_path / "spleen", config(UNET, *post), facts, ending="yaml")
    bundle = open_bundle(path, device="cpu")
    assert same_answers(bundle.network, UNET)
    found = bundle.restoration
    assert (found.kind, found.discrete_first, found.activation) == ("exclusive", True, "none")
    assert [(s.name, s.grid) for s in found.steps] == [("KeepLargestConnectedComponentd", "model")]


def test_regions_are_labels_from_one_on(tmp_path: Path):
    inference = config(SEGRESNET | {"in_channels": 4}, SIGMOID, invert(), THRESHOLD)
    facts = metadata(
        TUMOUR, num_channels=4, channel_def={"0": "T1c", "1": "T1", "2": "T2", "3": "F"}
    )
    path = write_zoo_bundle(tmp_path / "brats", inference, facts)
    bundle = open_bundle(path, device="cpu")
    found = bundle.restoration
    assert (found.kind, found.threshold, found.values) == ("overlapping", 0.0, (1, 2, 3))
    assert (found.discrete_first, found.activation) == (False, "sigmoid")
    assert bundle.card.labels.names == tuple(TUMOUR)
    assert bundle.card.labels == read_card(path).labels
    assert bundle.card.channels == ("T1c", "T1", "T2", "F")


def test_a_background_among_masks_is_no_label(tmp_path: Path):
    post = (SIGMOID, invert(), THRESHOLD)
    path = write_zoo_bundle(tmp_path / "a", config(SEGRESNET, *post), metadata(ORGANS))
    bundle = open_bundle(path, device="cpu")
    assert (bundle.restoration.values, bundle.card.labels.values) == ((0, 1, 2), (1, 2))


def test_one_channel_is_the_label_and_not_the_background(tmp_path: Path):
    facts = metadata(SPLEEN)
    facts["network_data_format"]["outputs"]["pred"]["num_channels"] = 1
    inference = config(UNET | {"out_channels": 1}, SIGMOID, invert(), THRESHOLD)
    bundle = open_bundle(write_zoo_bundle(tmp_path / "a", inference, facts), device="cpu")
    assert (bundle.restoration.values, bundle.card.labels.names) == ((1,), ("spleen",))


def test_masks_made_into_one_map_are_named_by_where_they_lie(tmp_path: Path):
    post = (SIGMOID, invert(), THRESHOLD, BRATS)
    path = write_zoo_bundle(tmp_path / "brats", config(SEGRESNET, *post), metadata(TUMOUR))
    bundle = open_bundle(path, device="cpu")
    found = bundle.restoration
    assert (found.kind, found.merges) == ("overlapping", True)
    assert [(s.name, s.grid) for s in found.steps] == [("Lambdad", "native")]
    assert {v.value: v.name for v in bundle.card.labels} == {
        1: "Tumor core without Enhancing tumor",
        2: "Whole tumor without Tumor core, Enhancing tumor",
        4: "Enhancing tumor",
    }


def test_a_torchscript_program_needs_no_network_in_the_config(tmp_path: Path):
    inference = config(UNET, *STANDARD)
    path = write_zoo_bundle(tmp_path / "a", inference, metadata(SPLEEN))
    del inference["network_def"], inference["network"]
    (path / "configs" / "inference.json").write_text(json.dumps(inference))
    (path / "models" / "model.pt").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(random_network(UNET), torch.rand(1, 1, 16, 16, 16)).save(
            str(path / "models" / "model.ts")
        )
    bundle = open_bundle(path, device="cpu")
    assert same_answers(bundle.network, UNET)
    assert bundle.card.weights == path / "models" / "model.ts"
    (path / "models" / "model.ts").write_bytes(b"no program")
    with pytest.raises(UnusableWeights, match="TorchScript"):
        open_bundle(path, device="cpu")


def test_the_weights_are_those_that_the_config_loads(tmp_path: Path):
    inference = config(UNET, *STANDARD)
    inference["modelname"] = "other.pt"
    inference["handlers"][0]["load_path"] = "$@bundle_root + '/models/' + @modelname"
    path = write_zoo_bundle(tmp_path / "a", inference, metadata(SPLEEN))
    state = {k: v + 1 for k, v in random_network(UNET).state_dict().items()}
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, path / "models/other.pt")
    bundle = open_bundle(path, device="cpu")
    assert bundle.card.weights == path / "models" / "other.pt"
    assert all(torch.equal(bundle.network.state_dict()[k], v) for k, v in state.items())
    (path / "models" / "other.pt").unlink()
    assert open_bundle(path, device="cpu").card.weights == path / "models" / "model.pt"


@pytest.mark.parametrize("place", ["network", "net", "nested"])
def test_the_network_is_found_under_other_names(place: str, tmp_path: Path):
    inference = config(UNET, *STANDARD)
    path = write_zoo_bundle(tmp_path / "a", inference, metadata(SPLEEN))
    del inference["network_def"], inference["network"]
    inference |= {"net": {"network_def": UNET}} if place == "nested" else {place: UNET}
    (path / "configs" / "inference.json").write_text(json.dumps(inference))
    assert same_answers(open_bundle(path, device="cpu").network, UNET)


def test_each_bundle_uses_its_own_scripts(tmp_path: Path):
    """Both bundles have a package of the same name, and so has the process."""
    bundles = []
    before = list(sys.path)
    for factor in (2, 3):
        inference = config({"_target_": "scripts.nets.Times"}, *STANDARD)
        path = write_zoo_bundle(
            tmp_path / f"times{factor}", inference, metadata(SPLEEN), weights={"by": torch.ones(1)}
        )
        (path / "scripts").mkdir()
        (path / "scripts" / "__init__.py").write_text("")
        (path / "scripts" / "late.py").write_text(f"FACTOR = {factor}\n")
        (path / "scripts" / "nets.py").write_text(
            "import torch\nfrom .late import FACTOR\n\n"
            "class Times(torch.nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.by = torch.nn.Parameter(torch.zeros(1))\n"
            "    def forward(self, x):\n"
            "        return x * self.by * FACTOR\n"
        )
        bundles.append(open_bundle(path, device="cpu"))
        assert not list(path.rglob("__pycache__"))
    assert [b.network(torch.ones(1)).item() for b in bundles] == [2.0, 3.0]
    assert sys.path == before


def test_a_compiled_copy_is_not_what_runs(tmp_path: Path):
    inference = config(UNET, *STANDARD)
    inference["imports"].append("$from scripts.one import VALUE")
    inference["inferer"] = "$monai.inferers.SlidingWindowInferer(VALUE)"
    path = write_zoo_bundle(tmp_path / "a", inference, metadata(SPLEEN))
    (path / "scripts").mkdir()
    source = path / "scripts" / "one.py"
    source.write_text("VALUE = 99\n")
    compile_it = "import py_compile, sys; py_compile.compile(sys.argv[1], invalidation_mode="
    compile_it += "py_compile.PycInvalidationMode.UNCHECKED_HASH)"
    subprocess.run([sys.executable, "-c", compile_it, str(source)], check=True)
    source.write_text("VALUE = 16\n")
    assert open_bundle(path, device="cpu").inferer.roi_size == 16


def test_keys_of_other_names_are_found(tmp_path: Path):
    text = json.dumps(config(UNET, *STANDARD))
    text = text.replace('"keys": "image"', '"keys": "ct"').replace(
        '"keys": "pred"', '"keys": "out"'
    )
    path = write_zoo_bundle(
        tmp_path / "a", json.loads(text.replace('"orig_keys": "image"', '"orig_keys": "ct"')),
        metadata(SPLEEN),
    )  # fmt: skip
    bundle = open_bundle(path, device="cpu")
    assert (bundle.input_keys, bundle.image_key) == (("ct",), "ct")
    assert (bundle.pred_key, bundle.result_key) == ("out", "out")
    assert bundle.restoration.kind == "exclusive"


def test_several_inputs_end_in_one_image(tmp_path: Path):
    inference = copy.deepcopy(config(UNET, *STANDARD))
    steps = inference["preprocessing"]["transforms"]
    steps[0]["keys"] = steps[1]["keys"] = ["t1", "t2"]
    steps[2:] = [{"_target_": "ConcatItemsd", "keys": ["t1", "t2"], "name": "image"}]
    inference["postprocessing"]["transforms"] = [SOFTMAX, ARGMAX]
    path = write_zoo_bundle(tmp_path / "a", inference, metadata(SPLEEN))
    bundle = open_bundle(path, device="cpu")
    assert (bundle.input_keys, bundle.image_key) == (("t1", "t2"), "image")


def test_a_label_that_is_not_there_does_not_matter(tmp_path: Path):
    inference = copy.deepcopy(config(UNET, *STANDARD))
    for step in inference["preprocessing"]["transforms"]:
        step["keys"] = ["image", "label"]
    path = write_zoo_bundle(tmp_path / "a", inference, metadata(SPLEEN))
    bundle = open_bundle(path, device="cpu")
    assert bundle.input_keys == ("image",)
    image: Any = bundle.preprocessing({"image": MetaTensor(torch.zeros(1, 6, 6, 6))})
    assert image["image"].shape == (1, 4, 4, 4)
    assert float(image["image"].max()) == pytest.approx(57 / 221)


def test_the_saved_copy_is_the_result(tmp_path: Path):
    inference = config(
        UNET, {"_target_": "CopyItemsd", "keys": "pred", "names": "seg"},
        {"_target_": "AsDiscreted", "keys": "seg", "argmax": True},
        invert(keys="seg", nearest=True),
    )  # fmt: skip
    inference["postprocessing"]["transforms"][-1] = {"_target_": "SaveImaged", "keys": "seg"}
    bundle = open_bundle(
        write_zoo_bundle(tmp_path / "a", inference, metadata(SPLEEN)), device="cpu"
    )
    assert (bundle.pred_key, bundle.result_key) == ("pred", "seg")
    assert bundle.restoration.kind == "exclusive"
    assert bundle.restoration.discrete_first


@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_a_part_of_another_config_is_found_from_anywhere(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    inference = config(UNET, *STANDARD)
    path = write_zoo_bundle(tmp_path / "a", inference, metadata(SPLEEN), ending=ending)
    inference["network_def"] = f"%train.{ending}#network_def"
    file = path / "configs" / f"inference.{ending}"
    file.rename(path / "configs" / f"train.{ending}")
    file.write_text(json.dumps(inference))  # which is YAML too
    monkeypatch.chdir(tmp_path)
    assert same_answers(open_bundle(path, device="cpu").network, UNET)
    inference["network_def"] = f"%../outside.{ending}#network_def"
    file.write_text(json.dumps(inference))
    with pytest.raises(UnusableBundle, match="does not lie in the bundle's configs"):
        open_bundle(path, device="cpu")


@pytest.mark.parametrize("is_patch", [True, False])
def test_without_an_inferer_only_whole_images_can_be_taken(is_patch: bool, tmp_path: Path):
    inference = config(UNET, *STANDARD)
    del inference["inferer"]
    facts = metadata(SPLEEN, spatial_shape=[16, 16, 16], is_patch_data=is_patch)
    path = write_zoo_bundle(tmp_path / "a", inference, facts)
    if not is_patch:
        assert type(open_bundle(path, device="cpu").inferer) is SimpleInferer
        return
    with pytest.raises(UnusableBundle, match=r"no inferer.*16 x 16 x 16.*Add the id 'inferer'"):
        open_bundle(path, device="cpu")


@pytest.mark.parametrize("part", ["preprocessing", "postprocessing"])
def test_a_part_that_is_missing_is_named(part: str, tmp_path: Path):
    inference = config(UNET, *STANDARD)
    del inference[part]
    path = write_zoo_bundle(tmp_path / "a", inference, metadata(SPLEEN))
    with pytest.raises(UnusableBundle, match=f"no '{part}'.*Add the id '{part}'"):
        open_bundle(path, device="cpu")


def test_a_package_that_is_missing_is_named(tmp_path: Path):
    inference = config(UNET, *STANDARD, inferer="$nsp.Inferer()")
    path = write_zoo_bundle(tmp_path / "a", inference, metadata(SPLEEN))
    with pytest.raises(UnusableBundle, match="Install what it imports: no_such_package"):
        open_bundle(path, device="cpu")


def test_arguments_that_monai_has_taken_away_are_left_out(tmp_path: Path):
    swin = {
        "_target_": "SwinUNETR", "img_size": 96, "in_channels": 1, "out_channels": 2,
        "feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1],
    }  # fmt: skip
    from monai.networks.nets.swin_unetr import SwinUNETR

    kept = {k: v for k, v in swin.items() if k not in ("_target_", "img_size")}
    path = write_zoo_bundle(
        tmp_path / "a", config(swin, *STANDARD), metadata(SPLEEN),
        weights=SwinUNETR(**kept).state_dict(),
    )  # fmt: skip
    assert type(open_bundle(path, device="cpu").network) is SwinUNETR


def test_names_that_are_there_twice_are_told_apart(tmp_path: Path):
    facts = metadata(["background", "rib", "rib"])
    path = write_zoo_bundle(tmp_path / "a", config(SEGRESNET, *STANDARD), facts)
    assert open_bundle(path, device="cpu").card.labels.names == ("rib 1", "rib 2")


def test_channels_counted_from_1_are_those_of_the_network(tmp_path: Path):
    facts = metadata(["", "background", "liver", "tumor"])
    facts["network_data_format"]["outputs"]["pred"]["num_channels"] = 3
    del facts["network_data_format"]["outputs"]["pred"]["channel_def"]["0"]
    path = write_zoo_bundle(tmp_path / "a", config(SEGRESNET, *STANDARD), facts)
    assert open_bundle(path, device="cpu").card.labels.names == ("liver", "tumor")


def test_labels_of_another_kind_are_no_label_table(tmp_path: Path):
    facts = metadata(SPLEEN) | {"labels": {"0": "background", "1": "spleen"}}
    path = write_zoo_bundle(tmp_path / "a", config(UNET, *STANDARD), facts)
    assert not open_bundle(path, device="cpu").card.has_label_table


def test_metadata_without_a_part_name_it(tmp_path: Path):
    facts = metadata(SPLEEN)
    del facts["network_data_format"]
    path = write_zoo_bundle(tmp_path / "a", config(UNET, *STANDARD), facts)
    with pytest.raises(UnusableBundle, match="lacks 'network_data_format'"):
        open_bundle(path, device="cpu")


def test_metadata_without_channels_say_so(tmp_path: Path):
    facts = metadata([])
    path = write_zoo_bundle(tmp_path / "a", config(UNET, *STANDARD), facts)
    with pytest.raises(UnusableBundle, match=r"no output channels.*Fill channel_def"):
        read_card(path)


def test_weights_that_are_named_serve_a_bundle_without_its_own(tmp_path: Path) -> None:
    folder = write_zoo_bundle(
        tmp_path / "b", config(UNET, SOFTMAX, invert(), ARGMAX), metadata(["air", "liver"])
    )
    own = open_bundle(folder, device="cpu").network.state_dict()
    moved = (folder / "models" / "model.pt").rename(tmp_path / "fold_0.pt")
    with pytest.raises(UnusableWeights):
        open_bundle(folder, device="cpu")
    bundle = open_bundle(folder, device="cpu", weights=moved)
    assert bundle.card.weights == moved
    for name, tensor in bundle.network.state_dict().items():
        assert torch.equal(tensor, own[name])
    opened = Segmenter.open(folder, device="cpu", options=InferenceOptions(weights=(str(moved),)))
    assert opened.card.weights == moved


def test_weights_that_the_config_loads_are_the_cards_before_it_is_opened(tmp_path: Path) -> None:
    inference = config(UNET, *STANDARD)
    inference["handlers"][0]["load_path"] = "$@bundle_root + '/models/best.pt'"
    folder = write_zoo_bundle(tmp_path / "b", inference, metadata(SPLEEN))
    best = folder / "models" / "best.pt"
    torch.save({k: 2 * v for k, v in random_network(UNET).state_dict().items()}, best)
    card = read_card(folder)
    assert card.weights == best
    assert open_bundle(folder, device="cpu").card.weights_hash == card.weights_hash


def test_a_program_takes_no_other_weights(tmp_path: Path) -> None:
    inference = config(UNET, *STANDARD)
    del inference["network_def"], inference["network"], inference["handlers"]
    inference["evaluator"] = {"_target_": "NoSuchEvaluator"}
    folder = write_zoo_bundle(tmp_path / "b", inference, metadata(SPLEEN), weights={})
    own = folder / "models" / "model.pt"
    with pytest.raises(InvalidRequest, match="takes no other weights"):
        open_bundle(folder, device="cpu", weights=own)
