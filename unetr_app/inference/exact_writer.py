"""ExactWriter: saves a volume as it is, on whatever grid it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.data.image_writer import NibabelWriter


class ExactWriter(NibabelWriter):
    """NIfTI writer that never resamples, for `monai.transforms.SaveImaged`.

    MONAI 1.6.1's own writer resamples even where nothing is to be done, and fails on grids whose
    first two array axes do not span the world's first two (such as PSL).
    """

    def set_metadata(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, meta_dict: Mapping[str, Any] | None, resample: bool = False, **_: Any
    ) -> None:
        """Take the affine from ``meta_dict``; ``resample`` is ignored."""
        self.affine = self.get_meta_info(meta_dict)[1]
        if self.output_dtype is None and self.data_obj is not None:
            self.output_dtype = self.data_obj.dtype  # pyright: ignore[reportAttributeAccessIssue]
