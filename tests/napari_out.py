"""What the napari tests share.

An output folder as `unetr segment` leaves it, made of phantoms by the package's own writers; and
napari itself, or a skip.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from data.phantom_files import write_nifti
from unetr_app.batch.fingerprint import Recipe, content_hash
from unetr_app.batch.journal import Row
from unetr_app.batch.options import BatchOptions
from unetr_app.batch.outcome import Outcome
from unetr_app.batch.results import write_results
from unetr_app.cases import Case
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
        case=Case(case_id, str(image), "file", (str(image),)),
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


def require_napari() -> None:
    """Skip the calling module where napari is not installed, or has no OpenGL library to load."""
    try:
        import napari.components  # noqa: F401 - is it there?
    except (ImportError, OSError) as error:
        pytest.skip(f"napari cannot be imported: {error}", allow_module_level=True)


def use_plain_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests neither depend on the user's napari preferences nor change them."""
    from napari import settings

    monkeypatch.setattr(settings, "_SETTINGS", settings.NapariSettings(config_path=None))
