"""Outcome: how one case of a batch ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

from unetr_app.errors import DeviceMemory, UnetrError

Status = Literal["done", "failed"]


@dataclass(frozen=True)
class Problem:
    """Why a case failed, in words for people.

    Args:
        code: Stable name of the kind of problem, such as ``"unreadable-input"``.
        cause: What was found, and in which file.
        cure: What the user can do next; empty where there is nothing to do.
    """

    code: str
    cause: str
    cure: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Problem:
        """The problem that an exception stands for; the words of foreign ones are not repeated."""
        if isinstance(error, UnetrError):
            return cls(error.code, error.cause, error.cure)
        if isinstance(error, MemoryError):
            return cls(
                DeviceMemory.code,
                "the computer ran out of memory on this case",
                "Close other programs, use --jobs 0, or crop the image to the region of interest.",
            )
        return cls(
            "unexpected",
            f"an unexpected error of type {type(error).__name__} stopped this case",
            "Run it again with --debug and report what the debug log says.",
        )

    def __str__(self) -> str:
        return str(UnetrError(self.cause, cure=self.cure))


@dataclass(frozen=True)
class Outcome:
    """How one case ended; every case that was not left over gets exactly one.

    Args:
        case_id: The case's folder in the output folder.
        status: ``"done"`` or ``"failed"``.
        input: The input as it was typed or found.
        outputs: Paths of the files written, relative to the output folder; none where failed.
        seconds: Time spent on the case itself: reading, segmenting, writing.
        peak_memory_mib: Largest resident memory of the process up to the end of this case.
        warnings: What the user should know though the case is done.
        error: The problem; None exactly where the case is done.
        resumed: Done by an earlier run (or by another process) and left as it is.

    Raises:
        ValueError: If status, error and outputs contradict each other.
    """

    case_id: str
    status: Status
    input: str
    outputs: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    warnings: tuple[str, ...] = ()
    error: Problem | None = None
    resumed: bool = False

    def __post_init__(self) -> None:
        if self.status not in ("done", "failed"):
            raise ValueError(f"status is {self.status!r}, not 'done' or 'failed'")
        if (self.status == "done") != (self.error is None):
            raise ValueError("a case has an error exactly where it failed")
        if self.status == "failed" and self.outputs:
            raise ValueError("a failed case has no outputs")


@dataclass(frozen=True)
class BatchResult(Sequence[Outcome]):
    """The outcomes of a batch, in the order of its cases; a sequence of `Outcome`.

    Args:
        outcomes: One for each case that ended.
        remaining: Ids of the cases that were not begun or were dropped half-way.
        stopped: Why the batch stopped before its end; None where it came to its end.

    Raises:
        ValueError: If a case is counted twice.
    """

    outcomes: tuple[Outcome, ...]
    remaining: tuple[str, ...] = ()
    stopped: UnetrError | None = None

    def __post_init__(self) -> None:
        ids = [*(outcome.case_id for outcome in self.outcomes), *self.remaining]
        if len(set(ids)) != len(ids):
            raise ValueError("a case is counted twice")

    @overload
    def __getitem__(self, index: int) -> Outcome: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Outcome, ...]: ...
    def __getitem__(self, index: int | slice) -> Outcome | tuple[Outcome, ...]:
        return self.outcomes[index]

    def __len__(self) -> int:
        return len(self.outcomes)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    @property
    def done(self) -> tuple[Outcome, ...]:
        """Cases that this run segmented."""
        return tuple(o for o in self.outcomes if o.status == "done" and not o.resumed)

    @property
    def skipped(self) -> tuple[Outcome, ...]:
        """Cases that were already done."""
        return tuple(o for o in self.outcomes if o.status == "done" and o.resumed)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Cases that failed."""
        return tuple(o for o in self.outcomes if o.status == "failed")

    @property
    def inputs(self) -> int:
        """How many cases there were: done, failed, already done and remaining."""
        return len(self.done) + len(self.failed) + len(self.skipped) + len(self.remaining)
