"""When a finished task may go: `ttlSecondsAfterFinished` after its end, which is when `Succeeded` was decided.

Computed from status, so a restarted operator finds the same moment, and from the spec as it is now, so whoever raises
the limit or takes it away before then keeps the task.
"""

from __future__ import annotations

from datetime import datetime

from waypost.contract import ConditionType
from waypost_operator.model.raw import moment, seconds
from waypost_operator.model.spec import TaskSpec
from waypost_operator.model.status import TaskStatus


def expires(spec: TaskSpec, status: TaskStatus) -> datetime | None:
    """When the task is to be deleted; None without a limit, and for a task that isn't over."""
    verdict = status.condition(ConditionType.SUCCEEDED)
    finished = moment(verdict.last_transition_time) if verdict is not None and status.finished else None
    if spec.ttl_seconds_after_finished is None or finished is None:
        return None
    return finished + seconds(spec.ttl_seconds_after_finished)
