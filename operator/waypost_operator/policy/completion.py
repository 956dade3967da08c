"""Whether the end of an attempt is the end of the task, and how.

`Succeeded` means that the program ran to its end; whether it did has been judged already (`classify`). A task
fails when its failures since the last progress exceed `maxFailures`, when its checkpoints are beyond repair, or when
a rule of the user's says so.
A preemption never ends a task.
"""

from __future__ import annotations

import dataclasses

from waypost.contract import ConditionReason, Outcome
from waypost_operator.model.spec import FailurePolicy
from waypost_operator.model.status import MAX_ATTEMPT, Attempt, SinceProgress


@dataclasses.dataclass(frozen=True)
class Ending:
    """The task is over."""

    succeeded: bool
    reason: ConditionReason
    message: str


def ending(attempt: Attempt, since: SinceProgress, policy: FailurePolicy, *, fails_task: bool = False) -> Ending | None:
    """How the task ended with this attempt, or None if another one follows. `fails_task`: its rule says Fail."""
    number, what = attempt.attempt, attempt.evidence or attempt.outcome
    if attempt.outcome is Outcome.COMPLETED:
        return Ending(True, ConditionReason.COMPLETED, f"attempt {number} completed: {what}")
    if attempt.outcome is Outcome.CHECKPOINT_CORRUPT:
        return Ending(False, ConditionReason.CHECKPOINT_CORRUPT, f"attempt {number} can't be followed: {what}")
    if fails_task:
        return Ending(False, ConditionReason.FAILURE_RULE, f"attempt {number}, {what}")
    if since.failures > policy.max_failures and attempt.outcome in (Outcome.FAILED, Outcome.RECOVERABLE):
        since_when = "since the last progress" if since.failures > 1 else "and no more is allowed"
        return Ending(
            False,
            ConditionReason.FAILURES_EXCEEDED,
            f"{_times(since.failures)} {since_when} (maxFailures: {policy.max_failures}); attempt {number}: {what}",
        )
    if next_number(attempt) > MAX_ATTEMPT:
        return Ending(
            False, ConditionReason.CHECKPOINT_CORRUPT, f"attempt {number}: no number is left above its store's: {what}"
        )
    return None


def next_number(attempt: Attempt) -> int:
    """The number of the next attempt: one more, but always above what the store knows."""
    return max(attempt.attempt, attempt.highest_attempt or 0) + 1


def _times(failures: int) -> str:
    return "1 failure" if failures == 1 else f"{failures} failures"
