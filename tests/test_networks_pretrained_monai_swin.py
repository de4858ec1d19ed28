from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets.swin_unetr import SwinUNETR, filter_swinunetr
from torch import Tensor, nn

from unetr_app.errors import UnusableWeights
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import monai_swin


def _swin_unetr(**options: Any) -> SwinUNETR:
    torch.manual_seed(0)
    small: dict[str, Any] = {
        "in_channels": 1, "out_channels": 2, "feature_size": 12, "depths": (1, 2, 1, 1),
        "window_size": (3, 3, 3),
    }  # fmt: skip
    network = SwinUNETR(**(small | options)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def _save(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save({"state_dict": state}, path)
    return path


def _run(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return encoder(image)


def _assert_equal(encoder: nn.Module, network: SwinUNETR, image: Tensor) -> None:
    for ours, theirs in zip(_run(encoder, image), _run(network.swinViT, image), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({}, {}),
        ({"use_v2": True, "num_heads": (2, 2, 4, 8)}, {}),
        ({"downsample": "mergingv2"}, {"merging": "mergingv2"}),
        ({"window_size": (2, 3, 4)}, {"window_size": (2, 3, 4)}),
        ({"spatial_dims": 2, "window_size": (5, 5)}, {}),
    ],
)
def test_it_equals_monais(tmp_path: Path, options: Any, given: Any) -> None:
    network = _swin_unetr(**options)
    dims = options.get("spatial_dims", 3)
    roi = (64, 32, 32)[:dims]
    encoder, report = encoder_from_checkpoint(
        _save(tmp_path / "a.pt", network.state_dict()), spatial_dims=dims, roi_size=roi, **given
    )
    assert (report.layout, report.coverage) == ("MONAI Swin", 1)
    assert not report.of("missing")
    assert {r.note for r in report.of("skipped")} == {
        "follows from the window", "decoder of Swin UNETR",
    }  # fmt: skip
    _assert_equal(encoder, network, torch.randn(1, 1, *roi))


def test_files_of_pre_training_are_read(tmp_path: Path) -> None:
    network = _swin_unetr()
    state: dict[str, Tensor] = network.swinViT.state_dict()
    plain = {
        "module." + name.replace("mlp.linear", "mlp.fc"): tensor for name, tensor in state.items()
    }
    plain |= {"module.norm.weight": torch.ones(192), "module.rotation_head.weight": torch.ones(4)}
    deeper = {
        "encoder." + re.sub(r"^(layers\d\.0\.)", r"\g<1>0.", name): tensor
        for name, tensor in state.items()
    } | {"encoder.mask_token": torch.zeros(1, 1, 12), "encoder.norm.bias": torch.zeros(192)}
    for name, tensor in deeper.items():  # as MONAI itself reads them
        told = filter_swinunetr(name, tensor)
        assert told is None or told[0].removeprefix("swinViT.") in state
    for n, told in enumerate((plain, deeper)):
        path = _save(tmp_path / f"{n}.pt", told)
        encoder, report = encoder_from_checkpoint(path, roi_size=32)
        assert report.coverage == 1
        assert {r.note for r in report.of("skipped")} == {
            "follows from the window", "for pre-training",
        }  # fmt: skip
        _assert_equal(encoder, network, torch.randn(1, 1, 32, 32, 32))


def test_what_no_tensor_tells_is_asked_for_by_name(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.pt", _swin_unetr(window_size=(2, 3, 4)).state_dict())
    with pytest.raises(UnusableWeights, match="offsets") as caught:
        encoder_from_checkpoint(path, roi_size=32)
    assert "window_size=" in caught.value.cure


def test_images_and_volumes_are_not_taken_for_each_other(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.pt", _swin_unetr(spatial_dims=2, window_size=(3, 3)).state_dict())
    with pytest.raises(UnusableWeights, match="have 2 axes; 3 were asked for") as caught:
        encoder_from_checkpoint(path, roi_size=32)
    assert "spatial_dims=2" in caught.value.cure


def test_a_file_that_is_not_whole_builds_no_smaller_network(tmp_path: Path) -> None:
    state: dict[str, Tensor] = _swin_unetr().swinViT.state_dict()
    without_last = {n: t for n, t in state.items() if not n.startswith("layers2.0.blocks.1.")}
    without_first = {n: t for n, t in state.items() if not n.startswith("layers2.0.blocks.0.")}
    (tmp_path / "config.json").write_text(json.dumps({"depths": [1, 2, 1, 1]}))
    with pytest.raises(UnusableWeights, match=r"\[1, 1, 1, 1\] blocks a stage, and \[1, 2, 1, 1\]"):
        encoder_from_checkpoint(_save(tmp_path / "a.pt", without_last), roi_size=32)
    with pytest.raises(UnusableWeights, match="not number 0"):
        encoder_from_checkpoint(_save(tmp_path / "b.pt", without_first), roi_size=32)
    without_stage = {n: t for n, t in state.items() if not n.startswith("layers4.")}
    (tmp_path / "config.json").unlink()
    with pytest.raises(UnusableWeights, match=r"layers4\..* is missing"):
        encoder_from_checkpoint(_save(tmp_path / "c.pt", without_stage), roi_size=32)


def test_no_other_layout_is_taken_for_it() -> None:
    table = "layers1.0.blocks.0.attn.relative_position_bias_table"
    assert monai_swin.recognises([table])
    assert monai_swin.recognises(["swinViT." + table])
    assert not monai_swin.recognises(["layers.0.blocks.0.attn.relative_position_bias_table"])
