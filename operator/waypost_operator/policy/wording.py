"""What people read: one sentence per end, saying what happened, why, where the task stands and what comes next.

`kubectl describe` has to be enough, so each sentence names the evidence, the budget it used and the next time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from waypost.contract import EventReason, Outcome
from waypost_operator.model.raw import timestamp
from waypost_operator.model.spec import FailurePolicy
from waypost_operator.model.status import Attempt, SinceProgress
from waypost_operator.policy.completion import next_number

VERBS: dict[Outcome, str] = {
    Outcome.COMPLETED: "completed",
    Outcome.PREEMPTED: "was preempted",
    Outcome.RECOVERABLE: "asked to be relaunched",
    Outcome.FAILED: "failed",
    Outcome.STORAGE_UNAVAILABLE: "couldn't use its checkpoint store",
    Outcome.CHECKPOINT_CORRUPT: "found no checkpoint that it could use",
    Outcome.FENCED: "was fenced off by a newer attempt",
    Outcome.REFUSED: "was refused by its checkpoint store",
    Outcome.DELETED: "was deleted",
    Outcome.SUSPENDED: "was suspended",
    Outcome.DEADLINE_EXCEEDED: "was stopped",
    Outcome.EXCUSED: "ended and doesn't count",
    Outcome.REJECTED: "was rejected by its node",
    Outcome.UNKNOWN: "was lost",
}

EVENTS: dict[Outcome, tuple[Literal["Normal", "Warning"], EventReason]] = {
    Outcome.COMPLETED: ("Normal", EventReason.ATTEMPT_ENDED),
    Outcome.PREEMPTED: ("Normal", EventReason.PREEMPTED),
    Outcome.RECOVERABLE: ("Normal", EventReason.ATTEMPT_ENDED),
    Outcome.FAILED: ("Warning", EventReason.ATTEMPT_ENDED),
    Outcome.STORAGE_UNAVAILABLE: ("Warning", EventReason.STORAGE_UNAVAILABLE),
    Outcome.CHECKPOINT_CORRUPT: ("Warning", EventReason.ATTEMPT_ENDED),
    Outcome.FENCED: ("Warning", EventReason.ATTEMPT_ENDED),
    Outcome.REFUSED: ("Warning", EventReason.ATTEMPT_ENDED),
    Outcome.DELETED: ("Normal", EventReason.ATTEMPT_ENDED),
    Outcome.SUSPENDED: ("Normal", EventReason.SUSPENDED),
    Outcome.DEADLINE_EXCEEDED: ("Warning", EventReason.ATTEMPT_ENDED),
    Outcome.EXCUSED: ("Normal", EventReason.ATTEMPT_ENDED),
    Outcome.REJECTED: ("Warning", EventReason.ATTEMPT_ENDED),
    Outcome.UNKNOWN: ("Warning", EventReason.ATTEMPT_ENDED),
}


def ended(attempt: Attempt) -> str:
    """'attempt 3 was preempted (EvictionByEvictionAPI on node-2) at step 41'."""
    verb = VERBS[attempt.outcome] if attempt.outcome else "ended"
    why = f" ({attempt.evidence})" if attempt.evidence else ""
    return f"attempt {attempt.attempt} {verb}{why}{_where(attempt)}"


def _where(attempt: Attempt) -> str:
    if attempt.outcome in (Outcome.REJECTED, Outcome.REFUSED, Outcome.UNKNOWN, Outcome.COMPLETED):
        return ""
    if attempt.exit_code is None and attempt.committed is None:
        return ""  # nobody heard of its last checkpoint; its successor will tell
    position = attempt.committed or attempt.resumed_from
    if position is None:
        return " before its first checkpoint"
    place = f"checkpoint {position.sequence}" if position.step is None else f"step {position.step}"
    return f" at {place}" if attempt.committed else f" at {place}, where it had resumed"


def followed_at_once(attempt: Attempt) -> str:
    """What comes next when nothing has to be waited for."""
    return f"{ended(attempt)}; starting attempt {next_number(attempt)} now, it resumes from the newest checkpoint"


def followed_later(attempt: Attempt, since: SinceProgress, policy: FailurePolicy, start: datetime) -> str:
    """What comes next, when, and which budget it was booked on."""
    bucket = _bucket(attempt, since, policy)
    return f"{ended(attempt)}; {bucket}: attempt {next_number(attempt)} starts at {timestamp(start)}"


def followed_when_gone(attempt: Attempt, pod: str) -> str:
    """What comes next when the old pod has to go first."""
    return f"{ended(attempt)}; attempt {next_number(attempt)} starts as soon as pod {pod} has ended"


def _bucket(attempt: Attempt, since: SinceProgress, policy: FailurePolicy) -> str:
    match attempt.outcome:
        case Outcome.FAILED | Outcome.RECOVERABLE:
            return f"failure {since.failures} of {policy.max_failures} allowed since the last progress"
        case Outcome.PREEMPTED | Outcome.DELETED:
            return f"{_number(since.preemptions, 'preemption')} without progress"
        case Outcome.STORAGE_UNAVAILABLE:
            return f"{_number(since.storage, 'attempt')} without a usable store, none counted as a failure"
        case Outcome.EXCUSED:
            return f"{_number(since.excused, 'excused end')} without progress, none counted as a failure"
        case Outcome.UNKNOWN:
            return f"{_number(since.unknown, 'pod')} lost since the last progress"
    return f"{_number(since.refused, 'attempt')} not let in since the last progress"


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
