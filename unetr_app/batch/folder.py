"""OutputFolder: where results of a batch lie, and who may write them.

::

    OUT/
    ├── manifest.jsonl            one row a case
    ├── summary.csv               one row a case and label
    ├── <case_id>/                results, each there only when whole
    └── .working/                 only while something is being done
        ├── manifest.lock
        ├── claims/<case_id>      held by the process that works on the case
        └── files/<case_id>/      results that are not all there yet
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from unetr_app.batch.fingerprint import file_hash
from unetr_app.batch.lock import FileLock
from unetr_app.errors import UnreadableInput, UnwritableOutput
from unetr_app.outputs import FORMATS, MAPS, MEASUREMENTS, PREVIEW, SPLIT_LABELS

DEBUG_LOG = "debug.log"
_WORKING = ".working"


def is_result(path: PurePosixPath) -> bool:
    """Is a path, relative to a case's folder, one that a batch writes there?"""
    if path.parts[:-1] == (SPLIT_LABELS,):
        return path.name.endswith((".nii.gz", ".nrrd"))
    return str(path) in (MEASUREMENTS, PREVIEW, *FORMATS.values(), *MAPS.values())


@dataclass(frozen=True)
class Claim:
    """The right to work on a case, and the place to do it; held until released.

    Args:
        case_id: The case's folder in the output folder.
        staging: Where its results are written before they are published.
        lock: What keeps other processes away.
    """

    case_id: str
    staging: Path
    lock: FileLock

    def release(self) -> None:
        """Throw away what was not published and let others have the case; once."""
        if not self.lock.is_held:
            return
        shutil.rmtree(self.staging, ignore_errors=True)
        self.lock.release()


class OutputFolder:
    """An output folder and the claims on its cases.

    Args:
        root: The folder; made with `prepare`.
        inputs: Input files that are never to be overwritten or removed.
    """

    def __init__(self, root: str | os.PathLike[str], *, inputs: Iterable[str | Path] = ()):
        self.root = Path(root).resolve()
        self._working = self.root / _WORKING
        within = (Path(os.path.abspath(path)) for path in inputs)
        resolved = (path.parent.resolve() / path.name for path in within)
        self._protected = frozenset(p for p in resolved if p.is_relative_to(self.root))

    @property
    def journal_lock(self) -> Path:
        """The lock file of the manifest."""
        return self._working / "manifest.lock"

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            UnwritableOutput: If it cannot be made or written to.
        """
        try:
            (self._working / "claims").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableOutput(
                f"the output folder cannot be made: {error.strerror}",
                cure="Choose an output folder that you may write to.",
                path=self.root,
            ) from error

    def claim(self, case_id: str) -> Claim | None:
        """Claim a case for this process; None where another process works on it."""
        lock = FileLock(self._working / "claims" / case_id)
        if not lock.take():
            return None
        staging = self._working / "files" / case_id
        shutil.rmtree(staging, ignore_errors=True)  # a killed process left it
        return Claim(case_id, staging, lock)

    def is_claimed(self, case_id: str) -> bool:
        """Is a process working on the case? Claims nothing and leaves no file behind."""
        lock = FileLock(self._working / "claims" / case_id)
        if not lock.path.exists():
            return False
        free = lock.take()
        lock.release(remove=False)
        return not free

    def stale_claims(self) -> frozenset[str]:
        """Ids of the cases that have a claim file, whoever held it."""
        claims = self._working / "claims"
        return frozenset(p.name for p in claims.iterdir()) if claims.is_dir() else frozenset()

    def tidy(self) -> None:
        """Remove what killed processes left behind, and the working folder where nobody works."""
        for case_id in self.stale_claims():
            claim = self.claim(case_id)
            if claim is not None:
                claim.release()
        with FileLock(self.journal_lock):
            pass
        for emptied in (self._working / "claims", self._working / "files", self._working):
            with suppress(OSError):
                emptied.rmdir()

    def case_folder(self, case_id: str) -> Path:
        """The folder of a case's results.

        Raises:
            UnwritableOutput: If it is a link, holds one in place of the folder of masks, or would
                lie outside the output folder.
        """
        folder = self.root / case_id
        linked = folder.is_symlink() or (folder / SPLIT_LABELS).is_symlink()
        if folder.parent != self.root or case_id in ("", ".", "..") or linked:
            raise UnwritableOutput(
                "the case's folder is or holds a link, or would lie outside the output folder",
                cure="Remove the link or choose another output folder.",
                path=folder,
            )
        return folder

    def check_free_of_inputs(self, case_id: str) -> None:
        """Make sure that a case's results replace no input.

        Raises:
            UnwritableOutput: If they would.
        """
        folder = self.case_folder(case_id)
        for path in self._protected:
            if path.is_relative_to(folder) and is_result(_relative(path, folder)):
                raise UnwritableOutput(
                    "this input would be overwritten by a result",
                    cure="Choose another output folder.",
                    path=path,
                )

    @staticmethod
    def is_result_of(path: Path, folders: Iterable[Path]) -> bool:
        """Is a file a result in one of these cases' folders?"""
        real = path.resolve()
        return any(real.is_relative_to(f) and is_result(_relative(real, f)) for f in folders)

    def publish(self, claim: Claim) -> dict[str, str]:
        """Move a case's results from staging into its folder, in place of earlier ones.

        Returns:
            SHA-256 of each result, by its path relative to the output folder.

        Raises:
            UnwritableOutput: If a result cannot be moved.
        """
        folder = self.case_folder(claim.case_id)
        staged = sorted(path for path in claim.staging.rglob("*") if path.is_file())
        hashes = {
            f"{claim.case_id}/{_relative(path, claim.staging)}": file_hash(path) for path in staged
        }
        self.remove_results(claim.case_id)
        touched = {self.root, folder}
        try:
            for path in staged:
                target = folder / _relative(path, claim.staging)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
                touched.add(target.parent)
            for place in touched:
                _flush(place)
        except OSError as error:
            raise UnwritableOutput(
                f"a result cannot be put in its place: {error.strerror}",
                cure="Check that you may write to the output folder and that its disk has space.",
                path=folder,
            ) from error
        return hashes

    def remove_results(self, case_id: str) -> None:
        """Remove what a batch wrote for a case; other files, inputs above all, stay."""
        folder = self.case_folder(case_id)
        if not folder.is_dir():
            return
        for path in [*folder.iterdir(), *(folder / SPLIT_LABELS).glob("*")]:
            ours = is_result(_relative(path, folder)) and path not in self._protected
            if ours and not path.is_dir():
                with suppress(OSError):
                    path.unlink()
        for emptied in (folder / SPLIT_LABELS, folder):
            with suppress(OSError):
                emptied.rmdir()

    def holds(self, hashes: dict[str, str]) -> bool:
        """Are all these files, relative to the folder, there with these hashes?"""
        try:
            return all(file_hash(self.root / name) == hashes[name] for name in hashes)
        except UnreadableInput:
            return False


def _relative(path: Path, folder: Path) -> PurePosixPath:
    return PurePosixPath(path.relative_to(folder).as_posix())


def _flush(folder: Path) -> None:
    """Bring a folder's entries to the disk, where the system can do that."""
    if os.name == "nt" or not folder.is_dir():
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
