"""The files that one case leaves: label map, measurements, picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unetr_app.batch.fingerprint import Recipe
from unetr_app.batch.formats import Delivery, write_formats, write_split_labels
from unetr_app.batch.options import BatchOptions
from unetr_app.cases import Case
from unetr_app.errors import UnwritableOutput
from unetr_app.evaluation.measurements import LabelMeasurement, measure
from unetr_app.io.atomic import replacing, write_json
from unetr_app.io.mapped_file import give_back
from unetr_app.io.nifti import write_map
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.outputs import MAPS, MEASUREMENTS, PREVIEW, SPLIT_LABELS
from unetr_app.volume import Segmentation, Volume


def write_results(
    volume: Volume,
    segmentation: Segmentation,
    *,
    case: Case,
    folder: Path,
    recipe: Recipe,
    options: BatchOptions,
) -> list[str]:
    """Write the results of a case into a folder of their own.

    Args:
        volume: What was segmented.
        segmentation: On the volume's grid.
        case: Where it came from; its id is kept in the measurements.
        folder: Made where it is missing.
        recipe: Its bundle is kept in the measurements.
        options: Which files are wanted.

    Returns:
        Warnings about what could be left out, such as the picture.

    Raises:
        UnwritableOutput: If a file cannot be written whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if options.split_labels and not (segmentation.is_overlapping and "nifti" in options.formats):
        write_split_labels(segmentation, folder / SPLIT_LABELS)
    measured = measure(segmentation, volume)
    measurements = _measurements(volume, segmentation, measured, case.id, recipe)
    write_json(folder / MEASUREMENTS, measurements)
    warnings = _draw_preview(volume, segmentation, folder / PREVIEW) if options.preview else []
    picture = folder / PREVIEW if options.preview and not warnings else None
    delivery = Delivery(case, segmentation, measured, folder, options, picture)
    warnings += write_formats(delivery)
    for name in options.maps:
        _write_map(folder / f"{name}.npy", segmentation, folder / MAPS[name])
    return warnings


def _measurements(
    volume: Volume,
    segmentation: Segmentation,
    measured: Sequence[LabelMeasurement],
    case_id: str,
    recipe: Recipe,
) -> dict[str, Any]:
    geometry = segmentation.geometry
    return {
        "case_id": case_id,
        "notice": RESEARCH_NOTICE,
        "bundle": recipe.bundle,
        "tool_version": recipe.tool_version,
        "shape": list(geometry.shape),
        "spacing_mm": [round(mm, 6) for mm in geometry.spacing],
        "orientation": geometry.orientation,
        "modality": volume.modality,
        "labels": [
            measurement.to_dict() | {"colour": list(label.colour)}
            for label, measurement in zip(segmentation.labels, measured, strict=True)
        ],
    }


def _write_map(raw: Path, segmentation: Segmentation, path: Path) -> None:
    """Bring what inference left on disk into its final form."""
    data = np.load(raw, mmap_mode="r")
    slope = 1 / 255 if data.dtype == np.uint8 else 1.0
    with replacing(path) as part:
        write_map(
            data, segmentation.geometry, part, slope=slope, after_part=partial(give_back, raw)
        )
    del data
    raw.unlink()


def _draw_preview(volume: Volume, segmentation: Segmentation, path: Path) -> list[str]:
    """Draw the picture; a case is no worse for the lack of it, unless the disk is full."""
    from unetr_app.pictures import preview  # imports matplotlib

    try:
        preview(volume, segmentation, path)
    except UnwritableOutput:
        raise
    except Exception as error:  # whatever the drawing library trips over
        return [f"no preview could be drawn ({type(error).__name__})"]
    return []
