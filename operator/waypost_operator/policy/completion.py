"""Whether the end of an attempt is the end of the task, and how.

`Succeeded` means that the program ran to its end; whether it did has been judged already (`classify`). A task
fails when its failures since the last progress exceed `maxFailures`, when its checkpoints are beyond repair, or when
a rule of the user's says so.
A preemption ends a task only where `preemptionPolicy.maxPreemptions` limits them.
"""

from __future__ import annotations

import dataclasses

from waypost.contract import ConditionReason, Outcome
from waypost_operator.model.spec import TaskSpec
from waypost_operator.model.status import MAX_ATTEMPT, Attempt, TaskStatus


@dataclasses.dataclass(frozen=True)
class Ending:
    """The task is over."""

    succeeded: bool
    reason: ConditionReason
    message: str


def ending(status: TaskStatus, spec: TaskSpec, *, fails_task: bool = False) -> Ending | None:
    """How the task ended with its last attempt, or None if another one follows. `fails_task`: its rule says Fail."""
    attempt, since, policy = status.attempts[-1], status.since_progress, spec.failure_policy
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
    most, preemptions = spec.preemption_policy.max_preemptions, status.counts.preemptions
    if attempt.outcome is Outcome.PREEMPTED and most is not None and preemptions > most:
        said = f"{preemptions} preemptions (maxPreemptions: {most}); attempt {number}: {what}"
        return Ending(False, ConditionReason.PREEMPTIONS_EXCEEDED, said)
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
