"""The ONNX Runtime backend: an ONNX file on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unetr_app.inference.backends.backend import Library, Runner
from unetr_app.inference.backends.conversion import Conversion

_FILE = "network.onnx"


def convert_to_onnx(conversion: Conversion, folder: Path) -> None:
    """Write the ONNX file, ``network.onnx``."""
    conversion.write_onnx(folder)


def load_onnx(folder: Path, threads: int, streams: int = 1) -> Runner:
    """What runs the ONNX file of a folder."""
    return run_onnx(folder / _FILE, threads, streams)


def run_onnx(path: Path, threads: int, streams: int = 1) -> Runner:
    """What runs an ONNX file with one input and one output.

    Args:
        path: The file; not needed afterwards.
        threads: Of all windows that are computed at a time.
        streams: How many these are.
    """
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 + threads - streams  # those who ask work too
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it grows with the second window, and keeps it all
    options.log_severity_level = 3  # errors; it warns of what its optimiser leaves out
    session: Any = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def run(window: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: window.numpy()})[0])

    return run


ONNXRUNTIME = Library("onnxruntime", "onnx", convert_to_onnx, load_onnx)
