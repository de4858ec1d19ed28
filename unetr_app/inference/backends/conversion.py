"""Conversion: a network to an ONNX file, to OpenVINO's form, to TorchScript."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unetr_app.errors import Cancelled, UnusableBundle
from unetr_app.inference.backends.backend import explaining

INPUT, OUTPUT = "image", "logits"
_OPSET = 18
_NOT_OURS = (Cancelled, MemoryError, torch.OutOfMemoryError)  # to tell of
_MOST_IN_ONE_FILE = 2_000_000_000  # bytes of weights; ONNX's own limit is 2 GiB


class Conversion:
    """Converts one network for windows of one shape; the ONNX form is made once.

    Args:
        network: In evaluation mode, on the CPU.
        window: (1, C, d, h, w) float32 that the network is tried on.
        folder: For files in between.
        onnx_name: Of the ONNX file; a second file with weights is named after it.
    """

    def __init__(
        self, network: nn.Module, window: Tensor, folder: Path, onnx_name: str = "network.onnx"
    ):
        self._network = network
        self._window = window
        self._onnx = folder / "onnx" / onnx_name
        self._tried = False
        self._failure: UnusableBundle | None = None

    def write_onnx(self, folder: Path) -> None:
        """Write an ONNX file; weights over 2 GB go to a second one, ``<name>.data``.

        Raises:
            UnusableBundle: If the network cannot be said in ONNX.
        """
        for file in self._make_onnx().parent.iterdir():
            shutil.copyfile(file, folder / file.name)

    def write_openvino(self, path: Path) -> None:
        """Write ``path`` (.xml), and beside it the weights (.bin), in full precision.

        Raises:
            UnusableBundle: If OpenVINO cannot read the network's ONNX form.
        """
        import openvino

        made = self._make_onnx()
        with explaining("the network cannot be converted to OpenVINO's form"):
            core: Any = openvino.Core()
            openvino.save_model(core.read_model(str(made)), str(path), compress_to_fp16=False)

    def write_torchscript(self, path: Path) -> bool:
        """Write a TorchScript file.

        Returns:
            Does it take windows of any size that the network takes? Else of this one shape.

        Raises:
            UnusableBundle: If the network can neither be compiled nor traced.
        """
        with explaining("the network cannot be converted to TorchScript"), _plain_torch():
            any_size, script = True, _scripted(self._network)
            if script is None:
                any_size = False
                script = torch.jit.trace(self._network, self._window, check_trace=False)
            torch.jit.save(script, path)
        return any_size

    def _make_onnx(self) -> Path:
        """The ONNX file, alone in a folder but for its weights."""
        if not self._tried:
            self._onnx.parent.mkdir(exist_ok=True)
            try:
                with explaining("the network cannot be converted to ONNX"), _plain_torch():
                    export = _export_by_graph if _is_large(self._network) else _export
                    export(self._network, self._window, self._onnx)
            except UnusableBundle as error:
                self._failure = error
            self._tried = True
        if self._failure is not None:
            raise self._failure
        return self._onnx


def _export(network: nn.Module, window: Tensor, path: Path) -> None:
    """By torch's older exporter, many times faster; by the newer one where that fails."""
    try:
        torch.onnx.export(
            network, (window,), path, input_names=[INPUT], output_names=[OUTPUT],
            opset_version=_OPSET, dynamo=False,
        )  # fmt: skip
    except _NOT_OURS:
        raise
    except Exception as first:  # of many types
        try:
            _export_by_graph(network, window, path)
        except _NOT_OURS:
            raise
        except Exception as second:
            raise first from second  # the first one says what it is about


def _export_by_graph(network: nn.Module, window: Tensor, path: Path) -> None:
    """By torch's newer exporter; weights go to a second file where they are many."""
    torch.onnx.export(
        network, (window,), path, input_names=[INPUT], output_names=[OUTPUT],
        opset_version=_OPSET, dynamo=True, external_data=_is_large(network), verbose=False,
    )  # fmt: skip


def _is_large(network: nn.Module) -> bool:
    return sum(p.numel() * p.element_size() for p in network.parameters()) > _MOST_IN_ONE_FILE


def _scripted(network: nn.Module) -> Any:
    try:
        return torch.jit.script(network)
    except _NOT_OURS:
        raise
    except Exception:  # of many types, InvalidRequest of an encoder among them
        return None


@contextmanager
def _plain_torch() -> Generator[None]:
    """Neither gradients nor inference tensors, nor what torch's exporters say of themselves.

    When torch 2.13's older exporter fails, it prints the whole graph whether asked to or not.
    """
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    inside: Any = torch._C
    printer = getattr(inside, "_jit_onnx_log", None)
    logger.setLevel(logging.ERROR)
    inside._jit_onnx_log = lambda *_: None
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        inside._jit_onnx_log = printer
