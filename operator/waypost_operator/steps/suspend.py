"""Suspended: nothing of the task runs and nothing is started; and what resuming it takes.

The running attempt is ended by `steps.stop`; here is what holds before the first attempt, between two, and after that
end. A number that was opened but whose pod isn't known to exist stays open: its pod is created on resuming, and one
that turns up all the same is stopped like any other.
"""

from __future__ import annotations

from datetime import datetime

from waypost.contract import ConditionReason, ConditionType, EventReason, Outcome
from waypost_operator.model.decision import Decision, TaskEvent, Wait
from waypost_operator.model.raw import moment, timestamp
from waypost_operator.model.status import TaskStatus
from waypost_operator.steps import upkeep
from waypost_operator.steps.situation import Situation

HINT = "set spec.suspend to false to go on"


def suspended(s: Situation, status: TaskStatus, message: str) -> TaskStatus:
    """The status of a task that has come to rest: since the order to stop, or since now."""
    entry = status.current
    ordered = None
    if entry is not None and entry.outcome is Outcome.SUSPENDED and entry.stopping is not None:
        ordered = entry.stopping.since
    since = status.suspended_since or ordered or timestamp(s.now)
    status = status.model_copy(update={"suspended_since": since})
    return s.with_condition(status, ConditionType.PROGRESSING, False, ConditionReason.SUSPENDED, message)


def hold(s: Situation) -> Decision | None:
    """Say that the task is suspended, once nothing of it runs, and leave it at that."""
    if not s.spec.suspend or not s.between_attempts:
        return None
    if s.status.suspended_since:
        return upkeep.old_pods(s) or upkeep.spec_seen(s) or Decision(Wait(), "suspended")
    said = f"suspended before its first attempt; {HINT}" if not s.status.attempt else f"suspended; {HINT}"
    return s.write(suspended(s, s.status, said), said, TaskEvent("Normal", EventReason.SUSPENDED, said))


def resume(s: Situation) -> Decision | None:
    """Take the mark away, and add up the time that doesn't count for activeDeadlineSeconds."""
    since = moment(s.status.suspended_since)
    if s.spec.suspend or since is None:
        return None
    said = f"resumed, it was suspended since {timestamp(since)}"
    uncounted = s.status.suspended_seconds + _after_the_first_start(s, since)
    status = s.status.model_copy(update={"suspended_since": None, "suspended_seconds": uncounted})
    status = s.with_condition(status, ConditionType.PROGRESSING, True, ConditionReason.STARTING, said)
    return s.write(status, said, TaskEvent("Normal", EventReason.RESUMED, said))


def change_of_mind(s: Situation, status: TaskStatus) -> TaskStatus:
    """The task goes on although its attempt was ended to suspend it: the time since that order doesn't count either."""
    entry = status.current
    if entry is None or entry.outcome is not Outcome.SUSPENDED or entry.stopping is None:
        return status
    since = moment(entry.stopping.since) or s.now
    return status.model_copy(update={"suspended_seconds": status.suspended_seconds + _after_the_first_start(s, since)})


def _after_the_first_start(s: Situation, since: datetime) -> int:
    """Seconds of this suspension that lie in the time which activeDeadlineSeconds counts."""
    started = moment(s.status.first_started)
    return 0 if started is None else max(int((s.now - max(since, started)).total_seconds()), 0)
