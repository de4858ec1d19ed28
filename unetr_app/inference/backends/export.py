"""Export: a bundle's network as a file for other programs, read back before it is trusted."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from unetr_app.errors import InvalidRequest, UnusableBundle, UnwritableOutput
from unetr_app.inference.backends.backend import Library, Runner, WindowShape, first_sentence
from unetr_app.inference.backends.conversion import INPUT, OUTPUT, Conversion
from unetr_app.inference.backends.onnx_backend import ONNXRUNTIME, run_onnx
from unetr_app.inference.backends.openvino_backend import OPENVINO, run_openvino
from unetr_app.inference.backends.parity import Parity, compare, sample_windows
from unetr_app.inference.backends.torch_backend import torch_runner
from unetr_app.io.atomic import replacing

ENDINGS = {"onnx": (".onnx",), "openvino": (".xml",), "torchscript": (".ts", ".pt")}
_NEEDS: dict[str, Library] = {"onnx": ONNXRUNTIME, "openvino": OPENVINO}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        files: The file that was asked for, and those that belong to it.
        input_name: Of a window, float32.
        input_shape: (1, C, d, h, w).
        output_name: Of the logits, float32.
        output_shape: (1, L, d, h, w).
        any_size: Does it take windows of other shapes too?
        parity: How its logits compare with those of torch.
    """

    files: tuple[Path, ...]
    input_name: str
    input_shape: WindowShape
    output_name: str
    output_shape: WindowShape
    any_size: bool
    parity: Parity


def check_export(to: str, path: Path, *, overwrite: bool) -> None:
    """Refuse what cannot come to a good end, before anything is begun.

    Raises:
        InvalidRequest: If the form, the ending or the file is not acceptable, or a library that
            reads the file back is not installed.
    """
    if to not in ENDINGS:
        raise InvalidRequest(f"there is no form {to!r}", cure=f"There are: {', '.join(ENDINGS)}.")
    if path.suffix not in ENDINGS[to]:
        raise InvalidRequest(
            f"a file of {to} ends in {' or '.join(ENDINGS[to])}, not in {path.suffix!r}", path=path
        )
    there = [file for file in (path, _weights_beside(path)) if file.exists()]
    if there and not overwrite:
        raise InvalidRequest("the file is there already", cure="Add --overwrite.", path=there[0])
    if to in _NEEDS:
        try:
            _NEEDS[to].require()
        except InvalidRequest as error:
            cure = f'Install it: pip install "unetr-app[{_NEEDS[to].extra}]".'
            raise InvalidRequest(error.what, cure=cure) from error


@torch.inference_mode()
def export_network(
    network: nn.Module, to: str, path: Path, *, window: WindowShape, overwrite: bool = False
) -> Exported:
    """Write a network, read it back, and compare it with torch; then it appears under its name.

    Args:
        network: In evaluation mode, on the CPU.
        to: A key of `ENDINGS`.
        path: The file. Weights that form a second file come to lie beside it.
        window: (1, C, d, h, w).
        overwrite: May it replace a file that is there?

    Raises:
        InvalidRequest: See `check_export`.
        UnusableBundle: If the network cannot be converted, or the file differs from it.
        UnwritableOutput: If the operating system refuses.
    """
    check_export(to, path, overwrite=overwrite)
    path = path.absolute()
    samples = sample_windows(window)
    run = torch_runner(network, torch.device("cpu"))
    try:
        wanted = [run(sample) for sample in samples]
    except RuntimeError as error:  # torch tells of shapes that do not fit
        size = " x ".join(map(str, window[2:]))
        raise UnusableBundle(
            f"the network takes no windows of {size} voxels: {first_sentence(error)}",
            cure="Take --roi-size from the bundle's inferer, or a multiple of what it halves.",
        ) from error
    with _folder_beside(path) as work:
        made = Path(work) / "made"
        made.mkdir()
        conversion = Conversion(network, samples[0], Path(work), path.name)
        any_size = _write(conversion, to, made / path.name)
        parity = _worst(_reader(to, made / path.name), samples, wanted)
        if not parity.holds:
            raise UnusableBundle(
                f"the network does not survive as {to}: {parity}", cure="Try another --to."
            )
        files = _move(made, path)
    shape = tuple(wanted[0].shape)
    names = ("", "") if to == "torchscript" else (INPUT, OUTPUT)
    return Exported(files, names[0], window, names[1], shape, any_size, parity)


def _write(conversion: Conversion, to: str, path: Path) -> bool:
    """Write the file; does it take windows of any size?"""
    if to == "torchscript":
        return conversion.write_torchscript(path)
    if to == "openvino":
        conversion.write_openvino(path)
    else:
        conversion.write_onnx(path.parent)
    return False


def _reader(to: str, path: Path) -> Runner:
    """What runs the file, by the library that it is for."""
    if to == "torchscript":
        return torch_runner(torch.jit.load(path), torch.device("cpu"))
    return {"onnx": run_onnx, "openvino": run_openvino}[to](path, torch.get_num_threads())


def _worst(run: Runner, samples: tuple[Tensor, ...], wanted: list[Tensor]) -> Parity:
    found = [compare(run(s), w) for s, w in zip(samples, wanted, strict=True)]
    return Parity(max(p.difference for p in found), min(p.agreement for p in found))


def _folder_beside(path: Path) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder on the disk that the file comes to lie on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(
            prefix=".unetr-export-", dir=path.parent, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise UnwritableOutput(
            f"could not be written: {error.strerror or 'the operating system refused'}",
            cure="Choose a folder that you may write to.",
            path=path,
        ) from error


def _weights_beside(path: Path) -> Path:
    """The second file that a form may have; the file itself where it has none."""
    if path.suffix == ".onnx":
        return path.with_name(f"{path.name}.data")
    return path.with_suffix(".bin") if path.suffix == ".xml" else path


def _move(made: Path, path: Path) -> tuple[Path, ...]:
    """The files that were made to where they belong, the one that was asked for last."""
    others = sorted(file for file in made.iterdir() if file.name != path.name)
    final: list[Path] = []
    for file in (*others, made / path.name):
        final.append(path.with_name(file.name))
        with replacing(final[-1]) as part:
            shutil.copyfile(file, part)
    return tuple(reversed(final))
