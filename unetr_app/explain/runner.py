"""Explain: what was asked for, of every image and of all together; what fails is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetr_app.cases import Case
from unetr_app.errors import Cancelled, InvalidRequest, UnwritableOutput
from unetr_app.explain.attention import capture_attention
from unetr_app.explain.attention_map import voxel_attention
from unetr_app.explain.case_attention import CaseAttention, attention_of
from unetr_app.explain.embedding import require_embedding
from unetr_app.explain.explainer import Explainer
from unetr_app.explain.features import Features, case_features
from unetr_app.explain.files import write_attention, write_embedding
from unetr_app.explain.gathered_fields import GatheredFields
from unetr_app.explain.point_cloud import PointClouds
from unetr_app.explain.receptive_field import ReceptiveField
from unetr_app.explain.request import Request
from unetr_app.explain.window import Window
from unetr_app.io import read_label_map, read_volume
from unetr_app.volume import Volume

Progress = Callable[[int, int], None]
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Explained:
    """What was found.

    Args:
        fields: Receptive fields, one a map; none where not asked for.
        spacing_mm: Of the images that they were taken from; None where unknown or not the same.
        done: Ids of the cases that went well.
        failures: What went wrong, by case id.
        notes: What the user should know.
        written: Pictures and tables.
    """

    fields: tuple[ReceptiveField, ...]
    spacing_mm: tuple[float, float, float] | None
    done: tuple[str, ...]
    failures: Mapping[str, str]
    notes: tuple[str, ...]
    written: tuple[Path, ...]


def explain(
    explainer: Explainer,
    cases: Sequence[Case],
    out: Path,
    request: Request,
    *,
    progress: Progress | None = None,
    should_stop: ShouldStop | None = None,
) -> Explained:
    """Explain an encoder by images, or its receptive field by noise where there are none.

    Args:
        explainer: The encoder.
        cases: Images; may be none where only ``erf`` is asked for.
        out: Folder for the results; see `unetr_app.explain.files`.
        request: What is wanted.
        progress: Told (steps done, steps in all).
        should_stop: Asked often.

    Returns:
        What was found; a case that fails is recorded in it and the rest go on.

    Raises:
        InvalidRequest: If what is wanted needs images and there are none, or cannot be had.
        Cancelled: If ``should_stop`` said so.
        UnwritableOutput: If a file could not be written whole.
    """
    if not cases and request.what != ("erf",):
        raise InvalidRequest(
            "attention and t-SNE need images", cure="Name some, or ask for --what erf alone."
        )
    if "tsne" in request.what:
        require_embedding()
    run = _Run(explainer, out, request, should_stop or (lambda: False))
    run.probe()
    heard = progress or (lambda done, of: None)
    for done, case in enumerate(cases):
        heard(done, len(cases) + 1)
        run.add(case)
    if not cases:
        run.add_noise()
    heard(len(cases), len(cases) + 1)
    return run.finished()


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one image gave, before it is kept."""

    window: Window
    attention: CaseAttention | None
    features: list[Features] | None


