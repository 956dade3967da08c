"""Deleting a task that finished `ttlSecondsAfterFinished` ago.

A deletion can't be taken back, so it is decided from a live look at the task, and carries the UID and the
resourceVersion of that look: an edit that came in between wins, and everything is decided anew. From there on it is a
deletion like any other: with `deletionPolicy: Delete` the store goes first.
"""

from __future__ import annotations

from waypost.contract import EventReason
from waypost_operator.model.decision import Decision, DeleteTask, LookAtTask, TaskEvent, Wait
from waypost_operator.model.raw import timestamp
from waypost_operator.policy.expiry import expires
from waypost_operator.steps.situation import Situation


def task(s: Situation) -> Decision | None:
    """Delete the finished task when its time has come, or wait for that."""
    end = expires(s.spec, s.status)
    if end is None:
        return None
    if s.now < end:
        return Decision(Wait(), f"the task is over; it is deleted at {timestamp(end)}", (end - s.now).total_seconds())
    if not s.confirmed:
        return Decision(LookAtTask(), "before the task is deleted: what is cached may be old")
    ttl = s.spec.ttl_seconds_after_finished
    said = f"deleted by the operator: the task finished ttlSecondsAfterFinished ({ttl}) ago"
    step = DeleteTask(s.observed.uid, s.observed.resource_version, (TaskEvent("Normal", EventReason.EXPIRED, said),))
    return Decision(step, said)
