"""Bundles: a folder with configs, metadata and weights, opened into typed objects.

`read_card` and `list_bundles` read ``metadata.json`` alone and import neither torch nor MONAI;
`open_bundle` builds what inference needs. Only this room imports `monai.bundle`.
"""

from __future__ import annotations

from unetr_app.bundle.card import BundleCard, list_bundles, read_card
from unetr_app.bundle.causes import root_cause
from unetr_app.bundle.folders import PathLike, bundle_folders, find_bundle
from unetr_app.bundle.opened import Bundle, find_device, open_bundle
from unetr_app.bundle.restoration import LabelStep, Restoration
from unetr_app.bundle.trust import is_trusted, require_trusted, trust

__all__ = [
    "Bundle", "BundleCard", "LabelStep", "PathLike", "Restoration", "bundle_folders", "find_bundle",
    "find_device", "is_trusted", "list_bundles", "open_bundle", "read_card", "require_trusted",
    "root_cause", "trust",
]  # fmt: skip
