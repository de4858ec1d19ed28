"""Images of cases: what to draw a comparison over, where it is still at hand."""

from __future__ import annotations

from pathlib import Path

from unetr_app.errors import UnetrError
from unetr_app.geometry import Geometry
from unetr_app.io import read_volume
from unetr_app.scoring.pairs import ENDINGS, Pair, case_id_of
from unetr_app.volume import Volume


def find_image(pair: Pair, folder: Path | None = None) -> Path | None:
    """The image that a case was segmented from.

    Args:
        pair: The case.
        folder: Where images lie under their case id; where absent, the input that the prediction's
            manifest names, if it is still there.
    """
    if folder is not None:
        here = (p for p in sorted(folder.iterdir()) if p.name.lower().endswith(ENDINGS))
        return next((p for p in here if case_id_of(p.name) == pair.case_id), None)
    if pair.out is None:
        return None
    row = pair.manifest_row
    near, typed = (str(row.get(key) or "") for key in ("input_from_manifest", "input"))
    named = [*([pair.out / near] if near else []), *([Path(typed)] if typed else [])]
    return next((path for path in named if path.exists()), None)


def read_image(path: Path | None, geometry: Geometry) -> Volume | None:
    """The image, if it can be read and lies on ``geometry``; a picture does without it else."""
    if path is None:
        return None
    try:
        volume = read_volume(path)
    except UnetrError:
        return None
    turned = volume.geometry.reoriented(geometry.orientation)
    return volume if turned.is_close(geometry) else None
