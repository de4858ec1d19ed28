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


def require_whole_patches(x: Tensor, patch_size: list[int]) -> None:
    """Refuse, in a forward pass, an input that the patch does not divide; TorchScript may call it.

    Args:
        x: (B, C, spatial...).
        patch_size: Voxels of a token along each axis.

    Raises:
        ValueError: If an axis is no multiple of the patch; the message names both shapes.
    """
    for n, patch in enumerate(patch_size):
        if x.shape[2 + n] % patch != 0:
            raise ValueError(
                f"input of {x.shape[2:]} voxels is no multiple of the patch {patch_size}: "
                "crop or pad it"
            )
