"""SegFormer with its decode head, told as our ``segformer`` encoder with ``mlp`` decoder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from unetr_app.networks.pretrained.layouts import hf_segformer, nvlabs_segformer
from unetr_app.networks.pretrained.layouts.pyramid_source import strip_before
from unetr_app.networks.pretrained.source import Checkpoint, Renamed, Source, rename

_AFFINE = r"(weight|bias)"
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_MOST_STAGES = 8

# transformers, on disk and in memory. The maps are fused coarsest first, in our decoder too.
_TRANSFORMERS = (
    (rf"(?:linear_c|linear_projections)\.(\d+)\.proj\.{_AFFINE}", r"decoder.linears.\1.\2"),
    (r"linear_fuse\.weight", "decoder.fuse.weight"),
    (rf"batch_norm\.{_NORM}", r"decoder.norm.\1"),
    (rf"classifier\.{_AFFINE}", r"head.conv.conv.\1"),
)
# NVlabs and mmsegmentation, whose stages count from 1.
_NVLABS = (
    *(
        (rf"linear_c{n + 1}\.proj\.{_AFFINE}", rf"decoder.linears.{n}.\1")
        for n in range(_MOST_STAGES)
    ),
    (r"linear_fuse\.conv\.weight", "decoder.fuse.weight"),
    (rf"linear_fuse\.bn\.{_NORM}", r"decoder.norm.\1"),
    (rf"linear_pred\.{_AFFINE}", r"head.conv.conv.\1"),
)
_SKIPS = ((r"conv_seg\.", "never read by its network"),)
_LANDMARKS = ("linear_fuse.weight", "linear_fuse.conv.weight")
_DECODE_HEAD = "decode_head."


@dataclass(frozen=True)
class SegFormerNetwork:
    """A whole SegFormer in our words.

    Args:
        source: Its tensors under the names of a `SegmentationNetwork`.
        arguments: Those of `build_network`.
    """

    source: Source
    arguments: Mapping[str, Any]


def is_segformer_network(keys: Collection[str]) -> bool:
    """Do the keys belong to a SegFormer with its decode head, of transformers or NVlabs?"""
    has_head = any(key.endswith(tuple(_DECODE_HEAD + name for name in _LANDMARKS)) for key in keys)
    return has_head and any(layout.recognises(keys) for layout in (hf_segformer, nvlabs_segformer))


def read_segformer_network(checkpoint: Checkpoint) -> SegFormerNetwork:
    """Tell a checkpoint of SegFormer with its decode head.

    Args:
        checkpoint: `is_segformer_network` says yes to its keys.

    Raises:
        KeyError: If a tensor that is needed for a size is missing.
        UnusableWeights: If stages or blocks are missing, or an argument can be found nowhere.
    """
    hugging_face = hf_segformer.recognises(checkpoint.state.keys())
    source = (hf_segformer if hugging_face else nvlabs_segformer).read(checkpoint)
    head = _renamed_head(checkpoint.state, _TRANSFORMERS if hugging_face else _NVLABS)
    tensors = {f"encoder.{name}": tensor for name, tensor in source.tensors.items()}
    origins = {f"encoder.{name}": origin for name, origin in source.origins.items()}
    skipped = {k: v for k, v in source.skipped.items() if _DECODE_HEAD not in k} | head.skipped
    whole = replace(
        source,
        tensors=tensors | head.tensors,
        origins=origins | head.origins,
        skipped=skipped,
        stem=f"encoder.{source.stem}",
    )
    arguments = {
        "encoder": source.encoder,
        "decoder": "mlp",
        "in_channels": source.in_channels,
        "out_channels": int(head.tensors["head.conv.conv.weight"].shape[0]),
        "spatial_dims": checkpoint.spatial_dims,
        "roi_size": source.multiple,
        "width": int(head.tensors["decoder.fuse.weight"].shape[0]),
        "dropout": float(checkpoint.fact_or(0.1, "dropout", "classifier_dropout_prob")),
        **source.options,
    }
    return SegFormerNetwork(whole, {**arguments, **checkpoint.given})


def _renamed_head(state: Mapping[str, Tensor], rules: tuple[tuple[str, str], ...]) -> Renamed:
    """The decode head's tensors under our names, their origins with its prefix."""
    bare = strip_before(state, *(_DECODE_HEAD + name for name in _LANDMARKS))
    head = {
        key.removeprefix(_DECODE_HEAD): tensor
        for key, tensor in bare.items()
        if key.startswith(_DECODE_HEAD)
    }
    renamed = rename(head, rules, _SKIPS)
    origins = {ours: _DECODE_HEAD + theirs for ours, theirs in renamed.origins.items()}
    skipped = {_DECODE_HEAD + theirs: why for theirs, why in renamed.skipped.items()}
    return Renamed(renamed.tensors, origins, skipped)
