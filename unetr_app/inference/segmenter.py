"""Segmenter: from a Volume to a Segmentation on the same grid."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from unetr_app.bundle import Bundle, BundleCard, open_bundle, root_cause
from unetr_app.errors import (
    DeviceMemory,
    InvalidRequest,
    UnetrError,
    UnusableBundle,
)
from unetr_app.inference.allocator import return_freed_memory
from unetr_app.inference.backends.trial import TORCH
from unetr_app.inference.carries import Carries
from unetr_app.inference.cells import cells_of
from unetr_app.inference.homecoming import Homecoming
from unetr_app.inference.labelling import Labelling, ready_for_logits
from unetr_app.inference.lookahead import LookAhead
from unetr_app.inference.memory import is_out_of_memory
from unetr_app.inference.memory_plan import (
    MOST_WAITING,
    MemoryPlan,
    held_bytes,
    measured_growth,
    plan_memory,
)
from unetr_app.inference.networks import Networks
from unetr_app.inference.options import InferenceOptions
from unetr_app.inference.own_steps import labels_of_all, logits_of_all
from unetr_app.inference.prepared import Prepared
from unetr_app.inference.preprocess import preprocess
from unetr_app.inference.reductions import EntropyFile, ProbabilityFile, Reduction
from unetr_app.inference.region import find_region
from unetr_app.inference.streaming import plan_windows, reduce_streaming
from unetr_app.inference.watched import Progress, ShouldStop, watched
from unetr_app.inference.way_home import Step, WayHome, find_way_home
from unetr_app.inference.window_logits import WindowLogits
from unetr_app.inference.window_plan import WindowPlan
from unetr_app.labels import LabelSet
from unetr_app.version import __version__
from unetr_app.volume import Segmentation, Volume

MAPS: dict[str, Callable[..., Reduction]] = {
    "probabilities": ProbabilityFile,
    "uncertainty": EntropyFile,
}


class Segmenter:
    """Applies one bundle to one volume after another; the model is loaded once.

    Where another library than torch runs the network, the parameters of ``bundle.network`` are
    released: they would be held twice.

    Args:
        bundle: An opened bundle.
        options: What the user decides beside it.

    Example:
        >>> segmenter = Segmenter.open("hippocampus_mr_unetr_segmentation")  # doctest: +SKIP
        >>> segmenter.segment(read_volume("t1_crop.nii.gz")).label_map       # doctest: +SKIP
    """

    def __init__(self, bundle: Bundle, options: InferenceOptions | None = None):
        return_freed_memory()
        self.bundle = bundle
        self.options = options or InferenceOptions()
        self._networks = Networks(bundle, self.options)
        self._preprocessing = threading.Lock()  # a bundle's own transforms may keep a state
        self._windows = WindowLogits(self._networks.open, bundle.device, skip=self.options.skip)
        card = bundle.card
        self._provenance = {
            "bundle": card.name,
            "bundle_version": card.version,
            "weights_hash": "+".join(self._networks.hashes),
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
        ask_trust: bool = False,
    ) -> Segmenter:
        """Open a bundle by name or folder.

        Args:
            bundle: Name of a bundle that ships with the package, or a folder.
            device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
            options: What the user decides beside it.
            ask_trust: As of `unetr_app.bundle.open_bundle`.

        Raises:
            InvalidRequest: If there is no such bundle or device, or it is not trusted.
            UnusableBundle: If it cannot be built, or its weights are missing or unfit.
        """
        chosen = next(iter(options.weights), None) if options else None
        opened = open_bundle(bundle, device=device, ask_trust=ask_trust, weights=chosen)
        segmenter = cls(opened, options)
        segmenter._networks.is_shared = False
        return segmenter

    @property
    def card(self) -> BundleCard:
        """What the bundle says about itself."""
        return self.bundle.card

    @property
    def backend_name(self) -> str:
        """What runs the network; empty before it does."""
        return self._networks.chosen

    @property
    def backend_notes(self) -> tuple[str, ...]:
        """Why no other backend does."""
        return self._networks.notes

    def prepare(self, volume: Volume) -> Prepared:
        """The part of `segment` before the network; another thread may do it ahead.

        Args:
            volume: (C, I, J, K); as many channels as the bundle takes, or of which its
                preprocessing makes as many, such as windows of one CT.

        Raises:
            InvalidRequest: If the number of channels is not the bundle's.
            UnusableBundle: If the bundle's own steps fail.
        """
        wanted, given = len(self.card.channels), len(volume.data)
        refused = given != wanted and InvalidRequest(
            f"the image has {given} channels; {self.card.name} takes {wanted} "
            f"({', '.join(self.card.channels)})"
        )
        try:
            with self._preprocessing:
                prepared = self._prepared(volume)
        except UnetrError:
            raise
        except Exception as error:  # what a bundle names may raise anything
            raise (refused or self._explained(error, volume)) from error
        if wanted and refused and len(prepared.data[self.bundle.image_key]) != wanted:
            raise refused
        return prepared

    def segment(
        self,
        volume: Volume | Prepared,
        *,
        maps: Mapping[str, Path] | None = None,
        on_plan: Callable[[MemoryPlan], None] | None = None,
        progress: Progress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Segmentation:
        """Segment one volume.

        Args:
            volume: (C, I, J, K); as many channels as the bundle takes, or of which its
                preprocessing makes as many. Or what `prepare` made.
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
            UnwritableOutput: If sums that wait, or maps, find no room on a disk.
        """
        prepared = volume if isinstance(volume, Prepared) else self.prepare(volume)
        volume, data = prepared.volume, prepared.data
        try:
            image = _placed(data[self.bundle.image_key])
            found = self._plan(image, prepared.steps)
            if isinstance(found, str):
                self._require_plain(maps, found)
                network = self._networks.with_weights(0)
                logits = logits_of_all(self.bundle, network, image, progress, should_stop)
                labels = labels_of_all(self.bundle, data, logits, volume.geometry)
            else:
                data.clear()  # whatever else was made is not needed any more
                whole = image.as_tensor().float()
                del image
                labels = self._stream(
                    *found, whole, maps or {}, on_plan, progress, should_stop, prepared.peak_bytes
                )
        except UnetrError:
            raise
        except Exception as error:  # what a bundle names may raise anything
            raise self._explained(error, volume) from error
        said = {"backend": self.backend_name} if self.backend_name else {}
        table = self._named(labels)
        return Segmentation(labels, volume.geometry, table, self._provenance | said)

    def _named(self, labels: NDArray[Any]) -> LabelSet:
        """The label table; what a bundle's own steps made beside it goes by its number."""
        table = self.card.labels
        if labels.ndim != 3 or self.card.has_label_table:
            return table
        return table.completed(np.unique(labels).tolist())

    def _prepared(self, volume: Volume) -> Prepared:
        """Preprocessed; where memory is limited, with what that took."""
        if self.options.memory_limit is None:
            return Prepared(volume, *preprocess(self.bundle, volume))
        found: list[Prepared] = []
        grown = measured_growth(
            lambda: found.append(Prepared(volume, *preprocess(self.bundle, volume)))
        )
        return replace(found[0], peak_bytes=held_bytes() + grown)

    def _plan(self, image: MetaTensor, steps: Sequence[Step]) -> tuple[WindowPlan, WayHome] | str:
        """Where windows lie and how their logits go home; or why that cannot be streamed."""
        how = self.bundle.restoration
        if how.kind == "other":
            return how.reason
        if image.ndim != 4:
            return f"its preprocessing gives an image of {image.ndim - 1} dimensions"
        i, j, k = (int(n) for n in image.shape[1:])
        plan = plan_windows(self.bundle.inferer, (i, j, k), self.options)
        if plan is None:
            return f"{type(self.bundle.inferer).__name__} is not followed window by window"
        nearest = how.discrete_first and how.restores and self.options.restore != "logits"
        try:
            return plan, find_way_home(steps, nearest=nearest)
        except UnusableBundle as error:
            return f"{error.what}, which is not followed window by window"

    def _check_outputs(self, channels: int) -> None:
        """Refuse names for more channels than the network gives: they may be anyone's."""
        card, kind = self.card, self.bundle.restoration.kind
        named = 1 + max((number for number, _ in card.outputs), default=-1)
        if named > channels + (kind == "overlapping") and not card.has_label_table:
            raise UnusableBundle(
                f"the network of {card.name} gives {channels} channels, and its metadata.json "
                f"names {named}",
                cure="Mend channel_def of network_data_format.outputs.",
            )

    def _require_plain(self, maps: Mapping[str, Path] | None, reason: str) -> None:
        """Refuse what an inferer that we do not know cannot be asked for."""
        asked = [*(maps or {}), *self.options.parameters]
        if self.options.backend not in ("auto", TORCH):
            asked.append(f"backend {self.options.backend}")
        if self.options.memory_limit is not None:
            asked.append("memory_limit")
        if asked:
            raise InvalidRequest(
                f"the steps of {self.card.name} run as they are: no {', '.join(asked)}",
                cure=f"Leave it out: {reason}." if reason else "Leave it out.",
            )

    @torch.inference_mode()
    def _stream(
        self, plan: WindowPlan, way: WayHome, image: Tensor, maps: Mapping[str, Path],
        on_plan: Callable[[MemoryPlan], None] | None, progress: Progress | None,
        should_stop: ShouldStop | None, preparing: int,
    ) -> np.ndarray:  # fmt: skip
        """(C, i, j, k) on the model grid to labels on the native grid, block by block."""
        how = self.bundle.restoration
        if self.options.restore == "logits":
            how = ready_for_logits(how)
        if self.options.localise:
            region = find_region(
                plan, image,
                lambda rough, coarse: watched(
                    self._windows.of(rough, coarse), rough.count, None, should_stop
                ),
                self._has_labels,
            )  # fmt: skip
            way, image = way.within(region.start, region.shape), region.of(image)
            plan = replace(plan, shape=region.shape)
        channels, network = self._windows.probe(plan, len(image))
        self._check_outputs(channels)
        native = way.native
        labelling = Labelling(how, way, plan.order, result_key=self.bundle.result_key)
        cells = cells_of(plan, MOST_WAITING / (4 * channels))
        streams = self._windows.streams(plan, len(image))
        alone = streams == 1 and self.bundle.device.type == "cpu"  # torch needs all of it itself
        ahead = 0 if alone else streams
        foreseen = partial(
            plan_memory, cells, channels, native.shape, limit=self.options.memory_limit,
            results=labelling.bytes_needed(channels), preparing=preparing,
        )  # fmt: skip
        memory = foreseen(network, ahead=ahead)
        if memory.lacks_room and ahead:
            ahead = 0  # slower, and smaller
            memory = foreseen(network // streams)
        if on_plan is not None:
            on_plan(memory)
        memory.require_room()
        activated = labelling.activation is not None
        kept = [
            MAPS[name](path, native.shape, exclusive=labelling.exclusive, activated=activated)
            for name, path in maps.items()
        ]
        routes = [labelling.route, (Homecoming(way, plan.order), kept)]
        coming = LookAhead(cells.windows, self._windows.of(plan, image), ahead)
        with coming, Carries(memory.kept) as carries:
            logits_of = watched(coming, plan.count, progress, should_stop)
            reduce_streaming(cells, logits_of, routes if kept else routes[:1],
                             labelling.activation, carries)  # fmt: skip
        return labelling.finish(self.card.labels)

    def _has_labels(self, logits: Tensor) -> Tensor:
        """(L, ...) to (...): is there anything but background?"""
        how = self.bundle.restoration
        if how.kind == "exclusive":
            return logits.argmax(dim=0) > 0
        found = logits >= how.threshold
        if 0 in how.values:  # a mask of the background
            found = found[[n for n, value in enumerate(how.values) if value]]
        return found.any(dim=0)

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


def _placed(image: Any) -> MetaTensor:
    """The image, if it says where its voxels lie."""
    if not isinstance(image, MetaTensor):
        raise UnusableBundle(
            f"the preprocessing ends in {type(image).__name__}, which does not say where its "
            "voxels lie",
            cure="Leave out ToTensord and ToNumpyd, or use EnsureTyped.",
        )
    return image
