"""The demonstration: both hippocampi of a head MRI that a Python package carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unetr_app.batch.outcome import Outcome
from unetr_app.batch.progress import Progress
from unetr_app.batch.runner import run_batch
from unetr_app.batch.segmenting import OnDemand
from unetr_app.bundle import find_bundle, read_card
from unetr_app.cases import find_cases
from unetr_app.errors import InvalidRequest, UnetrError
from unetr_app.io import read_volume
from unetr_app.io.atomic import PathLike, replacing
from unetr_app.outputs import PREVIEW, read_measurements
from unetr_app.volume import Volume

if TYPE_CHECKING:
    from unetr_app.inference.segmenter import Segmenter

DEMO_BUNDLE = "hippocampus_mr_unetr_segmentation"

# Where the middle of a hippocampus lies in MNI space, RAS+ mm. Found by sliding the mean of 200
# training crops, laid over each other by their labels' centroids, over the template: correlation
# is best (0.60) here, and on the right at the mirrored place. The Harvard-Oxford atlas puts the
# hippocampi there too, to within some millimetres.
SIDES_MM: Mapping[str, tuple[float, float, float]] = {
    "left": (-27.0, -22.0, -14.0),
    "right": (27.0, -22.0, -14.0),
}
# The training crops measure 35 x 50 x 36 mm on average. The labels' centroid lies at these
# fractions of them, counted from the lateral, back and lower border.
_CROP_SHAPE = (36, 52, 36)
_CENTROID_AT = (0.43, 0.53, 0.43)


@dataclass(frozen=True)
class DemoSide:
    """What the demonstration found on one side.

    Args:
        side: ``"left"`` or ``"right"``.
        outcome: How the case ended.
        label_ml: Millilitres of each label, by name.
        picture: The preview.
    """

    side: str
    outcome: Outcome
    label_ml: Mapping[str, float]
    picture: Path

    @property
    def volume_ml(self) -> float:
        """Millilitres of all labels together."""
        return sum(self.label_ml.values())


def template_path() -> Path:
    """The MNI152 T1 template, 1 mm, skull-stripped and symmetric, inside of nilearn's package.

    Raises:
        InvalidRequest: If nilearn is not installed, or this release of it carries no template.
    """
    spec = find_spec("nilearn")
    cure = "Install it with: pip install nilearn."
    if spec is None or not spec.submodule_search_locations:
        raise InvalidRequest("the demonstration needs nilearn, which is not installed", cure=cure)
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    found = sorted(folder.glob("mni_icbm152_t1_*.nii.gz"))
    if not found:
        raise InvalidRequest("this release of nilearn carries no MNI152 T1 template", cure=cure)
    return found[0]


def crop_side(head: Volume, side: str) -> Volume:
    """The crop around one hippocampus, of the size and centring of the training crops.

    Args:
        head: A head in MNI space, 1 mm.
        side: ``"left"`` or ``"right"``.

    Returns:
        The crop, RAS; its voxels are the head's own.
    """
    head = head.reorient("RAS")
    x, y, z = _CENTROID_AT
    fraction = (x if side == "left" else 1 - x, y, z)
    middle = head.geometry.world_to_index(SIDES_MM[side])
    start = np.rint(middle - np.asarray(fraction) * (np.asarray(_CROP_SHAPE) - 1)).astype(int)
    i, j, k = (slice(at, at + n) for at, n in zip(start.tolist(), _CROP_SHAPE, strict=True))
    return Volume(
        head.data[:, i, j, k],
        head.geometry.cropped(start.tolist(), _CROP_SHAPE),
        head.channel_names, modality="MR",
    )  # fmt: skip


def write_inputs(folder: PathLike) -> dict[str, Path]:
    """Cut both crops out of the template and write them as NIfTI; the path of each side."""
    from unetr_app.io import nifti

    head = read_volume(template_path())
    paths: dict[str, Path] = {}
    for side in SIDES_MM:
        crop = crop_side(head, side)
        paths[side] = Path(folder) / f"mni152_{side}_hippocampus.nii.gz"
        with replacing(paths[side]) as part:
            nifti.write(crop.data[0], crop.geometry, part)
    return paths


def run_demo(
    out: PathLike,
    *,
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[DemoSide]:
    """Write both crops to ``out/input`` and segment them into ``out``, as ``unetr segment`` does.

    Args:
        out: Folder for the results; made where absent.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` and so on.
        progress: Hears of each step of the batch.
        should_stop: Asked often; yes ends the demonstration.

    Returns:
        One row a side, left first.

    Raises:
        InvalidRequest: If nilearn is missing.
        UnetrError: If a side cannot be segmented.
    """
    inputs = write_inputs(Path(out) / "input")
    card = read_card(find_bundle(DEMO_BUNDLE))

    def opened() -> Segmenter:
        from unetr_app.inference.segmenter import Segmenter

        return Segmenter.open(card.path, device=device)

    cases = find_cases(list(inputs.values()))
    result = run_batch(
        cases, OnDemand(card, opened), out=out, on_progress=progress, should_stop=should_stop
    )
    if result.stopped is not None:
        raise result.stopped
    ended = {outcome.input: outcome for outcome in result}
    return [_row(side, ended[str(path)], Path(out)) for side, path in inputs.items()]


def _row(side: str, outcome: Outcome, out: Path) -> DemoSide:
    if outcome.error is not None:
        raise UnetrError(outcome.error.cause, cure=outcome.error.cure)
    folder = out / outcome.case_id
    label_ml = {row["name"]: row["millilitres"] for row in read_measurements(folder)}
    return DemoSide(side, outcome, label_ml, folder / PREVIEW)
