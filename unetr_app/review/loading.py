"""Loading: one case read from its files; heavy, safe in any thread, takes no lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from unetr_app.batch.fingerprint import content_hash
from unetr_app.batch.inputs import input_hash
from unetr_app.cases import Case
from unetr_app.errors import UnetrError, UnevenSlices, UnsafeGeometry
from unetr_app.io import read_volume
from unetr_app.review.case_folder import CaseFolder
from unetr_app.review.loaded import LoadedCase
from unetr_app.review.sources.entry import Entry
from unetr_app.review.stamps import Hashes, stamp_of
from unetr_app.review.version import Version
from unetr_app.review.versions import Versions, newest_whole
from unetr_app.volume import Segmentation, Volume

_CHANGED = "the image was changed after it was segmented; segment it again"


def load_case(entry: Entry, folder: CaseFolder) -> LoadedCase:
    """Read everything of a case.

    Files are hashed only where their stamp is not known yet, while the image is being read.

    Args:
        entry: The case.
        folder: Its review.

    Raises:
        UnetrError: If the labels cannot be read.
    """
    if entry.problem is not None:
        raise entry.problem
    hashes = Hashes(folder.hashes)
    case, problem = _find(entry)
    stamp = stamp_of(files_of(entry, case))
    with ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(_hash_image, case, hashes)
        volume, image_problem = _read_image(case) if case is not None else (None, problem)
        prediction = entry.labels.read(case, volume)
        source_hash = hashing.result()
    prediction_hash = prediction_hash_of(entry, hashes)
    warnings = list(entry.warnings)
    if volume is not None and not volume.geometry.is_close(prediction.geometry):
        image_problem = UnsafeGeometry(
            f"the image has a grid of {volume.geometry.shape} voxels that is not the labels' grid "
            f"of {prediction.geometry.shape}",
            cure="Give the image that they were drawn on.",
        )
        volume = None
    if image_problem is not None:
        warnings.append(f"the labels are shown without their image: {image_problem}")
    if source_hash and entry.source_hash and source_hash != entry.source_hash:
        warnings.append(_CHANGED)
    warnings += volume.warnings if volume is not None else ()
    prediction = _placed(prediction, volume, entry)
    second = _read_second(entry, case, volume, prediction, warnings)
    uncertainty = _read_uncertainty(entry, prediction, warnings)
    numbers = tuple(Versions(folder.versions).numbers())
    version, saved = _newest(folder, prediction, prediction_hash, warnings)
    told = tuple(dict.fromkeys(warnings))
    return LoadedCase(
        entry.id, prediction, volume, version, saved, uncertainty, second, case, source_hash,
        prediction_hash, stamp, numbers, dict(entry.bundle), entry.seg, told,
    )  # fmt: skip


def files_of(entry: Entry, case: Case | None) -> tuple[str, ...]:
    """The files that must not change under a reviewer's hands."""
    return (*entry.labels.paths, *(() if case is None else case.paths))


def prediction_hash_of(entry: Entry, hashes: Hashes) -> str:
    """One hash for the prediction's files; empty where they cannot be read."""
    paths = entry.labels.paths
    try:
        return hashes.of("prediction", paths, lambda: content_hash(paths))
    except UnetrError:
        return ""


def source_hash_of(entry: Entry, hashes: Hashes) -> str:
    """One hash for the image as it is now; empty where it is gone."""
    return _hash_image(_find(entry)[0], hashes)


def _find(entry: Entry) -> tuple[Case | None, UnetrError | None]:
    try:
        return entry.find_image(), None
    except UnetrError as problem:
        return None, problem


def _hash_image(case: Case | None, hashes: Hashes) -> str:
    if case is None:
        return ""
    try:
        return hashes.of("source", case.paths, lambda: input_hash(case))
    except UnetrError:
        return ""


def _read_image(case: Case) -> tuple[Volume | None, UnetrError | None]:
    """The image, on a regular grid where its slices lie at uneven distances; or why not."""
    try:
        return read_volume(case, regularise=isinstance(case.problem, UnevenSlices)), None
    except UnetrError as problem:
        return None, problem


def _placed(found: Segmentation, volume: Volume | None, entry: Entry) -> Segmentation:
    """The same labels on exactly the image's grid, with where they come from."""
    told = {
        "bundle": entry.bundle.get("name", ""),
        "bundle_version": entry.bundle.get("version", ""),
        "weights_hash": entry.bundle.get("weights_hash", ""),
    }
    said = {key: value for key, value in told.items() if value}
    grid = found.geometry if volume is None else volume.geometry
    return found.described(geometry=grid, provenance={**found.provenance, **said})


def _read_second(
    entry: Entry, case: Case | None, volume: Volume | None, prediction: Segmentation,
    warnings: list[str],
) -> Segmentation | None:  # fmt: skip
    if entry.second is None:
        return None
    try:
        found = entry.second.read(case, volume)
        if not found.geometry.is_close(prediction.geometry):
            raise UnsafeGeometry("they lie on another grid than the first")
    except UnetrError as problem:
        warnings.append(f"the second reader's labels are not shown: {problem}")
        return None
    return found.described(geometry=prediction.geometry)


def _read_uncertainty(entry: Entry, prediction: Segmentation, warnings: list[str]) -> Volume | None:
    if entry.uncertainty is None:
        return None
    try:
        found = read_volume(entry.uncertainty)
        if not found.geometry.is_close(prediction.geometry):
            raise UnsafeGeometry("it lies on another grid than the labels")
    except UnetrError as problem:
        warnings.append(f"the uncertainty map is not shown: {problem}")
        return None
    return found


def _newest(
    folder: CaseFolder, prediction: Segmentation, prediction_hash: str, warnings: list[str]
) -> tuple[Version | None, Segmentation | None]:
    """The newest version that can be used; what is wrong with newer ones becomes warnings."""
    for found in newest_whole(Versions(folder.versions), prediction.geometry):
        if isinstance(found, UnetrError):
            warnings.append(f"an older state is shown: {found}")
            continue
        version, saved = found
        if version.prediction_hash != prediction_hash:
            warnings.append(
                f"version {version.number} was made on another prediction than the one that is "
                "there now; it lies on the same grid and is used"
            )
        return version, saved
    return None, None
