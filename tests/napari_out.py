"""An output folder as `unetr segment` leaves it, made of phantoms by the package's own writers."""

from __future__ import annotations

from pathlib import Path

from data.phantom_files import write_nifti
from unetr_app.batch.fingerprint import Recipe, content_hash
from unetr_app.batch.journal import Row
from unetr_app.batch.options import BatchOptions
from unetr_app.batch.outcome import Outcome
from unetr_app.batch.results import write_results
from unetr_app.volume import Segmentation, Volume

IMAGE = "case_1.nii.gz"


def write_image(path: Path, volume: Volume) -> Path:
    """Write channel 0 as NIfTI."""
    return write_nifti(volume.data[0], volume.geometry, path)


def add_case(
    out: Path,
    image: Path,
    made: tuple[Volume, Segmentation],
    *,
    case_id: str = "case_1",
    input_hash: str = "",
) -> Path:
    """Write the results of a case and add its row to the manifest."""
    write_results(
        *made,
        case_id=case_id,
        folder=out / case_id,
        recipe=Recipe({"name": "bundle"}, {}),
        options=BatchOptions(preview=False, split_labels=True),
    )
    outputs = (f"{case_id}/labels.nii.gz", f"{case_id}/measurements.json")
    row = Row(
        Outcome(case_id, "done", str(image), outputs),
        input_hash=content_hash([image]) if input_hash else "",
    )
    with (out / "manifest.jsonl").open("a") as stream:
        stream.write(row.to_json() + "\n")
    return out
