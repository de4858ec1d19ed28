"""The OpenVINO backend: OpenVINO's own form of a network on the CPU."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

from unetr_app.inference.backends.backend import Library, Runner
from unetr_app.inference.backends.conversion import Conversion
from unetr_app.io.mapped_file import give_back

_FILE = "network.xml"


def convert_to_openvino(conversion: Conversion, folder: Path) -> None:
    """Write OpenVINO's two files."""
    conversion.write_openvino(folder / _FILE)


def load_openvino(folder: Path, threads: int, streams: int = 1) -> Runner:
    """What runs OpenVINO's files of a folder."""
    return run_openvino(folder / _FILE, threads, streams)


def run_openvino(path: Path, threads: int, streams: int = 1) -> Runner:
    """What runs a network in OpenVINO's form, with one input and one output, in full precision.

    Args:
        path: The ``.xml`` file; the ``.bin`` file lies beside it.
        threads: Of all windows that are computed at a time. They are not bound to cores, because
            processes side by side would be bound to the same ones.
        streams: Windows that are computed at a time.
    """
    import openvino

    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": streams,
        "ENABLE_CPU_PINNING": False,
    }
    core: Any = openvino.Core()
    compiled: Any = core.compile_model(core.read_model(str(path)), "CPU", options)
    shape = tuple(compiled.output(0).shape)
    free: SimpleQueue[Any] = SimpleQueue()
    for _ in range(streams):
        free.put(compiled.create_infer_request())
    give_back(path.with_suffix(".bin"))

    def run(window: Tensor) -> Tensor:
        logits = torch.empty(shape)
        request = free.get()
        try:
            request.set_output_tensor(openvino.Tensor(logits.numpy(), shared_memory=True))
            request.infer({0: window.numpy()}, share_inputs=True, share_outputs=True)
        finally:
            free.put(request)
        return logits

    return run


OPENVINO = Library("openvino", "openvino", convert_to_openvino, load_openvino)
