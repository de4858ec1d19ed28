"""StageSizes: what one stage of a pyramid encoder measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unetr_app.errors import InvalidRequest
from unetr_app.networks.tuples import as_tuple

PerAxis = int | Sequence[int]


@dataclass(frozen=True)
class StageSizes:
    """One stage, checked.

    Args:
        width: Channels C of its tokens.
        depth: Blocks.
        num_heads: Attention heads of each.
        hidden: Channels inside the feed-forward.
        step: How much coarser than the stage before, one an axis.
        stride: Input voxels per token, one an axis.
        kernel: Of the embedding, odd, one an axis.
        ratio: Tokens that become one key, one an axis.
    """

    width: int
    depth: int
    num_heads: int
    hidden: int
    step: tuple[int, ...]
    stride: tuple[int, ...]
    kernel: tuple[int, ...]
    ratio: tuple[int, ...]

    @property
    def least_input(self) -> tuple[int, ...]:
        """Voxels along each axis below which there is no key."""
        return tuple(s * r for s, r in zip(self.stride, self.ratio, strict=True))


def stage_sizes(
    spatial_dims: int,
    *,
    embed_dims: Sequence[int],
    depths: Sequence[int],
    num_heads: Sequence[int],
    mlp_ratios: Sequence[float],
    patch_strides: Sequence[PerAxis],
    patch_sizes: Sequence[PerAxis] | None,
    sr_ratios: Sequence[PerAxis] | None,
) -> list[StageSizes]:
    """The stages of a pyramid, finest first; arguments as `PyramidEncoder` takes them.

    Raises:
        InvalidRequest: If an argument has not one entry a stage, or sizes do not fit.
    """
    count = len(embed_dims)
    if count == 0 or min(embed_dims) < 1:
        raise InvalidRequest(f"embed_dims {embed_dims} must be positive integers, one a stage")
    given: dict[str, Sequence[Any] | None] = {
        "depths": depths, "num_heads": num_heads, "mlp_ratios": mlp_ratios,
        "patch_strides": patch_strides, "patch_sizes": patch_sizes, "sr_ratios": sr_ratios,
    }  # fmt: skip
    for name, values in given.items():
        if values is not None and len(values) != count:
            raise InvalidRequest(f"{name} {values} must be {count} values, one a stage")
    steps = [as_tuple(step, spatial_dims, "patch_strides") for step in patch_strides]
    strides = _running_product(steps)
    stages: list[StageSizes] = []
    for n, width in enumerate(embed_dims):
        if num_heads[n] < 1 or width % num_heads[n]:
            raise InvalidRequest(f"embed_dims {width} is no multiple of num_heads {num_heads[n]}")
        if depths[n] < 1:
            raise InvalidRequest(f"depths {list(depths)} must be at least 1 a stage")
        stages.append(
            StageSizes(
                width=width,
                depth=depths[n],
                num_heads=num_heads[n],
                hidden=int(width * mlp_ratios[n] + 1e-6),  # 1e-6: a ratio is not exact in binary
                step=steps[n],
                stride=strides[n],
                kernel=_kernel(None if patch_sizes is None else patch_sizes[n], steps[n]),
                ratio=_ratio(None if sr_ratios is None else sr_ratios[n], strides[n], strides[-1]),
            )
        )
    return stages


def smallest_input(sizes: Sequence[StageSizes], *, linear: bool) -> tuple[int, ...]:
    """The smallest input that the last stride divides and of which every stage has a key.

    Args:
        sizes: Of the stages.
        linear: Are keys pooled to a fixed grid, so that any map has some?
    """
    last = sizes[-1].stride
    reduced = [stage.stride if linear else stage.least_input for stage in sizes]
    least = [max(axis) for axis in zip(*reduced, strict=True)]
    return tuple(math.ceil(n / total) * total for n, total in zip(least, last, strict=True))


def _running_product(steps: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    strides: list[tuple[int, ...]] = []
    for step in steps:
        before = strides[-1] if strides else (1,) * len(step)
        strides.append(tuple(a * b for a, b in zip(before, step, strict=True)))
    return strides


def _kernel(size: PerAxis | None, step: tuple[int, ...]) -> tuple[int, ...]:
    """As given; else that of both papers, 7 for a step of 4 and 3 for 2, and 3 for a step of 1."""
    if size is None:
        return tuple(max(2 * s - 1, 3) for s in step)
    kernel = as_tuple(size, len(step), "patch_sizes")
    if any(k % 2 == 0 or k < s for k, s in zip(kernel, step, strict=True)):
        raise InvalidRequest(
            f"patch_sizes {kernel} must be odd and at least the patch_strides {step}",
            cure="Even ones would give maps that their stride does not divide the input into.",
        )
    return kernel


def _ratio(
    ratio: PerAxis | None, stride: tuple[int, ...], last: tuple[int, ...]
) -> tuple[int, ...]:
    """As given; else down to the last map's grid, which is the rule of both papers' networks.

    A number for all axes goes no further than that along axes that are coarsened less than others.
    """
    to_last = tuple(b // a for a, b in zip(stride, last, strict=True))
    if ratio is None:
        return to_last
    if isinstance(ratio, int) and ratio > 0:
        return tuple(
            ratio if total == max(last) else min(ratio, limit)
            for limit, total in zip(to_last, last, strict=True)
        )
    return as_tuple(ratio, len(stride), "sr_ratios")
