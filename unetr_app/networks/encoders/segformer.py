"""SegFormer's encoder (Mix Transformer, MiT) for images and volumes.

Xie et al. 2021 (arXiv:2105.15203, section 3.1): a pyramid without positions. The zero padding of
the depth-wise convolution in its feed-forward is all that tells a token its place, so that any
input size is as good as that of training.
"""

from __future__ import annotations

from unetr_app.networks.pyramid import PyramidEncoder


class SegFormer(PyramidEncoder):
    """MiT encoder: four maps at strides 4, 8, 16 and 32; B0 by default.

    All is `PyramidEncoder`, its arguments too. The published sizes B1 to B5 have ``embed_dims``
    64, 128, 320, 512 and ``depths`` 2, 2, 2, 2; 3, 4, 6, 3; 3, 4, 18, 3; 3, 8, 27, 3 and
    3, 6, 40, 3.

    Example:
        >>> import torch
        >>> encoder = SegFormer(1, (32, 32, 32), patch_strides=(2, 2, 2, 2), embed_dims=(8,) * 4,
        ...                     num_heads=(1,) * 4, depths=(1,) * 4)
        >>> [tuple(level.shape[2:]) for level in encoder(torch.zeros(1, 1, 32, 48, 16))]
        [(16, 24, 8), (8, 12, 4), (4, 6, 2), (2, 3, 1)]
    """
