"""Segmenter: from a Volume to a Segmentation on the same grid."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor

from unetr_app.bundle import Bundle, BundleCard, open_bundle, root_cause
from unetr_app.errors import DeviceMemory, InvalidRequest, UnetrError, UnusableBundle
from unetr_app.inference.carries import Carries
from unetr_app.inference.homecoming import Homecoming
from unetr_app.inference.memory import is_out_of_memory
from unetr_app.inference.memory_plan import MemoryPlan, plan_memory
from unetr_app.inference.options import InferenceOptions
from unetr_app.inference.preprocess import preprocess
from unetr_app.inference.reductions import EntropyFile, LabelMap, ProbabilityFile, Reduction
from unetr_app.inference.region import find_region
from unetr_app.inference.restore import RestoreLabelsd, model_geometry, native_geometry
from unetr_app.inference.streaming import plan_windows, reduce_streaming
from unetr_app.inference.window_logits import WindowLogits
from unetr_app.inference.window_plan import WindowPlan
from unetr_app.inference.windows import WatchedNetwork, watched, window_count
from unetr_app.version import __version__
from unetr_app.volume import Segmentation, Volume

Progress = Callable[[int, int], None]
ShouldStop = Callable[[], bool]

MAPS: dict[str, Callable[..., Reduction]] = {
    "probabilities": ProbabilityFile,
    "uncertainty": EntropyFile,
}


class Segmenter:
    """Applies one bundle to one volume after another; the model is loaded once.

    Args:
        bundle: An opened bundle.
        options: What the user decides beside it.

    Example:
        >>> segmenter = Segmenter.open("hippocampus_mr_unetr_segmentation")  # doctest: +SKIP
        >>> segmenter.segment(read_volume("t1_crop.nii.gz")).label_map       # doctest: +SKIP
    """

    def __init__(self, bundle: Bundle, options: InferenceOptions | None = None):
        self.bundle = bundle
        self.options = options or InferenceOptions()
        self._windows = WindowLogits(bundle.network, bundle.device, skip=self.options.skip)
        card = bundle.card
        self._provenance = {
            "bundle": card.name,
            "bundle_version": card.version,
            "weights_hash": card.weights_hash,
            "software": f"unetr-app {__version__}",
            "device": bundle.device.type,
        }

    @classmethod
    def open(
        cls,
        bundle: str | os.PathLike[str],
        *,
        device: str = "auto",
        options: InferenceOptions | None = None,
    ) -> Segmenter:
        """Open a bundle by name or folder.

        Args:
            bundle: Name of a bundle that ships with the package, or a folder.
            device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
            options: What the user decides beside it.

        Raises:
            InvalidRequest: If there is no such bundle or device.
            UnusableBundle: If it cannot be built, or its weights are missing or unfit.
        """
        return cls(open_bundle(bundle, device=device), options)

    @property
    def card(self) -> BundleCard:
        """What the bundle says about itself."""
        return self.bundle.card

    def segment(
        self,
        volume: Volume,
        *,
        maps: Mapping[str, Path] | None = None,
        on_plan: Callable[[MemoryPlan], None] | None = None,
        progress: Progress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Segmentation:
        """Segment one volume.

        Args:
            volume: (C, I, J, K); as many channels as the bundle takes.
            maps: Files to write besides: ``probabilities`` (see `ProbabilityFile`) and
                ``uncertainty`` (see `EntropyFile`), each a path that ends in ``.npy``.
            on_plan: Told how much memory the case will take, before the first window.
            progress: Told (windows done, windows in all) after each window.
            should_stop: Asked before each window.

        Returns:
            Labels on exactly the volume's geometry.

        Raises:
            InvalidRequest: If the number of channels is not the bundle's, or the bundle's inferer
                cannot do what the options ask for.
            Cancelled: If ``should_stop`` said so.
            DeviceMemory: If the device ran out of memory, or the limit is too low.
            UnusableBundle: If the bundle's own steps fail or do not lead home.
        """
        self._check_channels(volume)
        try:
            data = preprocess(self.bundle, volume)
            plan = self._plan(data["image"])
            if plan is None:
                self._require_plain(maps)
                labels = self._restore(data, self._infer(data["image"], progress, should_stop))
            else:
                image = _only_image(data)
                labels = self._stream(plan, image, maps or {}, on_plan, progress, should_stop)
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
        return plan_windows(self.bundle.inferer, (i, j, k), self.options)

    def _require_plain(self, maps: Mapping[str, Path] | None) -> None:
        """Refuse what an inferer that we do not know cannot be asked for."""
        asked = [*(maps or {}), *self.options.parameters]
        if self.options.memory_limit is not None:
            asked.append("memory_limit")
        if asked:
            raise InvalidRequest(
                f"the inferer of {self.card.name} runs as it is: no {', '.join(asked)}",
                cure="Leave it out, or use a bundle with MONAI's SlidingWindowInferer.",
            )

    @torch.inference_mode()
    def _stream(
        self, plan: WindowPlan, image: MetaTensor, maps: Mapping[str, Path],
        on_plan: Callable[[MemoryPlan], None] | None, progress: Progress | None,
        should_stop: ShouldStop | None,
    ) -> np.ndarray:  # fmt: skip
        """(C, i, j, k) to labels (I, J, K) on the native grid, block by block."""
        native, model, tensor = native_geometry(image), model_geometry(image), image.as_tensor()
        if self.options.localise:
            region = find_region(plan, tensor, self._windows.of, _has_labels)
            model, tensor = model.cropped(region.start, region.shape), region.of(tensor)
            plan = replace(plan, shape=region.shape, _weights={})
        channels, network = self._windows.probe(plan, len(image))
        memory = plan_memory(plan, channels, native.shape, network, self.options.memory_limit)
        if on_plan is not None:
            on_plan(memory)
        memory.require_room()
        labels = LabelMap(native.shape)
        kept = [MAPS[name](path, native.shape) for name, path in maps.items()]
        logits_of = self._windows.of(plan, tensor)
        home = Homecoming(model, native, plan.order)
        with Carries(memory.kept if memory.limit else None) as carries:
            reduce_streaming(
                plan, watched(logits_of, plan.count, progress, should_stop), home,
                (labels, *kept), carries,
            )  # fmt: skip
        return labels.array

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


def _has_labels(logits: Tensor) -> Tensor:
    """(L, ...) to (...): does any channel but the background win?"""
    return logits.argmax(dim=0) > 0


def _only_image(data: dict[str, Any]) -> MetaTensor:
    """The preprocessed image alone: whatever else was made is let go."""
    image: MetaTensor = data["image"]
    data.clear()
    return image
