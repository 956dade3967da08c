"""Booking an end: which count it raises, and what progress resets.

Each kind of end has its own count, so that a preemption can never use up what the user granted to failures. The
numbers in `sinceProgress` count ends that made no progress themselves, since the last progress; a failure always
counts, because it happened after the progress. `counts` are totals and only go up.

| outcome | total | since progress |
|---|---|---|
| Completed, CheckpointCorrupt | - | - (the task is over) |
| Preempted | preemptions | preemptions |
| Deleted | freeRetries | preemptions |
| Recoverable, with progress | freeRetries | - |
| Recoverable, without | failures | failures |
| Failed | failures | failures, also with progress |
| StorageUnavailable | freeRetries | storage, also with progress |
| Unknown | freeRetries | unknown |
| Excused | freeRetries | excused |
| Rejected | freeRetries | refused |
| Refused, Fenced | - | refused |
| Suspended, DeadlineExceeded | - | - |
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TypeVar

from waypost.contract import Outcome
from waypost_operator.model.raw import moment, timestamp
from waypost_operator.model.status import Attempt, Checkpoint, Counts, Position, SinceProgress, TaskStatus, Transfer
from waypost_operator.policy import progress
from waypost_operator.policy.classify import Verdict

Numbers = TypeVar("Numbers", Counts, SinceProgress)


@dataclasses.dataclass(frozen=True)
class Booking:
    """Where an outcome is booked: the names of fields of Counts and SinceProgress."""

    total: str | None = None
    without_progress: str | None = None
    even_with_progress: bool = False


BOOKINGS: dict[Outcome, Booking] = {
    Outcome.COMPLETED: Booking(),
    Outcome.CHECKPOINT_CORRUPT: Booking(),
    Outcome.PREEMPTED: Booking("preemptions", "preemptions"),
    Outcome.DELETED: Booking("free_retries", "preemptions"),
    Outcome.FAILED: Booking("failures", "failures", even_with_progress=True),
    Outcome.STORAGE_UNAVAILABLE: Booking("free_retries", "storage", even_with_progress=True),
    Outcome.UNKNOWN: Booking("free_retries", "unknown"),
    Outcome.EXCUSED: Booking("free_retries", "excused"),
    Outcome.REJECTED: Booking("free_retries", "refused"),
    Outcome.REFUSED: Booking(None, "refused"),
    Outcome.FENCED: Booking(None, "refused"),
    Outcome.SUSPENDED: Booking(),
    Outcome.DEADLINE_EXCEEDED: Booking(),
}
NO_SIGN = frozenset({Outcome.SUSPENDED, Outcome.DEADLINE_EXCEEDED, Outcome.COMPLETED})
"""Ends without progress that say nothing about getting anywhere: the operator's own making, and the happy one."""


def booking(outcome: Outcome, *, progressed: bool) -> Booking:
    """A recoverable exit is a free retry if it made progress, and a failure if it did not."""
    if outcome is Outcome.RECOVERABLE:
        return Booking("free_retries") if progressed else BOOKINGS[Outcome.FAILED]
    return BOOKINGS[outcome]


def settle(status: TaskStatus, verdict: Verdict, attempt: Attempt, *, finished: datetime, initial: int) -> TaskStatus:
    """The status with the verdict booked, in one step: history, counts, progress and last checkpoint.

    `attempt` is the record of the current attempt, filled as far as known; `initial` is backoff.initialSeconds.
    """
    document = verdict.document
    resumed_from = document.resumed_from if document else None
    committed = document.committed if document else None

    settled_later = progress.exceeds(
        resumed_from, status.progress, run_seconds=_run_seconds_of_the_one_before(status), initial=initial
    )
    known = progress.highest(status.progress, resumed_from)
    started = moment(attempt.started)
    run_seconds = (finished - started).total_seconds() if started else 0.0
    progressed = progress.exceeds(committed, known, run_seconds=run_seconds, initial=initial)

    entry = attempt.model_copy(
        update={
            "finished": timestamp(finished),
            "outcome": verdict.outcome,
            "rule": verdict.rule,
            "evidence": verdict.evidence,
            "exit_code": verdict.exit_code,
            "progressed": progressed,
            "resumed_from": Position.of(resumed_from),
            "committed": Position.of(committed),
            "restore": Transfer.of(document.restore if document else None),
            "last_save": Transfer.of(document.last_save if document else None),
            "highest_attempt": document.highest_attempt if document else None,
        }
    )
    where = booking(verdict.outcome, progressed=progressed)
    since = SinceProgress() if settled_later or progressed else status.since_progress
    if not progressed and verdict.outcome not in NO_SIGN:
        since = _raised(since, "attempts")
    return status.model_copy(
        update={
            "attempts": [*[old for old in status.attempts if old.attempt != entry.attempt], entry],
            "counts": _raised(_raised(status.counts, "attempts"), where.total),
            "since_progress": _raised(
                since, None if progressed and not where.even_with_progress else where.without_progress
            ),
            "progress": progress.highest(known, committed),
            "last_checkpoint": _last_checkpoint(status, entry),
        }
    )


def _last_checkpoint(status: TaskStatus, entry: Attempt) -> Checkpoint | None:
    """What this attempt committed, else what it resumed from if that is news, else what was known before."""
    if entry.committed is not None:
        return Checkpoint(**entry.committed.model_dump(), attempt=entry.attempt)
    known, found = status.last_checkpoint, entry.resumed_from
    earlier = [old.attempt for old in status.attempts if old.attempt < entry.attempt]
    if found is not None and earlier and (known is None or found.sequence > known.sequence):
        return Checkpoint(**found.model_dump(), attempt=earlier[-1])
    return known


def _raised(counts: Numbers, name: str | None) -> Numbers:
    return counts if name is None else counts.model_copy(update={name: getattr(counts, name) + 1})


def _run_seconds_of_the_one_before(status: TaskStatus) -> float:
    """How long the attempt before the current one ran; it is the one whose commits `resumedFrom` reveals."""
    before = [entry for entry in status.attempts if entry.attempt < status.attempt]
    if not before:
        return 0.0
    started, finished = moment(before[-1].started), moment(before[-1].finished)
    return (finished - started).total_seconds() if started and finished else 0.0
