"""The pyramid vision transformer, version 2, for images and volumes.

Wang et al. 2021 (PVT v2, arXiv:2106.13797): what SegFormer's encoder is, with wider feed-forwards
in the first two stages and a variant whose attention has linear cost, because keys
and values are pooled to 7 an axis whatever the input's size.
"""

from __future__ import annotations

from typing import ClassVar

from unetr_app.networks.pyramid import PyramidEncoder


class PyramidVisionTransformer(PyramidEncoder):
    """PVT v2 encoder: four maps at strides 4, 8, 16 and 32; B0 by default.

    All is `PyramidEncoder`, its arguments too; ``linear=True`` is the linear variant. The published
    sizes B1 to B5 have ``embed_dims`` 64, 128, 320, 512 and ``depths`` 2, 2, 2, 2; 3, 4, 6, 3;
    3, 4, 18, 3; 3, 8, 27, 3 and 3, 6, 40, 3; B5 alone has ``mlp_ratios`` of 4 throughout.

    Example:
        >>> import torch
        >>> encoder = PyramidVisionTransformer(1, (32, 64, 64), patch_strides=((2, 4, 4), 2, 2, 2),
        ...     embed_dims=(8,) * 4, num_heads=(1,) * 4, depths=(1,) * 4, linear=True)
        >>> encoder.strides
        ((2, 4, 4), (4, 8, 8), (8, 16, 16), (16, 32, 32))
    """

    published_mlp_ratios: ClassVar[tuple[float, ...]] = (8, 8, 4, 4)
