"""Networks: a bundle's network with each of the weights, and the library that runs it fastest."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from unetr_app.bundle import Bundle
from unetr_app.bundle.trust import folder_hash
from unetr_app.bundle.weights import is_released, load_state, release_weights
from unetr_app.checksum import sha256_of
from unetr_app.errors import UnusableWeights
from unetr_app.inference.backends import Backend, open_backend
from unetr_app.inference.backends.trial import TORCH
from unetr_app.inference.memory_plan import held_bytes
from unetr_app.inference.options import InferenceOptions


class Networks:
    """The network of a bundle once for each of the weights: the bundle's own, or those named.

    Where another library than torch runs a network that nobody else uses, its parameters are
    released: they would be held twice. They are read again where they are needed.

    Args:
        bundle: An opened bundle.
        options: What the user decides beside it.

    Attributes:
        is_shared: May others use ``bundle.network`` as well? If not, it holds the first weights.
        hashes: SHA-256 of each of the weights.
        chosen: What runs the network, once it was opened.
        notes: What was seen on the way to that choice.
    """

    def __init__(self, bundle: Bundle, options: InferenceOptions):
        self._bundle, self._options = bundle, options
        self.is_shared = True
        self.hashes = [sha256_of(path) for path in options.weights] or [bundle.card.weights_hash]
        self.chosen = ""
        self.notes: tuple[str, ...] = ()

    def open(self, window: tuple[int, ...], number: int) -> Backend:
        """What runs windows of one shape with one of the weights.

        Args:
            window: (1, C, i, j, k).
            number: Of the weights.

        Raises:
            InvalidRequest: If the backend that the options name cannot be used.
            UnusableWeights: If the weights cannot be read any more.
        """
        bundle, weights, limit = self._bundle, self.hashes[number], self._options.memory_limit
        network = self.with_weights(number)
        backend = open_backend(
            self._options.backend, network, window=window, device=bundle.device,
            weights_hash=weights and f"{weights}{folder_hash(bundle.card.path)}",
            room=None if limit is None else limit - held_bytes(),
            labels=bundle.card.output_count or len(bundle.card.outputs),
        )  # fmt: skip
        self.chosen, self.notes = backend.name, backend.notes
        owned = not self.is_shared and network is bundle.network
        if backend.name != TORCH and weights and owned:
            release_weights(network)  # the library has them, and the file
        return backend

    @torch.inference_mode(False)  # a conversion cannot use tensors of that mode
    def with_weights(self, number: int) -> torch.nn.Module:
        """The network with one of the weights, read again where they were released.

        Raises:
            UnusableWeights: If they have changed, or do not fit.
        """
        bundle, named = self._bundle, self._options.weights
        if named and (number or self.is_shared):
            network = copy.deepcopy(bundle.network)
            load_state(network, Path(named[number]), bundle.card)
            return network
        if is_released(bundle.network):
            path = bundle.card.require_weights()
            if sha256_of(path) != self.hashes[number]:
                raise UnusableWeights(
                    "the weights have changed since the bundle was opened",
                    cure="Run the same command again.",
                    path=path,
                )
            load_state(bundle.network, path, bundle.card)
        return bundle.network
