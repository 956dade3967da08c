"""A small API server with one task, its pods and their nodes: what matters to the operator of a real one.

Optimistic locking, names that are taken, UIDs, deletion with grace and with finalizers, and a watch log that a client
may read as late as it likes.
"""

from __future__ import annotations

import copy
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from waypost import contract
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import Json, timestamp

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the server says: an HTTP status and a body."""

    code: int
    body: Json = dataclasses.field(default_factory=dict)


class Write(NamedTuple):
    """A status write that was carried out."""

    task: str
    """UID of the task."""
    before: Json
    after: Json


class Server:
    """What is stored, and every change of it."""

    def __init__(self, task: Json) -> None:
        self.now = START
        self.version = 1
        self.task: Json | None = copy.deepcopy(task)
        self.pods: dict[str, Json] = {}
        self.nodes: dict[str, str] = {"node-1": "ready", "node-2": "ready"}
        self.node_labels: dict[str, dict[str, str]] = {}
        self.ready_since: dict[str, datetime] = {}
        """Since when a node's Ready is what it is."""
        self.log: list[tuple[str, str, Json]] = []
        """Watch events of all kinds: (kind, type, object)."""
        self.written: list[Write] = []
        """Every status write carried out."""
        self.released: list[Json] = []
        """The task as it was whenever our finalizer was taken away."""
        self.expired: list[Json] = []
        """The task as it was whenever an operator had it deleted."""
        self.created: list[Json] = []
        self.refuse_creates: tuple[int, str] | None = None
        self.namespace_terminating = False
        self._emit("task", "ADDED", self.task)

    # --- requests --------------------------------------------------------------------------------------------
    def put_status(self, status: Json, resource_version: str) -> Answer:
        if self.task is None:
            return Answer(404)
        if self.task["metadata"]["resourceVersion"] != resource_version:
            return Answer(409, {"reason": "Conflict"})
        self.written.append(Write(self.task["metadata"]["uid"], self.task.get("status", {}), status))
        self.task = {**self.task, "status": status}
        return Answer(200, self.changed("task", self.task))

    def patch_finalizers(self, finalizers: list[str], resource_version: str) -> Answer:
        if self.task is None:
            return Answer(404)
        if self.task["metadata"]["resourceVersion"] != resource_version:
            return Answer(409, {"reason": "Conflict"})
        deleting = "deletionTimestamp" in self.task["metadata"]
        if deleting and set(finalizers) - set(self.task["metadata"].get("finalizers", [])):
            return Answer(422, {"reason": "Invalid", "message": "no new finalizers can be added"})
        if contract.FINALIZER in set(self.task["metadata"].get("finalizers", [])) - set(finalizers):
            self.released.append(copy.deepcopy(self.task))
        self.task["metadata"]["finalizers"] = list(finalizers)
        answer = Answer(200, self.changed("task", self.task))
        if deleting and not finalizers:
            self.delete_task()
        return answer

    def delete_this_task(self, uid: str, resource_version: str) -> Answer:
        """DELETE with preconditions; the answer is the task where a finalizer keeps it, else a Status object."""
        if self.task is None:
            return Answer(404)
        metadata = self.task["metadata"]
        if (metadata["uid"], metadata["resourceVersion"]) != (uid, resource_version):
            return Answer(409, {"reason": "Conflict"})
        kept = bool(metadata.get("finalizers"))
        self.expired.append(copy.deepcopy(self.task))
        self.ask_to_delete_task()
        return Answer(200, copy.deepcopy(self.task) if kept and self.task else {"kind": "Status"})

    def get_task(self) -> Answer:
        return Answer(404) if self.task is None else Answer(200, copy.deepcopy(self.task))

    def create_pod(self, body: Json) -> Answer:
        name = body["metadata"]["name"]
        if self.namespace_terminating:
            details = {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}
            return Answer(403, {"reason": "Forbidden", "message": "it is being terminated", "details": details})
        if self.refuse_creates is not None:
            return Answer(self.refuse_creates[0], {"message": self.refuse_creates[1]})
        if name in self.pods:
            return Answer(409, {"reason": "AlreadyExists", "message": f'pods "{name}" already exists'})
        pod = copy.deepcopy(body)
        pod["metadata"] |= {"uid": f"pod-{len(self.created)}", "creationTimestamp": timestamp(self.now)}
        pod["status"] = {"phase": "Pending"}
        self.pods[name] = pod
        self.created.append(pod)
        return Answer(201, self.changed("pod", pod, "ADDED"))

    def get_pod(self, name: str) -> Answer:
        return Answer(200, copy.deepcopy(self.pods[name])) if name in self.pods else Answer(404)

    def delete_pod(self, name: str, uid: str) -> Answer:
        pod = self.pods.get(name)
        if pod is None:
            return Answer(404)
        if pod["metadata"]["uid"] != uid:
            return Answer(409, {"reason": "Conflict"})
        grace = pod["spec"]["terminationGracePeriodSeconds"]
        if Pod(pod, self.now).terminal or not pod["spec"].get("nodeName"):
            return Answer(200, self.remove(name))
        pod["metadata"].setdefault("deletionTimestamp", timestamp(self.now + timedelta(seconds=grace)))
        pod["metadata"].setdefault("deletionGracePeriodSeconds", grace)
        return Answer(200, self.changed("pod", pod))

    def get_node(self, name: str) -> Answer:
        state = self.nodes.get(name)
        if state is None:
            return Answer(404)
        if state == "forbidden":
            return Answer(403)
        ready = {"ready": "True", "unknown": "Unknown"}.get(state, "False")
        condition = {"type": "Ready", "status": ready}
        if name in self.ready_since:
            condition["lastTransitionTime"] = timestamp(self.ready_since[name])
        metadata = {"name": name, "labels": self.node_labels.get(name, {})}
        return Answer(200, {"metadata": metadata, "status": {"conditions": [condition]}})

    def remove(self, name: str) -> Json:
        """The object goes, whatever it stood for."""
        pod = self.pods.pop(name)
        pod["metadata"].setdefault("deletionTimestamp", timestamp(self.now))
        return self.changed("pod", pod, "DELETED")

    # --- deletion -------------------------------------------------------------------------------------------
    def start_deleting_task(self) -> None:
        """Foreground deletion: the task stays until its pods are gone."""
        assert self.task is not None
        self.task["metadata"]["deletionTimestamp"] = timestamp(self.now)
        self.changed("task", self.task)

    def ask_to_delete_task(self, *more: str) -> None:
        """What `kubectl delete` does: it stays for as long as it has finalizers; `more`: foregroundDeletion ..."""
        assert self.task is not None
        self.task["metadata"]["finalizers"] = [*self.task["metadata"].get("finalizers", []), *more]
        if self.task["metadata"].get("finalizers"):
            self.start_deleting_task()
        else:
            self.delete_task()

    def collect(self, finalizer: str) -> None:
        """The garbage collector has done its part."""
        assert self.task is not None
        self.task["metadata"]["finalizers"].remove(finalizer)
        self.changed("task", self.task)
        if not self.task["metadata"]["finalizers"]:
            self.delete_task()

    def delete_task(self) -> None:
        """Background deletion: the task goes, its pods are collected."""
        assert self.task is not None
        gone, self.task = self.task, None
        self.changed("task", gone, "DELETED")

    # --- what is there --------------------------------------------------------------------------------------
    def listed(self, until: int) -> tuple[Json | None, dict[str, Json]]:
        """The task and its pods as they stood after that many events."""
        task: Json | None = None
        pods: dict[str, Json] = {}
        for kind, event, obj in copy.deepcopy(self.log[:until]):
            if kind == "task":
                task = None if event == "DELETED" else obj
            elif event == "DELETED":
                pods.pop(obj["metadata"]["name"], None)
            else:
                pods[obj["metadata"]["name"]] = obj
        return task, pods

    @property
    def status(self) -> Json:
        found: Json = (self.task or {}).get("status", {})
        return found

    def changed(self, kind: str, obj: Json, event: str = "MODIFIED") -> Json:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        return self._emit(kind, event, obj)

    def _emit(self, kind: str, event: str, obj: Json) -> Json:
        self.log.append((kind, event, copy.deepcopy(obj)))
        return copy.deepcopy(obj)
