"""When a task's own limits of time pass. All of them are moments computed from what stands in status and on the pod, so
that a restarted operator computes the same ones, and no timer has to survive.

`activeDeadlineSeconds` counts from when the first attempt began to run, whatever happened since, but the clock stands
while the task is suspended: from the order to stop on, since a user who suspends in time must not lose the task to the
grace of its pod. `attemptDeadlineSeconds` counts from the start of the task container, `pendingDeadlineSeconds` from
the creation of the pod.
"""

from __future__ import annotations

from datetime import datetime

from waypost.contract import Outcome, StopReason
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import moment, seconds
from waypost_operator.model.spec import TaskSpec
from waypost_operator.model.status import Attempt, TaskStatus


def active(spec: TaskSpec, status: TaskStatus) -> datetime | None:
    """When the task has been active for too long; None without a limit, before the first start, and while suspended."""
    started = moment(status.first_started)
    if spec.active_deadline_seconds is None or started is None or _clock_stands(status):
        return None
    return started + seconds(spec.active_deadline_seconds + status.suspended_seconds)


def attempt(spec: TaskSpec, entry: Attempt, pod: Pod) -> datetime | None:
    """When this attempt has run for too long; None without a limit, or before it runs."""
    started = pod.started or moment(entry.started)
    if spec.attempt_deadline_seconds is None or started is None:
        return None
    return started + seconds(spec.attempt_deadline_seconds)


def pending(spec: TaskSpec, pod: Pod) -> datetime | None:
    """When this pod has waited for its start for too long; None without a limit, or once it has started."""
    if spec.pending_deadline_seconds is None or pod.started or pod.created is None:
        return None
    return pod.created + seconds(spec.pending_deadline_seconds)


def _clock_stands(status: TaskStatus) -> bool:
    """The task is suspended, or its attempt was told to stop for it and nothing else has come of that so far."""
    if status.suspended_since:
        return True
    entry = status.current
    told = entry is not None and entry.stopping is not None and entry.stopping.reason is StopReason.SUSPENDED
    return told and entry is not None and entry.outcome in (None, Outcome.SUSPENDED)
