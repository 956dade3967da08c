"""Whether the operator itself has to end the running attempt, and for what reason.

The order is written into status before the pod is deleted (`steps.stop`): whoever judges the end, after whatever
restart, must know that it was our own doing. Once given, an order stands, whatever the spec says a moment later: the
program may have been told already.
"""

from __future__ import annotations

from datetime import datetime

from waypost.contract import StopReason
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import timestamp
from waypost_operator.model.spec import TaskSpec
from waypost_operator.model.status import Stopping, TaskStatus
from waypost_operator.policy import deadlines, waiting


def order(spec: TaskSpec, status: TaskStatus, pod: Pod, now: datetime) -> Stopping | None:
    """The order to end this attempt, if there is a reason; `pod` is its pod, which still runs or may."""
    found = _reason(spec, status, pod, now)
    if found is None:
        return None
    reason, message = found
    return Stopping(reason=reason, since=timestamp(now), message=message[:1024])


def _reason(spec: TaskSpec, status: TaskStatus, pod: Pod, now: datetime) -> tuple[StopReason, str] | None:
    if spec.suspend:
        return StopReason.SUSPENDED, "spec.suspend is true"
    if _passed(deadlines.active(spec, status), now):
        return StopReason.ACTIVE_DEADLINE, f"activeDeadlineSeconds ({spec.active_deadline_seconds}) passed"
    if status.current is not None and _passed(deadlines.attempt(spec, status.current, pod), now):
        return StopReason.ATTEMPT_DEADLINE, f"it ran for attemptDeadlineSeconds ({spec.attempt_deadline_seconds})"
    if _passed(deadlines.pending(spec, pod), now):
        kind, message = waiting.waits_for(pod)
        why = f"{kind}: {message}" if kind else "neither scheduler nor kubelet says why"
        said = f"not started within pendingDeadlineSeconds ({spec.pending_deadline_seconds}): {why}"
        return StopReason.PENDING_DEADLINE, said
    return None


def _passed(deadline: datetime | None, now: datetime) -> bool:
    return deadline is not None and now >= deadline
