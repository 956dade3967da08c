"""The task's finalizer: there as long as `checkpoint.deletionPolicy` is Delete, and at no other time.

It is set before the first pod is created, so that no store comes into being that nobody would delete. Other people's
finalizers stay: the list is written under the resourceVersion it was read at.
"""

from __future__ import annotations

from waypost import contract
from waypost_operator.model.decision import Decision, TaskEvent, WriteFinalizers
from waypost_operator.model.observed import Observed
from waypost_operator.steps.situation import Situation


def keep(s: Situation) -> Decision | None:
    """Set or take away the finalizer of a task that is not being deleted, as its policy asks for."""
    wanted, there = s.deletes_checkpoints, contract.FINALIZER in s.observed.finalizers
    if wanted == there:
        return None
    if not wanted:
        return release(s.observed, "the finalizer goes: deletionPolicy is Retain")
    finalizers = (*s.observed.finalizers, contract.FINALIZER)
    step = WriteFinalizers(finalizers, s.observed.resource_version)
    return Decision(step, "deletionPolicy is Delete: a finalizer keeps the task until its checkpoints are deleted")


def release(observed: Observed, why: str, *events: TaskEvent) -> Decision:
    """Take the finalizer away, and no other; a task that is being deleted may go then."""
    rest = tuple(name for name in observed.finalizers if name != contract.FINALIZER)
    return Decision(WriteFinalizers(rest, observed.resource_version, events), why)
