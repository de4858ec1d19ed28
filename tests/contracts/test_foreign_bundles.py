"""Bundles in the style of a model zoo: our labels are those of MONAI's own steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle.config_parser import ConfigParser
from monai.transforms.compose import Compose

from data.phantom import oblique_geometry
from tests.bundle_zoo import (
    ARGMAX,
    BRATS,
    SAVE,
    SEGRESNET,
    SIGMOID,
    SOFTMAX,
    THRESHOLD,
    config,
    invert,
    metadata,
    write_zoo_bundle,
)
from unetr_app.geometry import Geometry
from unetr_app.inference import InferenceOptions, Segmenter
from unetr_app.io import read_volume

pytestmark = pytest.mark.filterwarnings("ignore:.*Orientationd.*:FutureWarning")

WAYS: dict[str, tuple[list[dict[str, Any]], float]] = {  # steps, and least agreement
    "probabilities go home": ([SOFTMAX, invert(), ARGMAX], 0.9999),
    "logits go home": ([invert(), ARGMAX], 0.9999),
    "regions": ([SIGMOID, invert(), THRESHOLD], 0.9999),
    "regions merged": ([SIGMOID, invert(), THRESHOLD, BRATS], 0.9999),
    "labels go home": ([SOFTMAX, ARGMAX, invert(nearest=True)], 0.97),  # ties half way differ
}
# Axes foot-head, right-left, back-front, turned: MONAI's model grid begins a voxel after the first
# slice of 5 mm.
THICK = np.array(
    [[-0.1557, -0.5946, -3.2001, -40], [0.4381, -0.499, 2.7888, 20], [0.651, 0.1935, -2.6423, 7],
     [0, 0, 0, 1]]
)  # fmt: skip
GRIDS = [
    Geometry((30, 26, 22), np.diag([1.5, 1.2, 2.2, 1.0])),
    oblique_geometry((28, 30, 20), spacing=(1.1, 1.3, 2.4)),
    Geometry((32, 30, 12), THICK),
]


def _bundle(folder: Path, steps: list[dict[str, Any]]) -> Path:
    names = ["background", "liver", "tumour"]
    return write_zoo_bundle(folder, config(SEGRESNET, *steps, SAVE), metadata(names))


def _image(path: Path, geometry: Geometry) -> Path:
    smooth = np.random.default_rng(0).normal(0, 1, (5, 5, 5))
    places = np.meshgrid(*(np.linspace(0, 4, n) for n in geometry.shape), indexing="ij")
    from scipy.ndimage import map_coordinates

    data = (40 + 60 * map_coordinates(smooth, places, order=3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(data, geometry.affine), path)
    return path


def _stock(folder: Path, image: Path) -> np.ndarray:
    """What MONAI's own transforms and inferer make of a file."""
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    parser["imports"] = ["$import glob", "$import os", "$import torch"]
    parser["bundle_root"], parser["frame"] = str(folder), None
    for step, key in ((0, "reader"), (1, "channel_dim")):
        parser.get()["preprocessing"]["transforms"][step].pop(key, None)
    steps = parser.get()["postprocessing"]["transforms"]
    parser.get()["postprocessing"]["transforms"] = [s for s in steps if s != SAVE]
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(folder / "models" / "model.pt", weights_only=True))
    data: Any = parser.get_parsed_content("preprocessing")({"image": str(image)})
    with torch.inference_mode():
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    post: Compose = parser.get_parsed_content("postprocessing")
    return np.asarray(post(data)["pred"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("geometry", GRIDS, ids=["straight", "oblique", "thick"])
def test_labels_are_those_of_monais_own_steps(way: str, geometry: Geometry, tmp_path: Path) -> None:
    steps, least = WAYS[way]
    folder = _bundle(tmp_path / "bundle", steps)
    image = _image(tmp_path / "image.nii.gz", geometry)
    wanted = _stock(folder, image)
    segmenter = Segmenter.open(folder, device="cpu")
    found = segmenter.segment(read_volume(image))
    assert len(np.unique(wanted)) > 1
    if found.is_overlapping:
        assert found.labels.names == ("liver", "tumour")
        assert (found.data == (wanted[1:] > 0)).mean() >= least
    else:
        assert (found.label_map == np.rint(wanted[0])).mean() >= least


def test_logits_may_go_home_where_the_bundle_would_send_labels(tmp_path: Path) -> None:
    folder = _bundle(tmp_path / "bundle", WAYS["labels go home"][0])
    finer = _bundle(tmp_path / "finer", WAYS["logits go home"][0])
    image = _image(tmp_path / "image.nii.gz", GRIDS[0])
    options = InferenceOptions(restore="logits")
    found = Segmenter.open(folder, device="cpu", options=options).segment(read_volume(image))
    (finer / "models" / "model.pt").write_bytes((folder / "models" / "model.pt").read_bytes())
    wanted = Segmenter.open(finer, device="cpu").segment(read_volume(image))
    np.testing.assert_array_equal(found.label_map, wanted.label_map)
