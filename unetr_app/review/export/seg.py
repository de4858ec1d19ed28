"""SEG: labels as a DICOM object that says whether a person changed them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unetr_app.batch.formats import Delivery, require_sources
from unetr_app.batch.options import BatchOptions
from unetr_app.errors import UnetrError, UnreadableInput
from unetr_app.io import PathLike
from unetr_app.labels import LabelSet
from unetr_app.review.desk import Desk
from unetr_app.review.export.reviewed import Reviewed
from unetr_app.review.loaded import LoadedCase
from unetr_app.volume import Segmentation

_HANDFUL = 10  # labels up to which every viewer's BINARY is the better choice


def export_seg(what: Desk | LoadedCase | Reviewed, path: PathLike) -> tuple[str, ...]:
    """Write the labels of a DICOM case as a SEG.

    Its algorithm type is SEMIAUTOMATIC where a person changed what was predicted, with the SEG
    that it was made from as its predecessor, and AUTOMATIC where nobody did.

    Args:
        what: An open case, whose edits are saved first, or a loaded one.
        path: The final name.

    Returns:
        Warnings.

    Raises:
        UnreadableInput: If the image is not there, or is no DICOM series.
        UnsafeGeometry: If the image does not lie on the labels' grid.
        UnwritableOutput: If it cannot be written whole.
    """
    from unetr_app.io.dicom.seg import write_seg

    found = Reviewed.of(what)
    loaded = found.loaded
    if loaded.image is None or loaded.volume is None:
        raise UnreadableInput(
            "a DICOM SEG must name the images that it is made from, and they are not to be had"
            + "".join(f": {warning}" for warning in loaded.warnings[:1]),
            cure="Put the images back, or export NIfTI.",
        )
    require_sources(loaded.image, ("dicom-seg",))
    labels, notes = _with_codes(found)
    delivery = Delivery(loaded.image, labels, (), Path(path).parent, BatchOptions())
    many = len(labels.labels) > _HANDFUL and not labels.is_overlapping
    edited = found.is_edited
    warnings = write_seg(
        delivery.on_sources, delivery.sources, path, kind="labelmap" if many else "binary",
        predecessor=loaded.seg if edited else None, edited=edited, uneven=delivery.is_uneven,
        frames=loaded.image.frames,
    )  # fmt: skip
    return (*found.warnings, *notes, *warnings)


def _with_codes(found: Reviewed) -> tuple[Segmentation, tuple[str, ...]]:
    """The labels with the coded concepts that the SEG before gives them, by name."""
    labels, seg = found.whole, found.loaded.seg
    if seg is None:
        return labels, ()
    from unetr_app.io.dicom.placed_frames import read_header
    from unetr_app.io.dicom.segments import labels_in

    try:
        coded = {label.name: label for label in labels_in(read_header(seg)).values()}
    except UnetrError as problem:
        return labels, (f"the SEG before it gives no codes: {problem}",)
    table = LabelSet(tuple(
        replace(label, type=like.type, category=like.category, modifier=like.modifier)
        if label.type is None and (like := coded.get(label.name)) is not None
        else label
        for label in labels.labels
    ))  # fmt: skip
    return labels.described(labels=table), ()
