"""Everything one decision may look at: plain data, gathered by the runtime, never fetched by a decision."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from waypost_operator.model.node import NodeSeen
from waypost_operator.model.pace import Asked, Pace
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import Json, mapping

NAMESPACE_TERMINATING = "NamespaceTerminating"
"""The cause by which the API server tells this refusal (403) from all others, in `details.causes` of its answer."""


@dataclasses.dataclass(frozen=True)
class CreateRefusal:
    """The API server answered a pod create with an error; kept in memory until a create of that task succeeds.

    Only answers are refusals. A request without an answer (timeout, reset, connection refused) is none: the
    runtime decides again after its own short backoff.
    """

    attempt: int
    generation: int
    """`metadata.generation` of the task whose template was refused."""
    code: int
    message: str
    at: datetime
    count: int
    """Refusals in a row for this attempt and generation, this one included."""
    namespace_terminating: bool = False
    """No pod can be created here any more, ever: the namespace is being deleted."""
    resource_version: str = ""
    """`metadata.resourceVersion` of the task as it was when the create was refused."""

    @property
    def permanent(self) -> bool:
        """400 and 422 speak about the template itself: only the user can mend it."""
        return self.code in (400, 422)

    def is_news(self, task_version: str) -> bool:
        """Whether nothing has been written to the task since; `task_version` is its resourceVersion now.

        Two leaders (one that doesn't know yet that it leads no more) may be refused for different reasons. Each says
        so once for each of its refusals: if either corrected the other's words whenever it saw them, both would write
        without a pause.
        """
        return self.resource_version == task_version

    @classmethod
    def after(
        cls,
        previous: CreateRefusal | None,
        *,
        task: Json,
        attempt: int,
        code: int,
        message: str,
        at: datetime,
        causes: Collection[str] = (),
    ) -> CreateRefusal:
        """The refusal to keep, from the one kept before (if any), the task as observed and the API's answer."""
        generation = int(mapping(task, "metadata").get("generation", 0))
        same = previous is not None and (previous.attempt, previous.generation) == (attempt, generation)
        count = previous.count + 1 if same and previous is not None else 1
        version = str(mapping(task, "metadata").get("resourceVersion", ""))
        return cls(attempt, generation, code, message, at, count, NAMESPACE_TERMINATING in causes, version)


@dataclasses.dataclass(frozen=True)
class CleanupImage:
    """Waypost's own image, which clean-up pods run: the operator's."""

    name: str
    pull_policy: str = ""
    """Always, IfNotPresent or Never; '' leaves it to Kubernetes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed:
    """One task and what is known around it, at one moment.

    Knowledge comes in two kinds. What a cache says may be old: it is only ever used where being late is harmless
    (waiting a little longer). What can never change back is knowledge for ever: a terminal phase, and a UID that
    is gone.
    """

    now: datetime
    task: Json
    """The CheckpointedTask as last received, from whatever source, with its resourceVersion."""
    task_gone: bool = False
    """The task's DELETED event was seen, or a live GET answered 404 or showed another UID."""
    task_confirmed_at: datetime | None = None
    """When the API server last answered *us* with this very `task`: a live GET, or our own status write.

    None when it came from a watch or a list. A pod is created only from a task confirmed moments ago, because a
    cached one may stand several attempts back.
    """
    pods: tuple[Pod, ...] = ()
    """Every pod in the task's namespace labelled with the task's name, plus any pod that a LookAtPod found.

    Pods of a deleted namesake and foreign ones included: decide tells them apart by UID. Missing and gone pods
    stay in, as last seen (the object of a DELETED event counts), until `decide.forgettable` names them.
    """
    gone: frozenset[str] = frozenset()
    """UIDs of pods that no longer exist: a live GET of their name answered 404 or showed another UID."""
    missing: frozenset[str] = frozenset()
    """UIDs of pods that a DELETED event, or a list without them, says are gone: a hint to look, never believed. (To
    a watch with a label selector a running pod that lost its label is deleted.) A live GET settles it."""
    absent: Mapping[str, datetime] = dataclasses.field(default_factory=dict)
    """By pod name: when a live GET last found no pod of it (404)."""
    nodes: Mapping[str, NodeSeen] = dataclasses.field(default_factory=dict)
    """By pod UID: the node as a live GET last showed it, asked (LookAtNode) because that pod's end, or that it doesn't
    end, had to be judged."""
    hosts: Mapping[str, NodeSeen] = dataclasses.field(default_factory=dict)
    """By pod UID: the node as a live GET showed it soon after the pod was bound to it (LookAtNode with `at_bind`). No
    evidence about an end: it may be hours old."""
    paces: Mapping[Asked, Pace] = dataclasses.field(default_factory=dict)
    """What the API server's last answers about this task took."""
    create_refusal: CreateRefusal | None = None
    cleanup_image: CleanupImage | None = None
    """What clean-up pods are made from; None when the operator was started without one."""

    @property
    def uid(self) -> str:
        return str(self._metadata.get("uid", ""))

    @property
    def name(self) -> str:
        return str(self._metadata.get("name", ""))

    @property
    def namespace(self) -> str:
        return str(self._metadata.get("namespace", ""))

    @property
    def generation(self) -> int:
        return int(self._metadata.get("generation", 0))

    @property
    def resource_version(self) -> str:
        return str(self._metadata.get("resourceVersion", ""))

    @property
    def deleting(self) -> bool:
        return bool(self._metadata.get("deletionTimestamp"))

    @property
    def finalizers(self) -> tuple[str, ...]:
        """Ours and other people's."""
        found = self._metadata.get("finalizers")
        return tuple(str(name) for name in found) if isinstance(found, list) else ()

    @property
    def _metadata(self) -> Mapping[str, Any]:
        return mapping(self.task, "metadata")

    def is_gone(self, pod: Pod) -> bool:
        return pod.uid in self.gone

    def over(self, pod: Pod) -> bool:
        """True when nothing of the pod runs or will ever run again: terminal, or gone."""
        return pod.terminal or self.is_gone(pod)

    def pod_named(self, name: str) -> Pod | None:
        """The existing pod of that name, as last seen."""
        return next((pod for pod in self.pods if pod.name == name and not self.is_gone(pod)), None)

    def pod_with_uid(self, uid: str) -> Pod | None:
        """The pod of that UID, existing or gone, as last seen."""
        return next((pod for pod in self.pods if pod.uid == uid), None)
