"""The Swin transformer as an encoder of volumes, through MONAI's.

Liu et al. 2021 (arXiv:2103.14030, section 3): attention within windows that are shifted from block
to block, and tokens that are merged from stage to stage. MONAI's volumetric form is the encoder of
Swin UNETR (Hatamizadeh et al. 2022, arXiv:2201.01266, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from monai.networks.nets.swin_unetr import SwinTransformer, WindowAttention
from torch import Tensor, nn

from unetr_app.errors import InvalidRequest
from unetr_app.networks.choices import require_choice
from unetr_app.networks.patches import require_input
from unetr_app.networks.tuples import as_tuple

_MOST_STAGES = 4  # fixed in MONAI's forward pass
_MERGINGS = ("merging", "mergingv2")


class SwinEncoder(nn.Module):
    """MONAI's Swin transformer: embedded patches and up to four stages, each at twice the stride.

    The maps are those that Swin UNETR reads, each normed over its channels without learned
    factors. There is no layer scale: MONAI's blocks have none. Attention is fused where no
    gradient is asked for, and computed step by step in training, as MONAI does.

    TorchScript cannot compile MONAI's forward pass, which rearranges by einops and lets Python
    decide shapes; `torch.jit.script` says so. `torch.jit.trace`, for one input shape, ONNX export
    and `torch.compile` work.

    Args:
        in_channels: Channels of the input.
        roi_size: Input shape in voxels, checked against the strides; inputs of other sizes that
            the coarsest stride divides are taken too.
        spatial_dims: 2 or 3.
        patch_size: Voxels of a token of the finest map along each axis; a number, or one an axis.
        embed_dim: Channels of the finest map; doubled at each stage.
        depths: Blocks of each stage, 1 to 4 of them.
        num_heads: Attention heads of each stage.
        window_size: Tokens of a window along each axis; a number, or one an axis.
        mlp_ratio: Channels inside the feed-forwards, in multiples of the tokens' channels.
        qkv_bias: Do queries, keys and values have a bias?
        patch_norm: Are the embedded patches normed?
        merging: Order in which MONAI merges tokens: ``"merging"`` or ``"mergingv2"``.
        use_v2: Does a convolutional block stand before each stage, as in SwinUNETR-V2 (He et al.
            2023, MICCAI)?
        drop_path: Chance to drop the last block's branches in training; rises linearly from 0.
        norm_eps: Epsilon of the layer norms within stages.
        gradient_checkpointing: Recompute blocks in the backward pass to save memory.

    Raises:
        InvalidRequest: If sizes do not divide, or there are more than four stages.
    """

    def __init__(
        self,
        in_channels: int,
        roi_size: Sequence[int],
        *,
        spatial_dims: int = 3,
        patch_size: int | Sequence[int] = 2,
        embed_dim: int = 48,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int | Sequence[int] = 7,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        patch_norm: bool = False,
        merging: str = "merging",
        use_v2: bool = False,
        drop_path: float = 0.0,
        norm_eps: float = 1e-5,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        patch = as_tuple(patch_size, spatial_dims, "patch_size")
        window = as_tuple(window_size, spatial_dims, "window_size")
        _check_stages(embed_dim, depths, num_heads)
        require_choice(merging, _MERGINGS, "merging")
        self.in_channels = in_channels
        self.channels = tuple(embed_dim * 2**n for n in range(len(depths) + 1))
        self.strides = tuple(tuple(p * 2**n for p in patch) for n in range(len(depths) + 1))
        _check_roi(as_tuple(roi_size, spatial_dims, "roi_size"), self.strides[-1])
        norm: Any = partial(nn.LayerNorm, eps=norm_eps)
        self.transformer = SwinTransformer(
            in_chans=in_channels, embed_dim=embed_dim, window_size=window, patch_size=patch,
            depths=depths, num_heads=num_heads, mlp_ratio=mlp_ratio, qkv_bias=qkv_bias,
            drop_path_rate=drop_path, norm_layer=norm, patch_norm=patch_norm,
            use_checkpoint=gradient_checkpointing, spatial_dims=spatial_dims, downsample=merging,
            use_v2=use_v2, use_flash_attention=True,
        )  # fmt: skip
        for module in self.transformer.modules():
            if isinstance(module, WindowAttention):  # the index follows from the window
                index: Any = module.relative_position_index
                module.register_buffer("relative_position_index", index, persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, spatial...) to a map of patches and one a stage: (B, embed_dim x 2^n, ...)."""
        require_input(x, self.in_channels, list(self.strides[-1]))
        features = self.transformer.pos_drop(self.transformer.patch_embed(x))
        maps = [self.transformer.proj_out(features, True)]
        for n in range(1, len(self.strides)):
            for convolutions in getattr(self.transformer, f"layers{n}c", ()):  # of SwinUNETR-V2
                features = convolutions(features.contiguous())
            for stage in getattr(self.transformer, f"layers{n}"):
                features = stage(features.contiguous())
            maps.append(self.transformer.proj_out(features, True))
        return maps

    def __prepare_scriptable__(self) -> nn.Module:
        """Called by `torch.jit.script` before it compiles."""
        raise InvalidRequest(
            "the swin encoder cannot be compiled by TorchScript: MONAI's forward pass rearranges "
            "by einops and lets Python decide shapes",
            cure="Use torch.jit.trace for one input shape, or export to ONNX.",
        )


def _check_stages(embed_dim: int, depths: Sequence[int], num_heads: Sequence[int]) -> None:
    count = len(depths)
    if not 1 <= count <= _MOST_STAGES or len(num_heads) != count or min(depths) < 1:
        raise InvalidRequest(
            f"depths {list(depths)} and num_heads {list(num_heads)} must be as many positive "
            f"integers each, 1 to {_MOST_STAGES}"
        )
    for n, heads in enumerate(num_heads):
        if heads < 1 or embed_dim * 2**n % heads:
            raise InvalidRequest(
                f"stage {n} has {embed_dim * 2**n} channels, no multiple of its {heads} heads",
                cure="Choose num_heads that divide embed_dim x (1, 2, 4, 8).",
            )


def _check_roi(roi_size: tuple[int, ...], stride: tuple[int, ...]) -> None:
    if any(n % s for n, s in zip(roi_size, stride, strict=True)):
        raise InvalidRequest(
            f"roi_size {roi_size} is no multiple of the coarsest stride {stride}",
            cure="Choose another roi_size, a smaller patch_size or fewer stages.",
        )
