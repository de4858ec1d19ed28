"""What holds for the configs and metadata of every bundle that ships with the package."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from unetr_app.bundle import bundle_folders, read_card
from unetr_app.finetuning.base_bundle import NEEDED

FOLDERS = bundle_folders()
CONFIGS = sorted(p for folder in FOLDERS for p in (folder / "configs").glob("*.yaml"))


def _name(path: Path) -> str:
    return path.name if path.is_dir() else f"{path.parents[1].name}-{path.stem}"


def _shared_block(path: Path) -> str:
    found = re.search(r"# --- what train.*?# --- end of what is shared ---", path.read_text(), re.S)
    assert found, path.name
    return found[0]


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_train_and_inference_share_one_section(folder: Path) -> None:
    train, infer = (folder / "configs" / f"{n}.yaml" for n in ("train", "inference"))
    assert _shared_block(train) == _shared_block(infer)


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_the_json_is_the_yaml(folder: Path) -> None:
    written = (folder / "configs" / "inference.yaml").read_text(encoding="utf-8")
    copied = (folder / "configs" / "inference.json").read_text(encoding="utf-8")
    assert json.loads(copied) == yaml.safe_load(written), "run: python .ci/bundle_json.py"


@pytest.mark.parametrize("config", CONFIGS, ids=_name)
def test_a_config_states_values_and_reaches_no_network(config: Path) -> None:
    text = config.read_text(encoding="utf-8")
    assert "lambda" not in text
    assert not re.search(r"https?://|download|urlopen|os\.system|subprocess", text)


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_metadata_verify_against_the_published_schema(folder: Path, shared: Path) -> None:
    schema = json.loads((shared / "schema" / "meta_schema_20240725.json").read_text())
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    jsonschema.validate(metadata, schema)
    assert metadata["version"] in metadata["changelog"]


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_labels_and_output_channels_name_the_same_things(folder: Path) -> None:
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    channels = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    labels = read_card(folder).labels
    assert {str(label.value): label.name for label in labels} == {
        key: name for key, name in channels.items() if key != "0"
    }
    for label in labels:
        assert label.type is not None
        assert label.category is not None
        assert label.type.scheme == "SCT"


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_what_others_look_for_is_there(folder: Path) -> None:
    for name in ("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf"):
        assert (folder / name).stat().st_size > 0
    assert "segmentation" in folder.name  # how MONAI Label tells the task
    assert read_card(folder).weights_bytes <= 25 * 2**20


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_roi_and_metadata_agree(folder: Path) -> None:
    config = yaml.safe_load((folder / "configs" / "inference.yaml").read_text())
    assert tuple(config["roi_size"]) == read_card(folder).roi_size
    assert config["network_def"]["out_channels"] == len(read_card(folder).labels) + 1


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_it_can_be_fine_tuned(folder: Path) -> None:
    config = yaml.safe_load((folder / "configs" / "train.yaml").read_text(encoding="utf-8"))
    assert set(NEEDED) <= set(config)
    assert config["initial_weights"] is None
    assert config["progress_file"] is None
