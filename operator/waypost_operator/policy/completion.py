"""Whether the end of an attempt is the end of the task, and how.

`Succeeded` means that the program ran to its end; whether it did has been judged already (`classify`). A task
fails when its failures since the last progress exceed `maxFailures`, when its checkpoints are beyond repair, or when
a rule of the user's says so.
A preemption ends a task only where `preemptionPolicy.maxPreemptions` limits them, and time only where a deadline does.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime

from waypost import contract
from waypost.contract import ConditionReason, Outcome, Placement, StopReason
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import timestamp
from waypost_operator.model.spec import TaskSpec
from waypost_operator.model.status import MAX_ATTEMPT, Attempt, TaskStatus
from waypost_operator.policy import deadlines

LONGEST_RESULT = 1024
"""Characters, as the status allows."""


@dataclasses.dataclass(frozen=True)
class Ending:
    """The task is over."""

    succeeded: bool
    reason: ConditionReason
    message: str


def ending(status: TaskStatus, spec: TaskSpec, now: datetime, *, fails_task: bool = False) -> Ending | None:
    """How the task ended with its last attempt, or None if another one follows. `fails_task`: its rule says Fail."""
    attempt, since, policy = status.attempts[-1], status.since_progress, spec.failure_policy
    number, what = attempt.attempt, attempt.evidence or attempt.outcome
    if attempt.outcome is Outcome.COMPLETED:
        return Ending(True, ConditionReason.COMPLETED, f"attempt {number} completed: {what}")
    if attempt.outcome is Outcome.CHECKPOINT_CORRUPT:
        return Ending(False, ConditionReason.CHECKPOINT_CORRUPT, f"attempt {number} can't be followed: {what}")
    if _never_started(attempt) and (spec.preemption_policy.on_demand is None or _on_demand(attempt)):
        return Ending(False, ConditionReason.PENDING_DEADLINE_EXCEEDED, f"attempt {number}: {what}")
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
    too_late = out_of_time(spec, status, now)
    if too_late is not None:
        return too_late
    if next_number(attempt) > MAX_ATTEMPT:
        return Ending(
            False, ConditionReason.CHECKPOINT_CORRUPT, f"attempt {number}: no number is left above its store's: {what}"
        )
    return None


def result(pod: Pod | None, document: contract.Document | None) -> str | None:
    """What a program that ran to its end says of itself: in its document, else in a termination message of its own."""
    if document is not None:
        return document.result
    if pod is None or pod.ended is None or pod.document is not None:
        return None
    return pod.ended.message.strip()[:LONGEST_RESULT] or None


def out_of_time(spec: TaskSpec, status: TaskStatus, now: datetime) -> Ending | None:
    """The end of a task that has been active for too long, if it has."""
    deadline = deadlines.active(spec, status)
    if deadline is None or now < deadline:
        return None
    attempt = status.current
    last = f"; attempt {attempt.attempt}: {attempt.evidence}" if attempt is not None and attempt.evidence else ""
    said = f"activeDeadlineSeconds ({spec.active_deadline_seconds}) passed at {timestamp(deadline)}{last}"
    return Ending(False, ConditionReason.DEADLINE_EXCEEDED, said)


def leave_template(status: TaskStatus) -> str:
    """Why the next attempt leaves the template's machines although nothing was preempted; empty if it needn't."""
    last = status.attempts[-1] if status.attempts else None
    return "no start within pendingDeadlineSeconds" if last is not None and _never_started(last) else ""


def _never_started(attempt: Attempt) -> bool:
    ordered = attempt.stopping is not None and attempt.stopping.reason is StopReason.PENDING_DEADLINE
    return ordered and attempt.outcome is Outcome.DEADLINE_EXCEEDED


def _on_demand(attempt: Attempt) -> bool:
    return attempt.placement is Placement.ON_DEMAND


def next_number(attempt: Attempt) -> int:
    """The number of the next attempt: one more, but always above what the store knows."""
    return max(attempt.attempt, attempt.highest_attempt or 0) + 1


def _times(failures: int) -> str:
    return "1 failure" if failures == 1 else f"{failures} failures"
