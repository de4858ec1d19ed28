"""Segmenter: from a Volume to a Segmentation on the same grid."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor

from unetr_app.bundle import Bundle, BundleCard, open_bundle, root_cause
from unetr_app.errors import DeviceMemory, InvalidRequest, UnetrError, UnusableBundle
from unetr_app.inference.memory import is_out_of_memory
from unetr_app.inference.preprocess import preprocess
from unetr_app.inference.restore import RestoreLabelsd, model_geometry, native_geometry
from unetr_app.inference.streaming import plan_windows, segment_streaming, window_logits
from unetr_app.inference.window_plan import WindowPlan
from unetr_app.inference.windows import WatchedNetwork, watched, window_count
from unetr_app.version import __version__
from unetr_app.volume import Segmentation, Volume

Progress = Callable[[int, int], None]
ShouldStop = Callable[[], bool]


class Segmenter:
    """Applies one bundle to one volume after another; the model is loaded once.

    Args:
        bundle: An opened bundle.

    Example:
        >>> segmenter = Segmenter.open("hippocampus_mr_unetr_segmentation")  # doctest: +SKIP
        >>> segmenter.segment(read_volume("t1_crop.nii.gz")).label_map       # doctest: +SKIP
    """

    def __init__(self, bundle: Bundle):
        self.bundle = bundle
        card = bundle.card
        self._provenance = {
            "bundle": card.name,
            "bundle_version": card.version,
            "weights_hash": card.weights_hash,
            "software": f"unetr-app {__version__}",
            "device": bundle.device.type,
        }

    @classmethod
    def open(cls, bundle: str | os.PathLike[str], *, device: str = "auto") -> Segmenter:
        """Open a bundle by name or folder.

        Args:
            bundle: Name of a bundle that ships with the package, or a folder.
            device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

        Raises:
            InvalidRequest: If there is no such bundle or device.
            UnusableBundle: If it cannot be built, or its weights are missing or unfit.
        """
        return cls(open_bundle(bundle, device=device))

    @property
    def card(self) -> BundleCard:
        """What the bundle says about itself."""
        return self.bundle.card

    def segment(
        self,
        volume: Volume,
        *,
        progress: Progress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Segmentation:
        """Segment one volume.

        Args:
            volume: (C, I, J, K); as many channels as the bundle takes.
            progress: Told (windows done, windows in all) after each call of the network.
            should_stop: Asked before each call of the network.

        Returns:
            Labels on exactly the volume's geometry.

        Raises:
            InvalidRequest: If the number of channels is not the bundle's.
            Cancelled: If ``should_stop`` said so.
            DeviceMemory: If the device ran out of memory.
            UnusableBundle: If the bundle's own steps fail or do not lead home.
        """
        self._check_channels(volume)
        try:
            data = preprocess(self.bundle, volume)
            plan = self._plan(data["image"])
            if plan is not None:
                labels = self._stream(plan, data["image"], progress, should_stop)
            else:
                logits = self._infer(data["image"], progress, should_stop)
                labels = self._restore(data, logits)
        except UnetrError:
            raise
        except Exception as error:  # what a bundle names may raise anything
            raise self._explained(error, volume) from error
        return Segmentation(labels, volume.geometry, self.card.labels, self._provenance)

    def _check_channels(self, volume: Volume) -> None:
        wanted = len(self.card.channels)
        if wanted and len(volume.data) != wanted:
            raise InvalidRequest(
                f"the image has {len(volume.data)} channels; {self.card.name} takes {wanted} "
                f"({', '.join(self.card.channels)})"
            )

    def _plan(self, image: MetaTensor) -> WindowPlan | None:
        """Where windows lie, if the bundle's inferer and restore step can be streamed."""
        steps = self.bundle.postprocessing.transforms
        if len(steps) != 1 or type(steps[0]) is not RestoreLabelsd or image.ndim != 4:
            return None
        i, j, k = (int(n) for n in image.shape[1:])
        return plan_windows(self.bundle.inferer, (i, j, k))

    @torch.inference_mode()
    def _stream(
        self, plan: WindowPlan, image: MetaTensor, progress: Progress | None,
        should_stop: ShouldStop | None,
    ) -> np.ndarray:  # fmt: skip
        """(C, i, j, k) to labels (I, J, K) on the native grid, block by block."""
        bundle = self.bundle
        logits_of = window_logits(plan, image.as_tensor(), bundle.network, bundle.device)
        return segment_streaming(
            plan, watched(logits_of, plan.count, progress, should_stop),
            model_geometry(image), native_geometry(image),
        )  # fmt: skip

    @torch.inference_mode()
    def _infer(
        self, image: MetaTensor, progress: Progress | None, should_stop: ShouldStop | None
    ) -> Tensor:
        """(C, i, j, k) to logits (L, i, j, k)."""
        inputs = image.as_tensor()[None].to(self.bundle.device)
        total = window_count(tuple(inputs.shape[2:]), self.bundle.inferer)
        network = WatchedNetwork(self.bundle.network, total, progress, should_stop)
        with torch.autocast("cuda", enabled=self.bundle.device.type == "cuda"):
            logits: Tensor = self.bundle.inferer(inputs, network)
        return logits[0].float()

    def _restore(self, data: dict[str, Any], logits: Tensor) -> np.ndarray:
        """To labels (I, J, K) on the native grid."""
        pred = MetaTensor(logits, meta=data["image"].meta)
        restored: Any = self.bundle.postprocessing(data | {"pred": pred})
        return np.asarray(restored["pred"].squeeze(0).cpu())

    def _explained(self, error: Exception, volume: Volume) -> UnetrError:
        """Our error for one that came out of torch, MONAI or a bundle's own code."""
        cause = root_cause(error)
        if is_out_of_memory(error):
            return DeviceMemory(
                f"{self.bundle.device} ran out of memory at a volume of {volume.geometry.shape}",
                cure="Use --device cpu, or a machine with more memory.",
            )
        return UnusableBundle(
            f"{self.card.name} failed on a volume of {volume.geometry.shape}: {cause}"
        )
