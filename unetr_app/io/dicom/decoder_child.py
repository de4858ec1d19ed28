"""A process that decodes one compressed frame after another, so that a bad one ends only itself.

Run as a file by `unetr_app.io.dicom.decoding`; imports nothing of the package. It sees the packed
pixels alone: no path, no header of a patient. A request is a line of JSON, then the packed bytes;
so is the answer, with the pixels.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
# (the library states few types)

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import warnings
from typing import Any, BinaryIO

DECODER_DEPENDENCIES: dict[str, tuple[str, ...]] = {
    f"1.2.840.10008.1.2.4.{n}": ("pylibjpeg-openjpeg",) for n in (90, 91, 201, 202, 203)
}
"""What `openjpeg_frame` decodes, in the form that pydicom asks of a plugin."""

_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"


def is_available(uid: str) -> bool:
    """Can `openjpeg_frame` decode a transfer syntax here (pydicom's form)?"""
    return uid in DECODER_DEPENDENCIES and importlib.util.find_spec("openjpeg") is not None


def openjpeg_frame(source: bytes, runner: Any) -> bytearray:
    """JPEG 2000 (ISO 15444-1) and its high-throughput form (15444-15) by OpenJPEG itself."""
    from openjpeg.utils import decode_pixel_data, get_parameters

    bits = int(get_parameters(source)["precision"])
    allocated = 8 if bits <= 8 else 16 if bits <= 16 else 32
    runner.set_option("bits_allocated", allocated)
    frame = decode_pixel_data(source, version=2)
    assert isinstance(frame, bytearray)
    return frame


def gdcm_extended(source: bytes, options: dict[str, Any]) -> Any:
    """JPEG Extended of 12 bits (process 4) by GDCM, which pydicom does not ask for it."""
    import gdcm
    import numpy as np

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(source)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    rows, columns = int(options["rows"]), int(options["columns"])
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(options["photometric_interpretation"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    syntax = gdcm.TransferSyntax.GetTSType(_JPEG_EXTENDED)
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits, sign = int(options["bits_stored"]), int(options["pixel_representation"])
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, sign))
    pixels = image.GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(pixels, "<i2" if sign else "<u2").reshape(rows, columns)


def decode(source: bytes, options: dict[str, Any]) -> Any:
    """The pixels of one packed frame.

    Args:
        source: The frame without its encapsulation (DICOM PS3.5 A.4).
        options: pydicom's options for it; ``transfer_syntax_uid`` is one.

    Returns:
        (rows, columns) array of whole numbers.
    """
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder  # pyright: ignore[reportPrivateImportUsage]
    from pydicom.uid import UID

    uid = UID(options["transfer_syntax_uid"])
    if uid == _JPEG_EXTENDED and int(options["bits_stored"]) > 8:
        return gdcm_extended(source, options)
    decoder = get_decoder(uid)
    if is_available(uid) and "openjpeg" not in decoder.available_plugins:
        decoder.add_plugin("openjpeg", (__name__, "openjpeg_frame"))
    settings: dict[str, Any] = {**options, "transfer_syntax_uid": uid, "number_of_frames": 1}
    pixels, _ = decoder.as_array(
        encapsulate([source]), index=0, validate=True, raw=False, **settings
    )
    return pixels


def _limit(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the time limit alone
        return
    for what, most in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0)):
        try:
            hard = resource.getrlimit(what)[1]
            if hard != resource.RLIM_INFINITY:
                most = min(most, hard)
            resource.setrlimit(what, (most, most))
        except (OSError, ValueError):  # macOS refuses some
            continue


def _alarm(seconds: float) -> None:
    """Let the system end this process if its parent cannot."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _answer(out: BinaryIO, reply: dict[str, Any], content: bytes = b"") -> None:
    out.write(json.dumps(reply).encode() + b"\n")
    out.write(content)
    out.flush()


def _serve(requests: BinaryIO, out: BinaryIO, seconds: float) -> None:
    import numpy as np

    while line := requests.readline():
        request = json.loads(line)
        source = requests.read(request["length"])
        _alarm(seconds)
        try:
            pixels = np.ascontiguousarray(decode(source, request["options"]))
            reply = {"shape": list(pixels.shape), "dtype": pixels.dtype.str, "bytes": pixels.nbytes}
            content = pixels.tobytes()
        except MemoryError:
            reply, content = {"error": "memory"}, b""
        except Exception:  # whatever a decoder raises, the next frame may be sound
            reply, content = {"error": "damaged"}, b""
        _alarm(0)
        _answer(out, reply, content)


def main() -> None:
    """Serve until standard input ends; arguments are bytes of memory and seconds a frame."""
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # decoders that print do not spoil answers
    _limit(int(sys.argv[1]))
    _serve(sys.stdin.buffer, out, float(sys.argv[2]))


if __name__ == "__main__":
    main()
