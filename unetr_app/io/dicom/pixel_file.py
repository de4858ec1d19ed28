"""PixelFile: a DICOM file that is open for the stored pixels of its frames, one at a time."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import struct
import warnings
from types import TracebackType
from typing import Any, Self

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder  # pyright: ignore[reportPrivateImportUsage]
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom import decoder_child
from unetr_app.io.dicom.decoding import decode_frame
from unetr_app.io.dicom.deflated import open_dicom
from unetr_app.io.dicom.slice import PYDICOM_ERRORS
from unetr_app.io.integrity import unreadable

_PLAIN = {"", ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian}
_KEYWORDS = {
    (0x7FE0, 0x0008): "FloatPixelData",
    (0x7FE0, 0x0009): "DoubleFloatPixelData",
    (0x7FE0, 0x0010): "PixelData",
}


def is_packed(syntax: str) -> bool:
    """Are the pixels of a transfer syntax compressed?"""
    return syntax not in _PLAIN


def missing_decoder(syntax: str) -> str:
    """The name of a transfer syntax that cannot be decoded here; empty where it can.

    Args:
        syntax: Transfer Syntax UID.
    """
    if not is_packed(syntax) or decoder_child.is_available(syntax):
        return ""
    uid = UID(syntax)
    try:
        return "" if get_decoder(uid).is_available else uid.name
    except NotImplementedError:
        return uid.name


class PixelFile:
    """A DICOM file, open for the stored pixels of its frames; a context manager.

    Unpacked frames are read from the disk one by one. Of a compressed file the packed bytes are
    held, and each frame is decoded in a child process when it is asked for.

    Args:
        path: The file.

    Raises:
        UnreadableInput: If it cannot be read, or holds no pixels.
    """

    def __init__(self, path: PathLike):
        self.path = path
        self._file = open_dicom(path)
        self._packed: list[bytes] | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.header = pydicom.dcmread(self._file, stop_before_pixels=True, force=True)
                self._options = self._found_options()
        except OSError as error:
            self._file.close()
            raise unreadable(error, path) from error
        except PYDICOM_ERRORS as error:
            self._file.close()
            raise self.damaged("the pixels are absent, truncated or damaged") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def stored(self, frame: int = 0) -> NDArray[Any]:
        """(rows, columns) values as they are stored.

        Args:
            frame: Number of the frame, from 0.

        Raises:
            UnreadableInput: If they are truncated, damaged or cannot be decoded.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if is_packed(str(self._options["transfer_syntax_uid"])):
                    return self._decoded(frame)
                self._file.seek(self._start)
                decoder = get_decoder(self._options["transfer_syntax_uid"])
                return decoder.as_array(self._file, index=frame, **self._options)[0]
            except OSError as error:
                raise unreadable(error, self.path) from error
            except PYDICOM_ERRORS as error:
                raise self.damaged("the pixels are absent, truncated or damaged") from error

    def damaged(self, what: str) -> UnreadableInput:
        """An error about this file."""
        return UnreadableInput(what, cure="Copy or export the file again.", path=self.path)

    def _found_options(self) -> dict[str, Any]:
        """What pydicom's decoders must know; the file is left where its pixels begin."""
        implicit, little = self.header.original_encoding
        syntax = getattr(getattr(self.header, "file_meta", None), "TransferSyntaxUID", None) or (
            ExplicitVRBigEndian if little is False
            else ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )  # fmt: skip
        options = as_pixel_options(self.header, transfer_syntax_uid=UID(syntax), pixel_vr="OW")
        order = ">" if little is False else "<"
        group, element = struct.unpack(order + "HH", self._file.read(4))
        if implicit:
            (length,) = struct.unpack(order + "L", self._file.read(4))
        else:
            vr, length = struct.unpack(order + "2s2xL", self._file.read(8))
            options["pixel_vr"] = vr.decode("ascii")
        if length == 0:
            raise EOFError
        options["pixel_keyword"] = _KEYWORDS[group, element]
        self._start = self._file.tell()
        return options

    def _decoded(self, frame: int) -> NDArray[Any]:
        if self._packed is None:
            self._file.seek(self._start)
            self._packed = list(generate_frames(
                self._file, number_of_frames=int(self._options["number_of_frames"]),
                extended_offsets=self._options.get("extended_offsets"),
            ))  # fmt: skip
        plain = {
            key: value if isinstance(value, str) else int(value)
            for key, value in self._options.items() if isinstance(value, str | int | np.integer)
        }  # fmt: skip
        return decode_frame(self._packed[frame], plain, self.path)
