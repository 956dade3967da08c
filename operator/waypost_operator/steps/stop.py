"""Ending the current attempt ourselves, and ending the task when its time is over.

First the order is written, then the pod is deleted, with its own grace: SIGTERM, and time for a last checkpoint.
Between the two the operator may die; its successor reads the order and deletes. What the end was is judged when it has
come: a program that completed all the same is complete.
"""

from __future__ import annotations

import dataclasses

from waypost.contract import ConditionReason, ConditionType, EventReason
from waypost_operator.model.decision import Decision, DeletePod, TaskEvent, Wait
from waypost_operator.policy import completion, deadlines, stopping
from waypost_operator.steps.situation import Situation


def attempt(s: Situation) -> Decision | None:
    """Give the order to end the current attempt, or carry out one that was given."""
    pod = s.pod
    if pod is None or s.attempt.finished or s.pod_over or pod.ended or pod.deletion:
        return None
    if s.attempt.stopping is not None:
        return Decision(DeletePod(pod.name, pod.uid), f"stopping pod {pod.name}: {s.attempt.stopping.message}")
    order = stopping.order(s.spec, s.status, pod, s.now)
    if order is None:
        return None
    said = f"attempt {s.status.attempt} is told to stop: {order.message}"
    entry = s.attempt.model_copy(update={"stopping": order})
    others = [old for old in s.status.attempts if old.attempt != entry.attempt]
    status = s.status.model_copy(update={"attempts": [*others, entry]})
    status = s.with_condition(status, ConditionType.PROGRESSING, False, ConditionReason.STOPPING, said)
    return s.write(status, said, TaskEvent("Normal", EventReason.STOPPING, said[:1000]))


def task(s: Situation) -> Decision | None:
    """End a task whose time is over while no attempt of it runs."""
    ending = completion.out_of_time(s.spec, s.status, s.now)
    return None if ending is None or not s.between_attempts else s.over(s.status, ending)


def in_time(s: Situation, decision: Decision) -> Decision:
    """The same decision, taken again when the next limit of time passes, if nothing happens before."""
    pod = None if s.pod_over else s.pod
    limits = [deadlines.active(s.spec, s.status)]
    if pod is not None and not s.attempt.finished:
        limits += [deadlines.attempt(s.spec, s.attempt, pod), deadlines.pending(s.spec, pod)]
    ahead = [(limit - s.now).total_seconds() for limit in limits if limit is not None and limit > s.now]
    if not isinstance(decision.step, Wait) or not ahead:
        return decision
    soonest = min([*ahead, *([] if decision.requeue_after is None else [decision.requeue_after])])
    return dataclasses.replace(decision, requeue_after=soonest)
