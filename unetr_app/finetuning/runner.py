"""Runner: a fine-tuning from beginning to end, or on from where it was stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetr_app.batch.lock import FileLock
from unetr_app.bundle import PathLike, trust
from unetr_app.bundle.trust import folder_hash
from unetr_app.errors import InvalidRequest, UnetrError, UnusableWeights, UnwritableOutput
from unetr_app.finetuning.base_bundle import BaseBundle, open_base
from unetr_app.finetuning.checked_case import CheckedCase, check_cases
from unetr_app.finetuning.holding_out import held_out
from unetr_app.finetuning.label_match import match_labels
from unetr_app.finetuning.new_bundle import copy_base, describe, record
from unetr_app.finetuning.options import FinetuneOptions, FinetuneProgress, Stage
from unetr_app.finetuning.recipe import HELD_OUT, PROGRESS, TRAINED, WEIGHTS, overrides
from unetr_app.finetuning.result import Finetuned, label_scores, read_scores
from unetr_app.finetuning.stages import Job, StageClock, read_progress
from unetr_app.finetuning.training_case import INDEX, dataset_folder, read_dataset
from unetr_app.finetuning.workplace import ELSEWHERE, RECORD, Workplace
from unetr_app.io.atomic import write_json
from unetr_app.version import __version__

OnProgress = Callable[[FinetuneProgress], None]
ShouldStop = Callable[[], bool]


def finetune(
    dataset: PathLike,
    bundle: PathLike,
    out: PathLike,
    options: FinetuneOptions | None = None,
    *,
    progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Finetuned:
    """Train a bundle's weights on for a short while, as a new bundle; the old one never changes.

    The held-out cases are segmented before and after, as `Segmenter` does it, and compared on
    their own grids. A run that was stopped goes on when it is asked for again.

    Args:
        dataset: Folder with ``dataset.json``, as ``unetr dataset`` makes it.
        bundle: Name or folder of the bundle to start from; a foreign one must be trusted.
        out: The new bundle's folder: new, empty, or that of this very run, unfinished.
        options: What the user decides.
        progress: Told how far it is.
        should_stop: Asked several times a second.

    Raises:
        Cancelled: If ``should_stop`` said so; nothing that was done is lost.
        InvalidRequest: If labels do not match, cases are too few, or the folder is taken.
        UnusableBundle: If the bundle cannot be trained, or its training fails.
        DeviceMemory: If memory runs out.
        UnwritableOutput: If the disk is full or the folder cannot be written to.
        UnetrError: If a case cannot be read.
    """
    base = open_base(bundle)
    place = Workplace(Path(out).resolve())
    data = dataset_folder(Path(dataset).resolve())
    _require_elsewhere(base, data, place)
    place.require_new_or_unfinished()
    run = _Run(
        base, place, options or FinetuneOptions(),
        progress or (lambda _: None), should_stop or (lambda: False),
    )  # fmt: skip
    lock = FileLock(place.lock)
    if not lock.take():
        raise InvalidRequest(
            "another process is working on it", cure=f"Wait for it. {ELSEWHERE}", path=place.out
        )
    try:
        result = run.whole(data)
    except BaseException:
        lock.release()
        _remove_if_nothing_began(place)
        raise
    lock.release()
    place.clear()
    return result


def _require_elsewhere(base: BaseBundle, dataset: Path, place: Workplace) -> None:
    for folder, what in ((base.card.path.resolve(), "the base"), (dataset, "the data set")):
        if place.out == folder or folder in place.out.parents or place.out in folder.parents:
            raise InvalidRequest(
                f"the new bundle would lie in the folder of {what}, or around it",
                cure=ELSEWHERE, path=place.out,
            )  # fmt: skip


def _remove_if_nothing_began(place: Workplace) -> None:
    """A request that was refused leaves no folder behind."""
    if not place.identity.is_file():
        place.clear()
        try:
            place.out.rmdir()
        except OSError:
            return  # it holds something, or never was


@dataclass(frozen=True)
class _Run:
    base: BaseBundle
    place: Workplace
    options: FinetuneOptions
    progress: OnProgress
    should_stop: ShouldStop

    def whole(self, dataset: Path) -> Finetuned:
        cases, dataset_hash = self._checked(dataset)
        trained = [case for case in cases if not case.is_held_out]
        held = [case for case in cases if case.is_held_out]
        hashes = {case.key for case in trained}
        self.place.begin({
            "base": folder_hash(self.base.card.path), "weights": self.base.card.weights_hash,
            "dataset": dataset_hash, "held_out": sorted(case.key for case in held),
            "options": self.options.decisive,
        })  # fmt: skip
        facts = {
            "held_out_cases": len(held),
            "options": self.options.decisive,
            "dataset_hash": dataset_hash,
            "trained_on": sorted(hashes | self.base.seen),
            "held_out": sorted(case.key for case in held),
            "software": f"unetr-app {__version__}",
        }
        if not self._is_described:
            copy_base(self.base, self.place.bundle)
            self._write_dataset(cases)
            self._score("before", held)
            self._train(len(trained))
            self._put_weights()
            self._score("after", held)
        return self._finished(held, len(trained), facts)

    @property
    def _is_described(self) -> bool:
        """Was it stopped while the finished bundle was put in place?"""
        return self.place.scores("result").is_file()

    def _checked(self, dataset: Path) -> tuple[list[CheckedCase], str]:
        cases, labels = read_dataset(dataset)
        table = match_labels(labels, self.base.card.labels, self.options.rename)
        chosen = held_out(cases, fold=self.options.fold, seed=self.options.seed)
        clock = StageClock("checking", self.progress)
        checked = check_cases(
            cases, chosen, table, self.base.card.labels, self.place.labels,
            progress=clock, should_stop=self.should_stop,
        )  # fmt: skip
        rows = sorted([case.id, case.key, case.label_hash] for case in checked)
        return checked, hashlib.sha256(
            json.dumps([rows, sorted(table.items())]).encode()
        ).hexdigest()

    def _write_dataset(self, cases: Sequence[CheckedCase]) -> None:
        rows = [
            {"image": str(case.image), "label": str(case.label),
             "fold": HELD_OUT if case.is_held_out else TRAINED}
            for case in cases
        ]  # fmt: skip
        write_json(self.place.data / INDEX, {"training": rows})

    def _score(self, when: Stage, held: Sequence[CheckedCase]) -> None:
        scores = self.place.scores(when)
        if {row["case"] for row in read_scores(scores)} == {case.key for case in held}:
            return
        clock = StageClock(when, self.progress)
        job = Job(self.place, self.should_stop)
        cases = [
            {"key": c.key, "image": str(c.image), "label": str(c.label)}
            for c in held
        ]  # fmt: skip
        job.run(
            {"kind": "score", "bundle": str(self.place.bundle), "device": self.options.device,
             "cases": cases, "scores": str(scores)},
            lambda: clock(len(read_scores(scores)), len(held)),
        )  # fmt: skip

    def _train(self, trained: int) -> None:
        if (self.place.train / "took.json").is_file():
            return
        clock = StageClock("training", self.progress)
        settings = self.place.root / "overrides.json"
        write_json(settings, overrides(self.base, self.place, self.options, trained))
        seconds, peak = Job(self.place, self.should_stop).run(
            {"kind": "train", "bundle": str(self.place.bundle), "overrides": str(settings),
             "config": str(self.place.bundle / "configs" / "train.yaml")},
            lambda: read_progress(self.place.train / PROGRESS, clock),
        )  # fmt: skip
        if not (self.place.train / WEIGHTS).is_file():
            raise UnusableWeights(
                f"the training of {self.base.card.name} wrote no {WEIGHTS}",
                cure="Its configs/train.yaml must save the weights as output_dir/model.pt.",
            )
        write_json(self.place.train / "took.json", {"seconds": seconds, "peak_bytes": peak})

    def _put_weights(self) -> None:
        target = self.place.bundle / self.base.weights
        part = target.with_name("model.part")
        try:
            shutil.copyfile(self.place.train / WEIGHTS, part)
            part.replace(target)
        except OSError as error:
            raise UnwritableOutput(
                f"the weights could not be written: {error.strerror}", path=target,
                cure="Free some space and run the same command again.",
            ) from error  # fmt: skip

    def _finished(
        self, held: Sequence[CheckedCase], trained: int, facts: dict[str, Any]
    ) -> Finetuned:
        before, after = (read_scores(self.place.scores(when)) for when in ("before", "after"))
        labels, together, interval = label_scores(before, after, self.base.card.labels)
        took = json.loads((self.place.train / "took.json").read_text(encoding="utf-8"))
        result = Finetuned(
            self.place.out, labels, together, interval, trained, float(took["seconds"]),
            int(took["peak_bytes"]), tuple(self._warnings(held, labels)),
        )  # fmt: skip
        if not self._is_described:
            describe(self.place.bundle, self.base, result)
            write_json(self.place.scores("result"), {})
        self.place.publish()
        write_json(self.place.out / RECORD, record(self.base, result, facts))
        try:
            trust(self.place.out)  # its programs are the base's, which is trusted
        except UnetrError:
            return result  # it is asked about when it is used
        return result

    def _warnings(self, held: Sequence[CheckedCase], labels: Sequence[Any]) -> list[str]:
        said: list[str] = []
        seen = sum(case.key in self.base.seen for case in held)
        if seen:
            said.append(
                f"{seen} of the {len(held)} held-out cases were trained on in an earlier "
                "fine-tuning: the figures before flatter"
            )
        same = sum(_is_the_bases_own(row) for row in read_scores(self.place.scores("before")))
        if same:
            said.append(
                f"the labels of {same} of the {len(held)} held-out cases are what the bundle you "
                "started from says itself: there the new weights could not be better"
            )
        worse = [s.name for s in labels if (s.after or 0.0) < (s.before or 0.0)]
        if worse:
            said.append(f"worse than before: {', '.join(worse)}")
        if not any(score.cases for score in labels):
            said.append("no held-out case has any of the labels: nothing was judged")
        return said


def _is_the_bases_own(row: Mapping[str, Any]) -> bool:
    """Are the labels of a case just the prediction of the old weights?"""
    found = [dice for dice in row["dice"].values() if dice is not None]
    return bool(found) and min(found) == 1.0