class _Run:
    """What has been found so far."""

    def __init__(self, explainer: Explainer, out: Path, request: Request, should_stop: ShouldStop):
        self._explainer = explainer
        self._out = out
        self._request = request
        self._should_stop = should_stop
        self._what = list(request.what)
        self._fields = GatheredFields(explainer, seed=request.seed, should_stop=should_stop)
        by_label = bool(request.references) and request.points != "cases"
        self._clouds = PointClouds(request.names, by_label=by_label)
        self._done: list[str] = []
        self._failures: dict[str, str] = {}
        self._notes: list[str] = []
        self._written: list[Path] = []

    def probe(self) -> None:
        """Find out, before any image is read, whether there is attention that can be shown.

        Raises:
            InvalidRequest: If there is none, unless the request is lenient.
        """
        if "attention" not in self._what:
            return
        explainer = self._explainer
        middle = [n // 2 for n in explainer.roi_size]
        try:
            for x in explainer.noise(1, seed=self._request.seed):
                voxel_attention(capture_attention(explainer.encoder, x), middle, x.shape[2:])
        except Exception as error:  # what an encoder raises
            problem = explainer.explained(error)
            if not self._request.lenient or not isinstance(error, InvalidRequest):
                raise problem from error
            self._what.remove("attention")
            self._notes.append(f"no attention is shown: {problem.what}")

    def add_noise(self) -> None:
        """Take the receptive field from noise."""
        try:
            self._fields.add_noise()
        except Exception as error:  # what an encoder raises
            raise self._explainer.explained(error) from error

    def add(self, case: Case) -> None:
        """Look at one image; what is wrong with it is recorded."""
        if self._should_stop():
            raise Cancelled("asked to stop", cure="Run the same command again.")
        try:
            self._keep(case, self._see(case))
        except (Cancelled, UnwritableOutput):
            raise
        except Exception as error:  # one bad case must not end the run
            self._failures[case.id] = str(self._explainer.explained(error))
        else:
            self._done.append(case.id)

    def finished(self) -> Explained:
        """Write what all images give together."""
        fields: list[ReceptiveField] = []
        if not self._fields.is_empty:
            fields, written = self._fields.write(self._out)
            self._written += written
        if "tsne" in self._what and self._done:
            self._write_clouds()
        return Explained(
            tuple(fields), self._fields.spacing_mm, tuple(self._done), self._failures,
            tuple(dict.fromkeys(self._notes)), tuple(self._written),
        )  # fmt: skip

    def _see(self, case: Case) -> _Seen:
        """Compute what is asked for of one image; nothing is written or kept yet."""
        request = self._request
        volume = read_volume(case)
        image = self._explainer.prepare(volume)
        self._notes += [f"{case.id}: {warning}" for warning in image.warnings]
        voxel = None if request.at is None else _moved(request.at, volume, image)
        window = self._explainer.window(image, voxel)
        seen_at = None if voxel is None else _less(voxel, window.start)
        return _Seen(
            window,
            self._attention(window, seen_at),
            self._features(case, image) if "tsne" in self._what else None,
        )

    def _attention(
        self, window: Window, voxel: tuple[int, int, int] | None
    ) -> CaseAttention | None:
        if "attention" not in self._what:
            return None
        return attention_of(self._explainer, window, voxel, should_stop=self._should_stop)

    def _features(self, case: Case, image: Volume) -> list[Features]:
        request = self._request
        labels = None
        if request.references:
            if case.id not in request.references:
                raise InvalidRequest("it has no label map of its name in the folder of --labels")
            labels = read_label_map(request.references[case.id])
        return case_features(
            self._explainer, image, labels, points=request.points, count=request.count,
            seed=request.seed, should_stop=self._should_stop,
        )  # fmt: skip

    def _keep(self, case: Case, seen: _Seen) -> None:
        if "erf" in self._what:
            self._fields.add(seen.window)
        if seen.attention is not None:
            self._write_attention(case.id, seen.attention)
        if seen.features is not None:
            self._clouds.add(case.id, seen.features)

    def _write_attention(self, case_id: str, attention: CaseAttention) -> None:
        whose = "class token" if attention.voxel is None else "token of the crossed voxel"
        self._written += write_attention(
            attention.maps, attention.window, self._out / case_id, voxel=attention.voxel,
            said=f"Where the {whose} of {self._explainer.name} looks, mean of the heads",
        )  # fmt: skip

    def _write_clouds(self) -> None:
        request = self._request
        strides: Any = self._explainer.encoder.strides
        try:
            found = self._clouds.arranged(strides, seed=request.seed, should_stop=self._should_stop)
        except InvalidRequest as error:
            if not request.lenient:
                raise
            self._notes.append(f"no t-SNE is shown: {error.what}")
            return
        self._notes += [f"map {level} has too few points for t-SNE" for level in found.left_out]
        what = {"voxels": "voxel of a map", "labels": "label of a case", "cases": "case"}
        self._written += write_embedding(
            found.arrays, found.clouds, found.labels, self._out,
            said=f"t-SNE of the features of {self._explainer.name}: a point is a "
                 f"{what[request.points]}",
        )  # fmt: skip


def _moved(at: tuple[int, int, int], volume: Volume, image: Volume) -> tuple[int, int, int]:
    """Index on the model grid of a voxel of the native grid."""
    native = volume.geometry
    if any(not 0 <= v < n for v, n in zip(at, native.shape, strict=True)):
        raise InvalidRequest(
            f"there is no voxel {at} in an image of {native.shape}", cure="Count from 0."
        )
    index = np.rint(image.geometry.world_to_index(native.index_to_world(at))).astype(int)
    i, j, k = np.clip(index, 0, np.array(image.geometry.shape) - 1).tolist()
    return i, j, k


def _less(voxel: tuple[int, int, int], start: tuple[int, int, int]) -> tuple[int, int, int]:
    i, j, k = (at - first for at, first in zip(voxel, start, strict=True))
    return i, j, k
