"""Fit a checkpoint's tensors to an encoder: copied, inflated or resized, each with a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unetr_app.errors import UnetrError, UnusableWeights
from unetr_app.networks.inflation import (
    adapt_channels,
    centre_tap,
    repeat_over_depth,
    resize_kernel,
)
from unetr_app.networks.pretrained.report import LoadReport, Status, TensorRecord, name_some
from unetr_app.networks.pretrained.source import Source

_NEVER_READ = "num_batches_tracked"  # a counter of batches; nothing is computed from it


def fit(
    encoder: nn.Module, source: Source, stored: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, Tensor], LoadReport]:
    """The state dict of an encoder with a checkpoint's tensors in it.

    A module with a method ``adopt(name, tensor)`` is asked what its own parameter becomes; a
    convolution is inflated, its centre tap where it overlaps or pads, spread over depth where it
    does neither; anything else is copied.

    Args:
        encoder: Of the family that the source names; not changed.
        source: The checkpoint under our names.
        stored: The checkpoint under its own, for the shapes of what is left out.

    Returns:
        Tensors for ``load_state_dict``, the encoder's own where the source has none, and the
        report.

    Raises:
        UnusableWeights: If a tensor has a shape that cannot be fitted, or the file holds tensors,
            beside those that are used, of which nobody here knows what they do.
    """
    _require_known(source)
    parameters = dict(encoder.named_parameters())
    filled: dict[str, Tensor] = {}
    records: list[TensorRecord] = []
    misfits: list[str] = []
    for name, own in encoder.state_dict().items():
        shape = tuple(own.shape)
        if name.endswith(_NEVER_READ):
            filled[name] = source.tensors.get(name, own)
            continue
        if name not in source.tensors:
            filled[name] = own
            records.append(TensorRecord(name, "missing", shape, is_parameter=name in parameters))
            continue
        given = source.tensors[name]
        try:
            fitted, status, note = _fitted(encoder, name, given, own, source)
        except (UnetrError, RuntimeError, ValueError, IndexError):
            fitted, status, note = None, "missing", ""
        origin = source.origins.get(name, "")
        if own.is_floating_point() and not given.is_floating_point():
            misfits.append(f"{origin or name} ({str(given.dtype).removeprefix('torch.')} numbers)")
            continue
        if fitted is None or fitted.shape != own.shape:
            held = " x ".join(map(str, given.shape))
            misfits.append(f"{origin or name} ({held}, not {' x '.join(map(str, shape))})")
            continue
        filled[name] = fitted.to(own.dtype)
        records.append(TensorRecord(name, status, shape, origin, note, name in parameters))
    if misfits:
        raise UnusableWeights(
            f"tensors of another shape or type than is needed: {name_some(misfits)}",
            cure="Check config.json and the arguments: they may be of another network.",
        )
    return filled, LoadReport(
        source.layout, source.encoder, (*records, *_left_over(encoder, source, stored or {})), ""
    )


def _fitted(
    encoder: nn.Module, name: str, given: Tensor, own: Tensor, source: Source
) -> tuple[Tensor, Status, str]:
    owner_name, _, leaf = name.rpartition(".")
    owner: Any = encoder.get_submodule(owner_name)
    if not source.origins.get(name):
        made = owner.adopt(leaf, given) if hasattr(owner, "adopt") else given
        return made, "inflated", "zero: the image network has nothing here"
    tensor = given.to(torch.float32) if given.is_floating_point() else given
    note = ""
    status: Status = "loaded"
    if name == source.stem and tensor.shape[1] != own.shape[1]:
        note = f"{tensor.shape[1]} channels to {own.shape[1]}"
        tensor, status = adapt_channels(tensor, own.shape[1]), "inflated"
    if hasattr(owner, "adopt"):
        adopted = owner.adopt(leaf, tensor)
        if adopted.shape != tensor.shape:
            status = "inflated" if adopted.ndim > tensor.ndim else "resized"
            note = f"from {' x '.join(map(str, tensor.shape))}"
        elif not torch.equal(adopted, tensor):
            status, note = "resized", "rearranged"
        tensor = adopted
    elif isinstance(owner, (nn.Conv2d, nn.Conv3d)) and leaf == "weight":
        tensor, how = _fitted_convolution(tensor, owner)
        if how:
            status = "inflated" if own.ndim > given.ndim else "resized"
            note = "; ".join(filter(None, (note, how)))
    return tensor, status, note


def _fitted_convolution(kernel: Tensor, owner: nn.Conv2d | nn.Conv3d) -> tuple[Tensor, str]:
    """A kernel in the shape of the convolution's, and what was done to it."""
    done: list[str] = []
    size = owner.kernel_size
    if kernel.ndim == 2:  # a linear layer over channels
        kernel = kernel[(...,) + (None,) * len(size)]
    apart = tuple(owner.stride) == tuple(size) and not any(_padding(owner))
    plane = tuple(size[-(kernel.ndim - 2) :])
    if apart and tuple(kernel.shape[2:]) != plane:
        done.append(f"patch {' x '.join(map(str, kernel.shape[2:]))} resized")
        kernel = resize_kernel(kernel, plane)
    if kernel.ndim == 4 and len(size) == 3:
        depth = int(size[0])
        done.append("spread over depth" if apart else "centre tap")
        kernel = repeat_over_depth(kernel, depth) if apart else centre_tap(kernel, depth)
    return kernel, "; ".join(done)


def _padding(owner: nn.Conv2d | nn.Conv3d) -> tuple[int, ...]:
    return (1,) if isinstance(owner.padding, str) else tuple(owner.padding)


def _require_known(source: Source) -> None:
    """Refuse tensors among those we use that mean something we do not do."""
    used = {
        name.split(".")[0] for origin in source.origins.values() for name in origin.split(" + ")
    }
    strange = [
        name
        for name, why in source.skipped.items()
        if why == "unknown to this layout" and "." in name and name.split(".")[0] in used
    ]
    if strange:
        raise UnusableWeights(
            f"the file holds tensors that {source.layout} is not known to have: "
            f"{name_some(strange)}",
            cure="It may be a variant that computes something else: leaving them out would give "
            "other features than those it was trained for.",
        )


def _left_over(
    encoder: nn.Module, source: Source, stored: Mapping[str, Tensor]
) -> list[TensorRecord]:
    ours = set(encoder.state_dict())
    unused = [
        TensorRecord(
            source.origins.get(name) or name, "skipped", tuple(tensor.shape), "",
            "this encoder was built without it",
        )
        for name, tensor in source.tensors.items()
        if name not in ours and source.origins.get(name)
    ]  # fmt: skip
    left_out = [
        TensorRecord(name, "skipped", _stored_shape(name, stored), "", why)
        for name, why in source.skipped.items()
    ]
    return unused + left_out


def _stored_shape(name: str, stored: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The shape of a tensor whose name a layout may have freed of a prefix."""
    found = stored.get(name)
    if found is None:
        found = next((t for key, t in stored.items() if key.endswith(f".{name}")), None)
    return () if found is None else tuple(found.shape)
