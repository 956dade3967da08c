"""`status.conditions` as a list-map: set one, leave everybody else's alone."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from waypost.contract import ConditionReason, ConditionType
from waypost_operator.model.raw import timestamp
from waypost_operator.model.status import Condition, TaskStatus

MESSAGE_LIMIT = 8192
"""Characters of a message kept; an API server's refusal may quote a whole template."""


def with_condition(
    status: TaskStatus,
    kind: ConditionType,
    value: Literal["True", "False"],
    reason: ConditionReason,
    message: str,
    *,
    now: datetime,
    generation: int,
) -> TaskStatus:
    """The status with that condition set; `lastTransitionTime` moves only when its status changes."""
    before = status.condition(kind)
    since = before.last_transition_time if before is not None and before.status == value else timestamp(now)
    entry = Condition(
        type=kind,
        status=value,
        reason=reason,
        message=message[:MESSAGE_LIMIT],
        last_transition_time=since,
        observed_generation=generation,
    )
    if before is None:
        return status.model_copy(update={"conditions": [*status.conditions, entry]})
    replaced = [entry if old.type == kind else old for old in status.conditions]
    return status.model_copy(update={"conditions": replaced})
