"""What every layout of SegFormer's encoder and of PVT v2 has in common: a `Source` of a pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.source import Checkpoint, Renamed, Source, count_blocks
from unetr_app.networks.pyramid_sizes import smallest_input, stage_sizes

# Channels and blocks of the published sizes (arXiv:2105.15203, table 6; arXiv:2106.13797, table 1).
# All have 1, 2, 5 and 8 heads. A row counts only for a file of those channels.
_B0, _B1 = (32, 64, 160, 256), (64, 128, 320, 512)
PUBLISHED: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    f"{family}{size}": row
    for family in ("mit_b", "segformer_b", "segformer.b", "pvt_v2_b")
    for size, row in enumerate(
        (
            (_B0, (2, 2, 2, 2)),
            (_B1, (2, 2, 2, 2)),
            (_B1, (3, 4, 6, 3)),
            (_B1, (3, 4, 18, 3)),
            (_B1, (3, 8, 27, 3)),
            (_B1, (3, 6, 40, 3)),
        )
    )
}
_PUBLISHED_HEADS = (1, 2, 5, 8)
_MEASURES = (
    "embed_dims", "depths", "num_heads", "mlp_ratios", "patch_strides", "patch_sizes", "sr_ratios",
)  # fmt: skip


def pyramid_source(
    layout: str, encoder: str, checkpoint: Checkpoint, renamed: Renamed, **norms: float
) -> Source:
    """The checkpoint in our words.

    Args:
        layout: Its name.
        encoder: ``segformer`` or ``pvt``.
        checkpoint: As it was found.
        renamed: Its tensors under our names.
        norms: ``norm_eps`` and ``conv_norm_eps`` of the reference.

    Raises:
        UnusableWeights: If stages or blocks are missing, or something that no tensor tells stands
            nowhere.
    """
    activation = checkpoint.arguments.get("hidden_act", "gelu")
    if activation != "gelu":
        raise UnusableWeights(f"its activation is {activation!r}; {encoder} has GELU")
    tensors = renamed.tensors
    options = _options(checkpoint, tensors)
    return Source(
        layout=layout,
        encoder=encoder,
        spatial_dims=2,
        in_channels=int(tensors["stages.0.embed.weight"].shape[1]),
        options={**options, **norms},
        tensors=tensors,
        origins=renamed.origins,
        skipped=renamed.skipped,
        stem="stages.0.embed.weight",
        multiple=_multiple(checkpoint, options),
    )


def strip_before(state: Mapping[str, Tensor], *landmarks: str) -> dict[str, Tensor]:
    """The same tensors without what stands before a name that every file of the layout has.

    Args:
        state: Tensors by the file's names.
        landmarks: Names, one of which is in the file, perhaps after a prefix.
    """
    prefix = next(key.removesuffix(e) for key in state for e in landmarks if key.endswith(e))
    return {key.removeprefix(prefix): tensor for key, tensor in state.items()}


def is_linear(tensors: Mapping[str, Tensor]) -> bool:
    """Is it PVT v2's linear variant? Its reductions are convolutions of one voxel."""
    reductions = [v for k, v in tensors.items() if k.endswith("reduction.convolution.weight")]
    return bool(reductions) and all(max(weight.shape[2:]) == 1 for weight in reductions)


def mlp_ratios(tensors: Mapping[str, Tensor]) -> tuple[float, ...]:
    """Channels inside the feed-forward as a multiple of the tokens', for each stage."""
    weights = [
        tensors[f"stages.{n}.blocks.0.feed_forward.expand.weight"]
        for n in range(count_blocks(tensors, r"stages\.(\d+)\."))
    ]
    ratios = (weight.shape[0] / weight.shape[1] for weight in weights)
    return tuple(int(ratio) if ratio.is_integer() else ratio for ratio in ratios)


def _options(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    count = count_blocks(tensors, r"stages\.(\d+)\.", checkpoint.path)
    found = tuple(
        count_blocks(tensors, rf"stages\.{n}\.blocks\.(\d+)\.", checkpoint.path)
        for n in range(count)
    )
    embeds = [tensors[f"stages.{n}.embed.weight"] for n in range(count)]  # (C, C_in, k, k)
    widths = tuple(int(embed.shape[0]) for embed in embeds)
    kernels = tuple(checkpoint.per_axis(embed.shape[2:]) for embed in embeds)
    depths = _depths(checkpoint, found, widths)
    usual = kernels == (7,) + (3,) * (count - 1)
    linear = is_linear(tensors)
    heads = checkpoint.fact(
        "num_heads", "num_attention_heads",
        published=_PUBLISHED_HEADS if (widths, depths) in PUBLISHED.values() else None,
    )  # fmt: skip
    return {
        "embed_dims": widths,
        "depths": depths,
        "num_heads": (heads,) * count if isinstance(heads, int) else tuple(heads),
        "mlp_ratios": mlp_ratios(tensors),
        "patch_sizes": kernels,
        "patch_strides": checkpoint.fact(
            "patch_strides", "strides", published=(4,) + (2,) * (count - 1) if usual else None
        ),
        "sr_ratios": None if linear else _ratios(checkpoint, tensors, count),
        "linear": linear,
        "qkv_bias": any(name.endswith(".query.bias") for name in tensors),
    }  # fmt: skip


def _multiple(checkpoint: Checkpoint, options: Mapping[str, Any]) -> tuple[int, ...]:
    """What an input must be a multiple of, with what the caller wants otherwise."""
    chosen = {name: checkpoint.given.get(name, value) for name, value in options.items()}
    measures = {name: chosen[name] for name in _MEASURES}
    sizes = stage_sizes(checkpoint.spatial_dims, **measures)
    return smallest_input(sizes, linear=chosen["linear"])


def _depths(
    checkpoint: Checkpoint, found: tuple[int, ...], widths: tuple[int, ...]
) -> tuple[int, ...]:
    """Blocks of each stage; a truncated file does not silently become a smaller network."""
    if checkpoint.given.get("depths") is not None:
        return tuple(checkpoint.given["depths"])
    row = checkpoint.published(PUBLISHED)
    published = row[1] if row is not None and row[0][: len(widths)] == widths else None
    said: Sequence[int] = checkpoint.arguments.get("depths") or published or found
    if tuple(said) != found:
        raise UnusableWeights(
            f"the file holds {found} blocks a stage, and {tuple(said)} belong to this network",
            cure="Get the file again from its source, or pass depths=... to build another network.",
            path=checkpoint.path,
        )
    return found


def _ratios(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], count: int
) -> tuple[int | tuple[int, ...], ...]:
    """The kernel of each stage's reduction; 1 for a stage without one."""
    ratios: list[int | tuple[int, ...]] = []
    for n in range(count):
        reduction = f"stages.{n}.blocks.0.attention.reduction."
        has_one = any(name.startswith(reduction) for name in tensors)
        kernel = tensors[f"{reduction}convolution.weight"].shape[2:] if has_one else None
        ratios.append(1 if kernel is None else checkpoint.per_axis(kernel))
    return tuple(ratios)
