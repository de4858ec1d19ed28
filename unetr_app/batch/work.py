"""CaseWorker: the steps of one case before and after the network."""

from __future__ import annotations

import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from unetr_app.batch.decision import Decision, decide, path_from, settle
from unetr_app.batch.fingerprint import Recipe
from unetr_app.batch.folder import DEBUG_LOG, Claim, OutputFolder
from unetr_app.batch.formats import require_sources
from unetr_app.batch.inputs import input_hash as hash_of
from unetr_app.batch.journal import Journal, Row
from unetr_app.batch.memory import peak_memory_mib
from unetr_app.batch.options import BatchOptions
from unetr_app.batch.outcome import Outcome, Problem
from unetr_app.batch.results import write_results
from unetr_app.batch.segmenting import Card
from unetr_app.batch.trouble import disk_trouble
from unetr_app.cases import Case
from unetr_app.errors import UnetrError, UnfitInput, UnreadableInput, UnwritableOutput
from unetr_app.inference.prepared import Prepared
from unetr_app.io import read_volume
from unetr_app.volume import Segmentation, Volume


@dataclass(frozen=True)
class Loaded:
    """A case that is claimed, read and found fit.

    Args:
        case: Under its settled id.
        claim: Held until the case is finished or dropped.
        volume: Its image.
        input_hash: `unetr_app.batch.inputs.input_hash` of it.
        warnings: What was noticed so far.
        forced: Was it accepted against the bundle's training range?
        seconds: Time spent on it so far.
        prepared: The image as it is ready for the network, where that was done ahead.
    """

    case: Case
    claim: Claim
    volume: Volume
    input_hash: str
    warnings: tuple[str, ...]
    forced: bool
    seconds: float
    prepared: Prepared | Volume | None = None


def _hash_if_readable(case: Case) -> str:
    try:
        return hash_of(case)
    except UnreadableInput:
        return ""


