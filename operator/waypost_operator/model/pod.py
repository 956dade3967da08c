"""A typed view of one pod of a task: what the policies ask of it, in their words.

The view holds the raw object as last seen. A pod that is gone keeps its last seen state (in `Observed.pods`, with
its UID in `Observed.gone`), because the DELETED event of an evicted pod is often the only bearer of its verdict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from waypost import contract
from waypost_operator.model.earlier import NOTHING_EARLIER, Earlier
from waypost_operator.model.raw import Json, condition, items, mapping, moment

TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})
LOST_REASONS = frozenset({"Unknown", "ContainerStatusUnknown"})
"""`terminated.reason` of a container that the runtime, or the kubelet, could not find any more."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """`state.terminated` of a container."""

    exit_code: int
    reason: str
    message: str
    started: datetime | None
    finished: datetime | None


@dataclasses.dataclass(frozen=True)
class Pod:
    """One pod as last seen."""

    raw: Json
    seen_at: datetime
    """When the operator received this state, from whatever source (UTC); a watch may have told it late."""
    looked_at: datetime | None = None
    """When a live GET last showed this very state; None when only a watch or a list did."""
    earlier: Earlier = NOTHING_EARLIER
    """What earlier states showed and this one doesn't, as far as this operator process has seen them."""

    @property
    def name(self) -> str:
        return str(mapping(self.raw, "metadata").get("name", ""))

    @property
    def uid(self) -> str:
        return str(mapping(self.raw, "metadata").get("uid", ""))

    @property
    def version(self) -> int:
        """`metadata.resourceVersion`. Of two pods of one name, one after the other, the later one's is the larger."""
        text = str(mapping(self.raw, "metadata").get("resourceVersion") or "")
        return int(text) if text.isascii() and text.isdigit() else 0

    @property
    def labels(self) -> Mapping[str, Any]:
        return mapping(self.raw, "metadata", "labels")

    @property
    def controller(self) -> Mapping[str, Any]:
        """The owner reference with `controller: true`, or an empty mapping."""
        owners = items(self.raw, "metadata", "ownerReferences")
        return next((owner for owner in owners if owner.get("controller") is True), {})

    def owned_by(self, task_uid: str) -> bool:
        """True when the task of that UID controls the pod; labels prove nothing, anybody can set them."""
        return self.controller.get("kind") == contract.KIND and self.controller.get("uid") == task_uid

    @property
    def attempt(self) -> int | None:
        """The attempt's number by the pod's label; None when it isn't a decimal number."""
        text = self.labels.get(contract.LABEL_ATTEMPT)
        return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else None

    @property
    def node(self) -> str:
        """Name of the node it is bound to, or ''."""
        return str(mapping(self.raw, "spec").get("nodeName") or "")

    @property
    def created(self) -> datetime | None:
        """When the API server made the object."""
        return moment(mapping(self.raw, "metadata").get("creationTimestamp"))

    # --- its end ---------------------------------------------------------------------------------------------
    @property
    def phase(self) -> str:
        return str(mapping(self.raw, "status").get("phase") or "Pending")

    @property
    def terminal(self) -> bool:
        """Succeeded or Failed: no container of it runs or will run again. Phases never leave these two."""
        return self.phase in TERMINAL_PHASES

    @property
    def reason(self) -> str:
        """`status.reason`: Evicted, DeadlineExceeded, OutOfcpu ...; '' for an ordinary end."""
        return str(mapping(self.raw, "status").get("reason") or "")

    @property
    def message(self) -> str:
        return str(mapping(self.raw, "status").get("message") or "")

    @property
    def conditions(self) -> Sequence[Mapping[str, Any]]:
        """Those of the last state, and those that were True in an earlier one and are absent now."""
        return [*items(self.raw, "status", "conditions"), *self.earlier.conditions]

    @property
    def disruption(self) -> Mapping[str, Any] | None:
        """The DisruptionTarget condition when it is True."""
        found = condition(self.conditions, "DisruptionTarget")
        return found if found is not None and found.get("status") == "True" else None

    @property
    def deletion(self) -> datetime | None:
        """`metadata.deletionTimestamp`: when the grace ends, not when the deletion was asked for."""
        return moment(mapping(self.raw, "metadata").get("deletionTimestamp"))

    @property
    def deletion_seen(self) -> datetime | None:
        """The same, also if only an earlier state showed it."""
        return self.deletion or moment(self.earlier.deletion)

    @property
    def grace_seconds(self) -> int:
        """The pod's own terminationGracePeriodSeconds."""
        value = mapping(self.raw, "spec").get("terminationGracePeriodSeconds")
        return value if isinstance(value, int) else 30

    # --- its containers --------------------------------------------------------------------------------------
    @cached_property
    def task_container(self) -> str:
        """Name of the container that got the env contract: its exit and its document are the verdict.

        Read from the pod itself, since `spec.container` of the task may have changed after the pod was made, and
        webhooks may have put other containers in front of it. Of a clean-up pod: the one that deletes.
        """
        containers = items(self.raw, "spec", "containers")
        for container in containers:
            if any(entry.get("name") == contract.ENV_ATTEMPT for entry in items(container, "env")):
                return str(container.get("name", ""))
            if container.get("name") == contract.CLEANUP_CONTAINER:
                return contract.CLEANUP_CONTAINER
        return str(containers[0].get("name", "")) if containers else ""

    @property
    def _task_state(self) -> Mapping[str, Any]:
        for status in items(self.raw, "status", "containerStatuses"):
            if status.get("name") == self.task_container:
                return mapping(status, "state")
        return {}

    @property
    def started(self) -> datetime | None:
        """When the task container began to run; None while it never has."""
        state = self._task_state
        return moment(mapping(state, "running").get("startedAt")) or moment(
            mapping(state, "terminated").get("startedAt")
        )

    @property
    def running(self) -> bool:
        return "running" in self._task_state

    @cached_property
    def ended(self) -> Ended | None:
        """How the task container ended; None while it has not, or when nobody saw it."""
        terminated = self._task_state.get("terminated")
        if not isinstance(terminated, Mapping):
            return None
        code = terminated.get("exitCode")
        return Ended(
            exit_code=code if isinstance(code, int) else -1,
            reason=str(terminated.get("reason") or ""),
            message=str(terminated.get("message") or ""),
            started=moment(terminated.get("startedAt")),
            finished=moment(terminated.get("finishedAt")),
        )

    @property
    def lost(self) -> bool:
        """The runtime knows nothing of the task container any more: its machine lost power, or is another one.

        A kubelet that finds a pod of which it never heard says so in `lastState` first and ends the pod with it.
        """
        for status in items(self.raw, "status", "containerStatuses"):
            if status.get("name") == self.task_container:
                last_seen = mapping(status, "state", "terminated") or mapping(status, "lastState", "terminated")
                return last_seen.get("reason") in LOST_REASONS
        return False

    @cached_property
    def document(self) -> contract.Document | None:
        """What the SDK wrote into the termination message; None without the SDK, or when it doesn't parse."""
        return contract.Document.parse(self.ended.message) if self.ended else None

    @property
    def failed_init_container(self) -> tuple[str, int] | None:
        """Name and exit code of an init container that failed, if one did."""
        for status in items(self.raw, "status", "initContainerStatuses"):
            code = mapping(status, "state", "terminated").get("exitCode")
            if isinstance(code, int) and code != 0:
                return str(status.get("name", "")), code
        return None
