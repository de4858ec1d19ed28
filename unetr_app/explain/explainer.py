"""Explainer: an encoder, and how images become its input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unetr_app.bundle import Bundle, root_cause
from unetr_app.errors import DeviceMemory, InvalidRequest, UnetrError, UnusableBundle
from unetr_app.explain.window import Window, window_at, windows_over
from unetr_app.inference.memory import is_out_of_memory
from unetr_app.inference.preprocess import preprocess
from unetr_app.inference.restore import model_geometry
from unetr_app.volume import Volume

_LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
class Explainer:
    """An encoder that can be looked into.

    Args:
        name: What it is called in results.
        encoder: Keeps the encoders' contract, in three dimensions; on ``device``.
        roi_size: Input shape in voxels that it is looked at with.
        in_channels: Channels of its input.
        prepare: From an image as it was read to the model grid.
        device: Where it runs.
    """

    name: str
    encoder: nn.Module
    roi_size: tuple[int, int, int]
    in_channels: int
    prepare: Callable[[Volume], Volume]
    device: torch.device

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Explainer:
        """The encoder of an opened bundle, with the bundle's preprocessing and roi_size.

        Raises:
            UnusableBundle: If its network has no encoder that keeps the contract.
        """
        encoder: Any = getattr(bundle.network, "encoder", None)
        if not isinstance(encoder, nn.Module) or not keeps_contract(encoder):
            raise UnusableBundle(
                f"the network of {bundle.card.name} has no encoder with channels and strides",
                cure="Only networks of unetr_app.networks.build_network can be looked into.",
            )
        return cls(
            bundle.card.name,
            encoder,
            _roi_size(bundle),
            len(bundle.card.channels) or 1,
            lambda volume: _on_model_grid(bundle, volume),
            bundle.device,
        )

    @classmethod
    def of_encoder(
        cls,
        encoder: nn.Module,
        *,
        name: str,
        roi_size: Sequence[int],
        in_channels: int = 1,
        like: Bundle | None = None,
        device: str = "cpu",
    ) -> Explainer:
        """Any encoder; images are normalised as a bundle says, else to mean 0 and deviation 1.

        Args:
            encoder: Keeps the encoders' contract, in three dimensions.
            name: What it is called in results.
            roi_size: Input shape in voxels.
            in_channels: Channels of its input.
            like: Whose preprocessing is used; where absent, images are turned to RAS+ and keep
                their spacing.
            device: Where it shall run.

        Raises:
            InvalidRequest: If it does not keep the contract, or is not for volumes.
        """
        if not keeps_contract(encoder):
            raise InvalidRequest(f"{name} has no channels and strides for three axes")
        i, j, k = roi_size
        prepare = plain_preparation if like is None else lambda v: _on_model_grid(like, v)
        on = torch.device(device)
        return cls(name, encoder.to(on), (i, j, k), in_channels, prepare, on)

    def window(self, image: Volume, middle: Sequence[int] | None = None) -> Window:
        """The window round a voxel of a prepared image; round its middle where absent."""
        return window_at(image, self.roi_size, middle)

    def windows(self, image: Volume) -> Iterator[Window]:
        """Windows side by side that cover a prepared image."""
        return windows_over(image, self.roi_size)

    def tensor(self, window: Window) -> Tensor:
        """(1, C, i, j, k) on the device."""
        return torch.from_numpy(window.data)[None].to(self.device)

    def noise(self, count: int, *, seed: int = 0) -> Iterator[Tensor]:
        """Inputs of normally distributed noise, (1, C, i, j, k) each."""
        random = torch.Generator().manual_seed(seed)
        shape = (1, self.in_channels, *self.roi_size)
        for _ in range(count):
            yield torch.randn(shape, generator=random).to(self.device)

    def explained(self, error: Exception) -> UnetrError:
        """Our error for one that came out of torch, or of the encoder itself."""
        if isinstance(error, UnetrError):
            return error
        cause = root_cause(error)
        if is_out_of_memory(error):
            return DeviceMemory(
                f"{self.device} ran out of memory with an input of {self.roi_size} voxels",
                cure="Choose a smaller --roi-size, or a machine with more memory.",
            )
        return InvalidRequest(f"{self.name} failed on an input of {self.roi_size} voxels: {cause}")


def build_seeded(build: Callable[[], nn.Module], *, seed: int) -> nn.Module:
    """Build a module whose random weights depend on the seed alone; torch's own state stays.

    Args:
        build: Builds it.
        seed: Any number.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def keeps_contract(encoder: nn.Module) -> bool:
    """Does it publish ``channels`` and ``strides`` for three axes?"""
    channels: Any = getattr(encoder, "channels", ())
    strides: Any = getattr(encoder, "strides", ())
    return bool(channels) and len(channels) == len(strides) and all(len(s) == 3 for s in strides)


def plain_preparation(volume: Volume) -> Volume:
    """Axes to RAS+, each channel to mean 0 and standard deviation 1; the spacing stays."""
    image = volume.reorient("RAS")
    axes = (1, 2, 3)
    mean = image.data.mean(axis=axes, keepdims=True, dtype=np.float64)
    deviation = image.data.std(axis=axes, keepdims=True, dtype=np.float64)
    data = (image.data - mean) / np.maximum(deviation, _LEAST_DEVIATION)
    return Volume(
        data.astype(np.float32), image.geometry, image.channel_names, image.modality,
        image.source, image.warnings,
    )  # fmt: skip


def _on_model_grid(bundle: Bundle, volume: Volume) -> Volume:
    card = bundle.card
    if card.channels and len(volume.data) != len(card.channels):
        raise InvalidRequest(
            f"the image has {len(volume.data)} channels; {card.name} takes {len(card.channels)}"
        )
    try:
        image = preprocess(bundle, volume)[0]["image"]
        data = image.as_tensor().float().cpu().numpy()
        unlike = card.training_range.check(volume, force=True) if card.training_range else []
        return Volume(
            data, model_geometry(image), modality=volume.modality, source=volume.source,
            warnings=(*volume.warnings, *unlike),
        )  # fmt: skip
    except UnetrError:
        raise
    except Exception as error:  # what a bundle names may raise anything
        raise UnusableBundle(
            f"the preprocessing of {card.name} failed on a volume of {volume.geometry.shape}: "
            f"{root_cause(error)}"
        ) from error


def _roi_size(bundle: Bundle) -> tuple[int, int, int]:
    """The inferer's window, or what the metadata say."""
    for said in (getattr(bundle.inferer, "roi_size", None), bundle.card.roi_size):
        size = [said] * 3 if isinstance(said, int) else list(said or ())
        if len(size) == 3 and all(isinstance(n, int) and n > 0 for n in size):
            i, j, k = size
            return i, j, k
    raise UnusableBundle(f"{bundle.card.name} does not say its roi_size for three axes")