class CaseWorker:
    """Reads cases and writes their results; safe to use from several threads.

    Args:
        folder: Where results go.
        journal: Its manifest.
        card: The bundle's card.
        options: What the user decided.

    Attributes:
        stopped: The trouble that every further case would meet too, once there was one.
    """

    def __init__(self, folder: OutputFolder, journal: Journal, card: Card, options: BatchOptions):
        self._folder = folder
        self._journal = journal
        self._card = card
        self._options = options
        self._recipe = Recipe.of(card, options)
        self._at_start = journal.rows()
        self._reading: list[Claim] = []
        self._gate = threading.Lock()
        self._is_over = False
        self.stopped: UnwritableOutput | None = None

    def prepare(self, case: Case) -> Loaded | Outcome | None:
        """Claim and read a case.

        Args:
            case: As found.

        Returns:
            The loaded case; or its outcome where it is done already or failed; or None where
            another process works on it.

        Raises:
            UnwritableOutput: If the output folder cannot be used.
        """
        started = time.monotonic()
        settled, claim = self._claim(case)
        if claim is None:
            return None
        try:
            result = self._prepare(settled, claim, started)
        except Exception as error:  # one bad case must not end the batch
            if not claim.lock.is_held:
                return None
            result = self._failed(settled, error, seconds=time.monotonic() - started)
        except BaseException:
            claim.release()
            raise
        self._reading.remove(claim)
        if isinstance(result, Outcome):
            claim.release()
        return result

    def drop_reading(self) -> None:
        """Let go of the cases that are being read; what their reading brings is void."""
        with self._gate:
            self._is_over = True
            for claim in list(self._reading):
                claim.release()

    def _claim(self, case: Case) -> tuple[Case, Claim | None]:
        """The case under its settled id, which still holds once the claim is held."""
        while True:
            settled = settle(case, self._journal.rows(), self._folder)
            with self._gate:  # what is claimed later than the end would stay claimed
                claim = None if self._is_over else self._folder.claim(settled.id)
                if claim is None:
                    return settled, None
                self._reading.append(claim)
            if settle(case, self._journal.rows(), self._folder) == settled:
                return settled, claim
            self._reading.remove(claim)
            claim.release()

    def _prepare(self, case: Case, claim: Claim, started: float) -> Loaded | Outcome:
        self._folder.check_free_of_inputs(case.id)
        row = self._journal.rows().get(case.id)
        decision = decide(
            case, row, recipe=self._recipe, options=self._options, folder=self._folder
        )
        if row is not None and self._is_settled(row, decision):
            return self._left_as_it_is(case, row)
        require_sources(case, self._options.formats)
        volume = read_volume(case, regularise=self._options.regularise)
        warnings, forced = self._check_fit(volume)
        return Loaded(
            case, claim, volume,
            input_hash=decision.input_hash,
            warnings=(*case.warnings, *volume.warnings, *warnings),
            forced=forced,
            seconds=time.monotonic() - started,
        )  # fmt: skip

    def _is_settled(self, row: Row, decision: Decision) -> bool:
        """Nothing to do: done before, or ended by another process while this batch runs."""
        if not decision.needed:
            return True
        if row == self._at_start.get(row.outcome.case_id):
            return False
        if row.outcome.status == "done":
            same = row.key == self._recipe.key(decision.input_hash, forced=row.forced)
            return same and self._folder.holds(row.hashes)
        same_recipe = (row.bundle, row.parameters) == (self._recipe.bundle, self._recipe.parameters)
        return same_recipe and row.input_hash == decision.input_hash and not self._options.force

    def _left_as_it_is(self, case: Case, row: Row) -> Outcome:
        """The recorded outcome; the record follows an input that has moved."""
        here = path_from(self._folder.root, case.input)
        outcome = replace(row.outcome, input=case.input)
        if row.input_from_manifest != here:
            with suppress(UnwritableOutput):
                self._journal.append(replace(row, outcome=outcome, input_from_manifest=here))
        return replace(outcome, resumed=outcome.status == "done")

    def _check_fit(self, volume: Volume) -> tuple[list[str], bool]:
        training_range = self._card.training_range
        if training_range is None:
            return [], False
        try:
            return list(training_range.check(volume)), False
        except UnfitInput:
            if not self._options.force:
                raise
            return [
                f"accepted by force: {w}" for w in training_range.check(volume, force=True)
            ], True

    def map_paths(self, loaded: Loaded) -> dict[str, Path]:
        """Where inference leaves the maps that are wanted, until they are written."""
        if self._options.maps:
            loaded.claim.staging.mkdir(parents=True, exist_ok=True)
        return {name: loaded.claim.staging / f"{name}.npy" for name in self._options.maps}

    def finish(self, loaded: Loaded, segmentation: Segmentation, *, seconds: float) -> Outcome:
        """Write, publish and record the results of a case, and let go of it.

        Args:
            loaded: The case.
            segmentation: On its grid.
            seconds: Time that the network took.

        Returns:
            Its outcome; a failure too.
        """
        started = time.monotonic()
        case = loaded.case
        try:
            if self._options.labels:
                segmentation = segmentation.subset(segmentation.labels.subset(self._options.labels))
            more = write_results(
                loaded.volume, segmentation, case=case, folder=loaded.claim.staging,
                recipe=self._recipe, options=self._options,
            )  # fmt: skip
            return self._done(loaded, more, seconds=loaded.seconds + seconds, since=started)
        except Exception as error:  # one bad case must not end the batch
            spent = loaded.seconds + seconds + time.monotonic() - started
            return self._failed(
                case, error, seconds=spent, input_hash=loaded.input_hash, volume=loaded.volume
            )
        finally:
            loaded.claim.release()

    def fail(self, loaded: Loaded, error: Exception, *, seconds: float) -> Outcome:
        """Record that the network failed on a case, and let go of it."""
        try:
            spent = loaded.seconds + seconds
            return self._failed(loaded.case, error, seconds=spent, input_hash=loaded.input_hash)
        finally:
            loaded.claim.release()

    def _done(self, loaded: Loaded, more: list[str], *, seconds: float, since: float) -> Outcome:
        hashes = self._folder.publish(loaded.claim)
        case = loaded.case
        outcome = Outcome(
            case_id=case.id,
            status="done",
            input=case.input,
            outputs=tuple(hashes),
            seconds=round(seconds + time.monotonic() - since, 3),
            peak_memory_mib=peak_memory_mib(),
            warnings=tuple(dict.fromkeys((*loaded.warnings, *more))),
        )
        try:
            self._journal.append(
                replace(
                    self._row(outcome, loaded.input_hash),
                    hashes=hashes,
                    key=self._recipe.key(loaded.input_hash, forced=loaded.forced),
                    forced=loaded.forced,
                )
            )
        except UnwritableOutput:
            self._folder.remove_results(case.id)  # what is not recorded is not there
            raise
        return outcome

    def _failed(
        self,
        case: Case,
        error: Exception,
        *,
        seconds: float,
        input_hash: str = "",
        volume: Volume | None = None,
    ) -> Outcome:
        """Record a failure; earlier results that it would leave behind are removed.

        A full disk is not the case's fault: earlier good results stay.
        """
        self._note_details(error)
        trouble = disk_trouble(error, self._folder.root, needed=self._needed(volume))
        if trouble is not None:
            error = self.stopped = trouble
        outcome = Outcome(
            case_id=case.id,
            status="failed",
            input=case.input,
            seconds=round(seconds, 3),
            peak_memory_mib=peak_memory_mib(),
            error=Problem.of(error),
        )
        if trouble is None or not self._holds_earlier(case):
            with suppress(UnwritableOutput):  # a folder that is a link stays as it is
                self._folder.remove_results(case.id)
            with suppress(UnwritableOutput):  # a full disk
                self._journal.append(self._row(outcome, input_hash or _hash_if_readable(case)))
        return outcome

    def _holds_earlier(self, case: Case) -> bool:
        """Are the results of an earlier run whole?"""
        with suppress(UnwritableOutput):
            row = self._journal.rows().get(case.id)
            if row is not None and row.outcome.status == "done":
                return self._folder.holds(row.hashes)
        return False

    def explained(self, error: UnetrError) -> UnetrError:
        """The same error, or what to do about the disk where that is behind it."""
        return disk_trouble(error, self._folder.root) or error

    def _needed(self, volume: Volume | None) -> int:
        """Bytes that the results of a case may take at most, roughly."""
        if volume is None:
            return 0
        return volume.data[0].size * (1 + len(self._card.labels) * self._options.split_labels)

    def _row(self, outcome: Outcome, input_hash: str) -> Row:
        return Row(
            outcome,
            input_from_manifest=path_from(self._folder.root, outcome.input),
            input_hash=input_hash,
            bundle=self._recipe.bundle,
            parameters=self._recipe.parameters,
        )

    def _note_details(self, error: Exception) -> None:
        if self._options.debug:
            path = self._folder.root / DEBUG_LOG
            with suppress(OSError), path.open("a", encoding="utf-8", errors="replace") as log:
                log.writelines(traceback.format_exception(error))
