"""The one next step that `decide` asks for. How to carry each out stands in `decide`'s docstring."""

from __future__ import annotations

import dataclasses
from typing import Literal

from waypost import contract
from waypost_operator.model.raw import Json


@dataclasses.dataclass(frozen=True)
class TaskEvent:
    """A Kubernetes Event about the task, for people; a lost one loses nothing, a repeated one is avoided."""

    type: Literal["Normal", "Warning"]
    reason: contract.EventReason
    message: str


@dataclasses.dataclass(frozen=True)
class WriteStatus:
    """Replace the task's whole status, under the resourceVersion observed; then, only then, emit the events."""

    status: Json
    resource_version: str
    events: tuple[TaskEvent, ...] = ()


@dataclasses.dataclass(frozen=True)
class WriteFinalizers:
    """Replace the task's finalizers, under the resourceVersion observed; then, only then, emit the events."""

    finalizers: tuple[str, ...]
    """All of them, also other people's."""
    resource_version: str
    events: tuple[TaskEvent, ...] = ()


@dataclasses.dataclass(frozen=True)
class DeleteTask:
    """Delete the task if it still has this UID and this resourceVersion; then, only then, emit the events."""

    uid: str
    resource_version: str
    events: tuple[TaskEvent, ...] = ()


@dataclasses.dataclass(frozen=True)
class CreatePod:
    """Create this pod, fieldValidation=Strict."""

    name: str
    attempt: int
    """0: the clean-up pod."""
    body: Json


@dataclasses.dataclass(frozen=True)
class DeletePod:
    """Delete the pod of that name if it still has that UID; with its own grace."""

    name: str
    uid: str


@dataclasses.dataclass(frozen=True)
class LookAtTask:
    """Read the task live: what is cached isn't fresh enough to create a pod from."""


@dataclasses.dataclass(frozen=True)
class LookAtPod:
    """Read the pod of that name live; `uid` is the pod expected there, '' when it is only about the name."""

    name: str
    uid: str = ""


@dataclasses.dataclass(frozen=True)
class LookAtNode:
    """Read the node live, for the pod of that UID: as evidence about its end, or to learn where it was bound to."""

    name: str
    pod_uid: str
    at_bind: bool = False


@dataclasses.dataclass(frozen=True)
class Forget:
    """The task is gone: emit the events, then drop everything kept for it."""

    events: tuple[TaskEvent, ...] = ()


@dataclasses.dataclass(frozen=True)
class Wait:
    """Nothing to do until something changes, or until `requeue_after` has passed."""


Step = (
    WriteStatus
    | WriteFinalizers
    | DeleteTask
    | CreatePod
    | DeletePod
    | LookAtTask
    | LookAtPod
    | LookAtNode
    | Forget
    | Wait
)


@dataclasses.dataclass(frozen=True)
class Decision:
    """One step, why (a log line), and when to decide again although nothing changed (seconds; None = never)."""

    step: Step
    why: str
    requeue_after: float | None = None
