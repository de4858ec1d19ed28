"""Format: what kind of image a file holds, told by its content and never by its name."""

from __future__ import annotations

import zlib
from enum import StrEnum
from pathlib import Path

from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.integrity import GZIP_MAGIC, CheckedStream, open_input
from unetr_app.io.limits import BOMB_BYTES

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".dcm")
"""A file named so claims to be an image; if it is none, it is broken."""

_HEAD = 544  # the NIfTI-2 header, the longest of the openings looked at
_NIFTI_SIZES = {n.to_bytes(4, order) for n in (348, 540) for order in ("little", "big")}
_DICOM_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")


class Format(StrEnum):
    """The formats that are read; values are the words shown to people."""

    NIFTI = "nifti"
    NRRD = "nrrd"
    METAIMAGE = "metaimage"
    DICOM = "dicom"


_BY_ENDING = {
    ".nii.gz": Format.NIFTI, ".nii": Format.NIFTI, ".nrrd": Format.NRRD,
    ".mha": Format.METAIMAGE, ".mhd": Format.METAIMAGE, ".dcm": Format.DICOM,
}  # fmt: skip


def image_ending(path: PathLike) -> str:
    """The ending by which a file claims to be an image; empty where it claims nothing."""
    name = Path(path).name.lower()
    return next((ending for ending in IMAGE_ENDINGS if name.endswith(ending)), "")


def claimed_format(path: PathLike) -> Format | None:
    """The format that the file's name claims."""
    return _BY_ENDING.get(image_ending(path))


def detect(path: PathLike) -> Format | None:
    """The format of a file, by its content; None where it is no image that we read.

    DICOM without the preamble of PS3.10 is recognised only in files named ``.dcm``.

    Raises:
        UnreadableInput: If the file cannot be opened.
    """
    return recognise(opening(path), path)


def recognise(head: bytes, path: PathLike) -> Format | None:
    """The format of a file that begins so; None where it is no image that we read.

    Args:
        head: Its first 4096 bytes.
        path: Its name.
    """
    if _is_nifti(unpacked_opening(head)):
        return Format.NIFTI
    if head.startswith(b"NRRD000"):
        return Format.NRRD
    if head.lstrip().startswith((b"ObjectType", b"NDims", b"Comment")) and b"NDims" in head:
        return Format.METAIMAGE
    bare = image_ending(path) == ".dcm" and head[:2] in _DICOM_FIRST_GROUPS and len(head) > 8
    if head[128:132] == b"DICM" or bare:
        return Format.DICOM
    return None


def require_format(path: PathLike) -> Format:
    """The format of a file, by its content.

    Raises:
        UnreadableInput: If the file cannot be opened, is empty, or is no image that we read.
    """
    found = detect(path)
    if found is not None:
        return found
    head = opening(path)
    if not head:
        raise UnreadableInput("the file is empty", cure="Copy or export it again.", path=path)
    if not any(head):
        raise UnreadableInput(
            "the file begins with zeros only: it was not written to its end",
            cure="Copy or export it again.", path=path,
        )  # fmt: skip
    if head.startswith(GZIP_MAGIC):
        with CheckedStream(path) as stream:
            stream.skip(BOMB_BYTES)  # names the damage, if that is why nothing was recognised
    if unpacked_opening(head)[:4] in _NIFTI_SIZES:
        raise UnreadableInput(
            "the file begins as a NIfTI or Analyze header, but is cut short, damaged, or the "
            "header of a pair (.hdr and .img)",
            cure="Convert the image to one .nii.gz file, or copy it again.",
            path=path,
        )
    raise UnreadableInput(
        "the content is not of an image format that is read here",
        cure="Give NIfTI (.nii, .nii.gz), NRRD, MHA or DICOM.",
        path=path,
    )


def opening(path: PathLike, count: int = 4096) -> bytes:
    """The first bytes of a file as they are stored.

    Raises:
        UnreadableInput: If the file cannot be opened.
    """
    with open_input(path) as file:
        return file.read(count)


def unpacked_opening(head: bytes) -> bytes:
    """The first bytes of a file's content: ``head`` itself, or what unpacks from it."""
    if not head.startswith(GZIP_MAGIC):
        return head
    try:
        return zlib.decompressobj(31).decompress(head, _HEAD)
    except zlib.error:
        return b""


def _is_nifti(head: bytes) -> bool:
    one = len(head) >= 348 and head[344:348] == b"n+1\0"
    two = len(head) >= 540 and head[4:8] == b"n+2\0"
    return head[:4] in _NIFTI_SIZES and (one or two)
