"""Writing of NRRD and MetaImage: the door to SimpleITK.

SimpleITK writes and does not read here: a damaged header can crash it, and the process with it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  the name that everybody knows it by
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnwritableOutput
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.labels import LabelSet


def write(data: NDArray[Any], geometry: Geometry, path: PathLike, labels: LabelSet) -> None:
    """Write a label map of (I, J, K) packed; NRRD carries names and colours as 3D Slicer reads.

    Raises:
        UnwritableOutput: If SimpleITK refuses.
    """
    nrrd = str(path).lower().endswith(".nrrd")
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose()))
    affine = geometry.affine_lps
    spacing = np.asarray(geometry.spacing)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    if nrrd:
        for key, value in _slicer_keys(labels, geometry).items():
            image.SetMetaData(key, value)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("NrrdImageIO" if nrrd else "MetaImageIO")
    writer.UseCompressionOn()
    with _quiet():
        try:
            writer.SetFileName(_plain(path))
            writer.Execute(image)
        except RuntimeError as error:
            raise UnwritableOutput(
                "could not be written", cure="Check that there is space on the disk.", path=path
            ) from error


def _slicer_keys(labels: LabelSet, geometry: Geometry) -> dict[str, str]:
    """Header fields of 3D Slicer's .seg.nrrd for one layer of exclusive labels."""
    extent = " ".join(f"0 {n - 1}" for n in geometry.shape)
    keys: dict[str, str] = {}
    for n, label in enumerate(labels):
        keys |= {
            f"Segment{n}_ID": f"Segment_{label.value}",
            f"Segment{n}_Name": label.name,
            f"Segment{n}_Color": " ".join(f"{c / 255:.6g}" for c in label.colour),
            f"Segment{n}_LabelValue": str(label.value),
            f"Segment{n}_Layer": "0",
            f"Segment{n}_Extent": extent,
        }
    return keys


def _plain(path: PathLike) -> str:
    """The path as text; SimpleITK ends the whole process where a name holds undecodable bytes."""
    text = os.fspath(path)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "the path holds bytes that are no text, which SimpleITK cannot take",
            cure="Rename the file and its folders.", path=path,
        ) from error  # fmt: skip
    return text


@contextmanager
def _quiet() -> Generator[None]:
    """Keep ITK from writing its warnings to the terminal."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
