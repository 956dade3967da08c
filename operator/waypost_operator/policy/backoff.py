"""When the next attempt may start, counted from the end of the last one.

A preempted task that made progress is relaunched at once, the hundredth time as the first. Whatever brought no
progress waits `initialSeconds`, doubled with each end of its kind in a row, up to `maxSeconds`. An end that we ordered
ourselves is followed at once (a deadline's, without progress, like a failure). A vanished pod
and a refused one get one relaunch at once: nothing suggests that the next would end the same way.

The jitter (up to a tenth less) comes from the task's UID and the attempt, so that a thousand tasks preempted
together don't come back together, while every decision about one of them computes the same moment.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from waypost.contract import Outcome
from waypost_operator.model.raw import NO_TIME, moment, seconds
from waypost_operator.model.spec import Backoff
from waypost_operator.model.status import Attempt, SinceProgress

JITTER = 0.1
"""Fraction by which a wait may be shorter than computed."""


def next_start(attempt: Attempt, since: SinceProgress, backoff: Backoff, task_uid: str) -> datetime:
    """When the attempt after this ended one may start; its `finished` when there is nothing to wait for."""
    return (moment(attempt.finished) or NO_TIME) + delay(attempt, since, backoff, task_uid)


def delay(attempt: Attempt, since: SinceProgress, backoff: Backoff, task_uid: str) -> timedelta:
    """How long to wait after this end, given what has happened since the last progress (this end included)."""
    in_a_row = _in_a_row(attempt, since)
    if in_a_row <= 0:
        return timedelta(0)
    doubled = backoff.initial_seconds * 2.0 ** min(in_a_row - 1, 32)
    return seconds(min(doubled, backoff.max_seconds) * (1 - JITTER * _fraction(task_uid, attempt.attempt)))


def _in_a_row(attempt: Attempt, since: SinceProgress) -> int:
    """Which wait it is: 1 is the first, 0 or less none."""
    match attempt.outcome:
        case Outcome.PREEMPTED | Outcome.DELETED:
            return 0 if attempt.progressed else since.preemptions
        case Outcome.RECOVERABLE:
            return 0 if attempt.progressed else since.failures
        case Outcome.FAILED:
            return since.failures
        case Outcome.STORAGE_UNAVAILABLE:
            return since.storage
        case Outcome.EXCUSED:
            return 0 if attempt.progressed else since.excused
        case Outcome.UNKNOWN:
            return since.unknown - 1
        case Outcome.REFUSED | Outcome.FENCED:
            return since.refused - 1
        case Outcome.REJECTED:
            return since.refused
    return 0


def _fraction(task_uid: str, attempt: int) -> float:
    digest = hashlib.blake2b(f"{task_uid}/{attempt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32
