"""Patches: inputs that they divide, and grids of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from unetr_app.errors import InvalidRequest


def token_grid(roi_size: Sequence[int], patch_size: Sequence[int]) -> tuple[int, ...]:
    """Tokens along each axis of an input.

    Args:
        roi_size: Voxels along each axis.
        patch_size: Voxels of a token along each axis.

    Raises:
        InvalidRequest: If the patch does not divide the input.
    """
    if any(n % p or n < p for n, p in zip(roi_size, patch_size, strict=True)):
        raise InvalidRequest(
            f"roi_size {tuple(roi_size)} is no multiple of patch_size {tuple(patch_size)}",
            cure="Choose a roi_size that each patch axis divides.",
        )
    return tuple(n // p for n, p in zip(roi_size, patch_size, strict=True))


def require_input(x: Tensor, in_channels: int, multiples: list[int]) -> None:
    """Refuse, in a forward pass, what an encoder cannot read; TorchScript may call it.

    Args:
        x: (B, C, spatial...).
        in_channels: C that the encoder was built for.
        multiples: What each axis must be a multiple of: the patch, or the coarsest stride.

    Raises:
        ValueError: If there are other axes or channels, or an axis is no multiple; the message
            names both shapes.
    """
    axes = len(multiples)
    if x.dim() != axes + 2 or x.shape[1] != in_channels:
        raise ValueError(
            f"input of shape {list(x.shape)}: this encoder reads (batch, channels {in_channels}, "
            f"{axes} spatial axes); add the axis that lacks, or build it with other in_channels"
        )
    for n, step in enumerate(multiples):
        if x.shape[2 + n] % step != 0 or x.shape[2 + n] == 0:
            raise ValueError(
                f"input of {list(x.shape[2:])} voxels is no multiple of {multiples}, patch or "
                "coarsest stride of this encoder: crop or pad it"
            )
