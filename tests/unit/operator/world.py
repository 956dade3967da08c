"""A small API server with one task, its pods and their nodes, and a runtime that serves `decide` as its docstring says.

The server keeps what matters to the operator: optimistic locking, names taken, UIDs, deletion with grace, a watch
log that a client may read as late as it likes. The pods' states have the shape of the captured ones. The runtime
is the smallest that obeys the contract in `decide`'s docstring; it may be killed at any request, before or after
the server has carried it out, and then knows nothing but a fresh list.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from waypost import contract
from waypost_operator.decide import decide, forgettable
from waypost_operator.model.decision import (
    CreatePod,
    Decision,
    DeletePod,
    DeleteTask,
    LookAtNode,
    LookAtPod,
    LookAtTask,
    TaskEvent,
    Wait,
    WriteFinalizers,
    WriteStatus,
)
from waypost_operator.model.node import NodeFate, NodeSeen
from waypost_operator.model.observed import CleanupImage, CreateRefusal, Observed
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import Json, timestamp

Request = Callable[[], "Answer"]
CLEANUP_IMAGE = CleanupImage("registry.example/waypost:1", "IfNotPresent")
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the server says: an HTTP status and a body."""

    code: int
    body: Json = dataclasses.field(default_factory=dict)


class NoAnswerError(Exception):
    """The request got no answer; whether it was carried out, nobody knows."""


class Killed(Exception):  # noqa: N818  it is no error, it is kill -9
    """The operator died here."""


class World:
    """The truth."""

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
        self.written: list[tuple[Json, Json]] = []
        """Every status write carried out: (before, after)."""
        self.released: list[Json] = []
        """The task as it was whenever our finalizer was taken away."""
        self.created: list[Json] = []
        self.completed: set[str] = set()
        """UIDs of pods whose program really ran to its end."""
        self.failed: set[str] = set()
        """UIDs of pods whose program really failed, or asked for a relaunch."""
        self.refuse_creates: tuple[int, str] | None = None
        self.namespace_terminating = False
        self._emit("task", "ADDED", self.task)

    # --- requests --------------------------------------------------------------------------------------------
    def put_status(self, status: Json, resource_version: str) -> Answer:
        if self.task is None:
            return Answer(404)
        if self.task["metadata"]["resourceVersion"] != resource_version:
            return Answer(409, {"reason": "Conflict"})
        self.written.append((self.task.get("status", {}), status))
        self.task = {**self.task, "status": status}
        return Answer(200, self._changed("task", self.task))

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
        answer = Answer(200, self._changed("task", self.task))
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
        return Answer(201, self._changed("pod", pod, "ADDED"))

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
        return Answer(200, self._changed("pod", pod))

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

    # --- what kubelets, controllers and users do --------------------------------------------------------------
    def remove(self, name: str) -> Json:
        """The object goes, whatever it stood for."""
        pod = self.pods.pop(name)
        pod["metadata"].setdefault("deletionTimestamp", timestamp(self.now))
        return self._changed("pod", pod, "DELETED")

    def cut_off(self, node: str) -> None:
        """From now on nothing is heard of the node; what runs there runs on."""
        self.nodes[node] = "unknown"
        self.ready_since[node] = self.now

    def hear_again(self, node: str) -> None:
        self.nodes[node] = "ready"
        self.ready_since.pop(node, None)

    def bind(self, name: str, node: str) -> None:
        self.pods[name]["spec"]["nodeName"] = node
        self._changed("pod", self.pods[name])

    def run(self, name: str) -> None:
        self._state(name, "Running", {"running": {"startedAt": timestamp(self.now)}})

    def keep_waiting(self, name: str, reason: str, message: str) -> None:
        """The kubelet can't start the container yet."""
        self._state(name, "Pending", {"waiting": {"reason": reason, "message": message}})

    def exit(
        self,
        name: str,
        code: int,
        document: contract.Document | None = None,
        *,
        phase: str | None = None,
        reason: str = "",
        message: str = "",
    ) -> None:
        """The task container ends; the pod becomes terminal with it unless `phase` says otherwise."""
        started = Pod(self.pods[name], self.now).started or self.now
        ended = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": timestamp(started),
            "finishedAt": timestamp(self.now),
            "message": document.encode().decode() if document else message,
        }
        self._state(name, phase or ("Succeeded" if code == 0 else "Failed"), {"terminated": ended})

    def disrupt(self, name: str, reason: str = "EvictionByEvictionAPI") -> None:
        """What an eviction does to a pod, up to the SIGTERM."""
        pod = self.pods[name]
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": reason,
            "lastTransitionTime": timestamp(self.now),
        }
        pod["status"].setdefault("conditions", []).append(target)
        self._changed("pod", pod)
        self.delete_pod(name, pod["metadata"]["uid"])

    def shut_down(self, name: str) -> None:
        """A graceful node shutdown, first half: the container's end is seen, and nothing of its reason."""
        self.exit(name, 137, phase="Running")

    def end_shutdown(self, name: str) -> None:
        """Second half: the reason comes with the terminal phase."""
        pod = self.pods[name]
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "TerminationByKubelet",
            "lastTransitionTime": timestamp(self.now),
        }
        pod["status"] |= {"phase": "Failed", "reason": "Terminated", "conditions": [target]}
        self._changed("pod", pod)

    def lose_sight(self, name: str) -> None:
        """To a watch with a label selector the pod is deleted, though only its label was changed for a moment."""
        self._changed("pod", self.pods[name], "DELETED")
        self._changed("pod", self.pods[name])

    def end_straggler(self, name: str) -> None:
        """The other containers of a pod whose task container ended before have ended too."""
        code = self.pods[name]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
        self.pods[name]["status"]["phase"] = "Failed" if code else "Succeeded"
        self._changed("pod", self.pods[name])

    def edit_spec(self, **changes: object) -> None:
        assert self.task is not None
        self.task["spec"] |= changes
        self.task["metadata"]["generation"] += 1
        self._changed("task", self.task)

    def put_status_back(self, status: Json) -> None:
        """A backup was restored, or somebody edited what is the operator's."""
        assert self.task is not None
        self.task["status"] = status
        self._changed("task", self.task)

    def apply_again(self, task: Json) -> None:
        """A task of the same name takes the place of the one that was deleted, whose pods are still there."""
        self.task = copy.deepcopy(task)
        self._changed("task", self.task, "ADDED")

    def start_deleting_task(self) -> None:
        """Foreground deletion: the task stays until its pods are gone."""
        assert self.task is not None
        self.task["metadata"]["deletionTimestamp"] = timestamp(self.now)
        self._changed("task", self.task)

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
        self._changed("task", self.task)
        if not self.task["metadata"]["finalizers"]:
            self.delete_task()

    def delete_task(self) -> None:
        """Background deletion: the task goes, its pods are collected."""
        assert self.task is not None
        gone, self.task = self.task, None
        self._changed("task", gone, "DELETED")

    def alive(self, task_uid: str) -> list[str]:
        pods = (Pod(raw, self.now) for raw in self.pods.values())
        ours = [pod for pod in pods if pod.owned_by(task_uid) and not pod.terminal]
        return [pod.name for pod in ours if contract.LABEL_CLEANUP not in pod.labels]

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

    def _state(self, name: str, phase: str, state: Json) -> None:
        pod = self.pods[name]
        pod["status"]["phase"] = phase
        pod["status"]["containerStatuses"] = [{"name": pod["spec"]["containers"][0]["name"], "state": state}]
        self._changed("pod", pod)

    def _changed(self, kind: str, obj: Json, event: str = "MODIFIED") -> Json:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        return self._emit(kind, event, obj)

    def _emit(self, kind: str, event: str, obj: Json) -> Json:
        self.log.append((kind, event, copy.deepcopy(obj)))
        return copy.deepcopy(obj)


class Runtime:
    """One operator process: a cache fed by the watch and by answers, and the loop around `decide`."""

    def __init__(self, world: World, faults: Random | None = None, rate: float = 0.0, *, behind: int = 0) -> None:
        """A fresh start from a list that is `behind` events old, as an API server's watch cache may be."""
        self.world, self.faults, self.rate = world, faults, rate
        self.late: list[Request] = []
        """Creates without an answer that the API server may still carry out."""
        self.events: list[TaskEvent] = []
        self.decisions: list[Decision] = []
        self.read = max(len(world.log) - behind, 1)
        self.task, pods = world.listed(self.read)
        self.task_gone = False
        self.confirmed_at: datetime | None = None
        self.pods: dict[str, Pod] = {}
        for raw in pods.values():
            self._put(raw)
        self.gone: set[str] = set()
        self.missing: set[str] = set()
        self.absent: dict[str, datetime] = {}
        self.nodes: dict[str, NodeSeen] = {}
        self.hosts: dict[str, NodeSeen] = {}
        self.refusal: CreateRefusal | None = None
        self.cleanup_image: CleanupImage | None = CLEANUP_IMAGE
        self.wake_at: datetime | None = world.now

    # --- the watch and the sweep -----------------------------------------------------------------------------
    def watch(self, events: int | None = None) -> None:
        """Take notice of the next events (all of them by default)."""
        for kind, event, obj in self.world.log[self.read :][:events]:
            self.read += 1
            self.wake_at = self.world.now
            if kind == "task":
                self._see_task(copy.deepcopy(obj), event)
            else:
                self._put(copy.deepcopy(obj))
                if event == "DELETED":
                    self.missing.add(obj["metadata"]["uid"])

    def skip_events(self) -> None:
        """A watch that broke: what happened meanwhile is never told."""
        self.read = len(self.world.log)

    def sweep(self) -> None:
        """A fresh list of everything; what it doesn't show is missing."""
        listed = {raw["metadata"]["uid"] for raw in self.world.pods.values()}
        for raw in self.world.pods.values():
            self._put(copy.deepcopy(raw))
        self.missing |= {uid for uid in self.pods if uid not in listed}
        if self.world.task is None:
            self.task_gone = True
        else:
            self._see_task(copy.deepcopy(self.world.task), "MODIFIED")
        self.wake_at = self.world.now

    def _see_task(self, obj: Json, event: str) -> None:
        if event == "DELETED":
            self.task_gone = True
        elif self.task is None or _newer(obj, self.task):
            self.task, self.confirmed_at = obj, None

    def _put(self, raw: Json) -> None:
        uid = raw["metadata"]["uid"]
        known = self.pods.get(uid)
        if known is None or _newer(raw, known.raw):
            self.pods[uid] = Pod(raw, self.world.now)

    # --- the loop --------------------------------------------------------------------------------------------
    def observe(self) -> Observed:
        assert self.task is not None
        return Observed(
            now=self.world.now,
            task=self.task,
            task_gone=self.task_gone,
            task_confirmed_at=self.confirmed_at,
            pods=tuple(self.pods.values()),
            gone=frozenset(self.gone),
            missing=frozenset(self.missing),
            absent=self.absent,
            nodes=self.nodes,
            hosts=self.hosts,
            create_refusal=self.refusal,
            cleanup_image=self.cleanup_image,
        )

    def settle(self, most: int = 50) -> Decision:
        """Decide and apply until there is nothing to do; returns the last decision."""
        for _ in range(most):
            decision = self.step()
            if isinstance(decision.step, Wait) or self.task is None:
                return decision
        raise AssertionError(f"{most} steps without coming to rest: {[d.why for d in self.decisions[-10:]]}")

    def step(self) -> Decision:
        """One decision, carried out."""
        observed = self.observe()
        before = copy.deepcopy(observed.task)
        decision = decide(observed)
        assert observed.task == before, "a decision changed what it was given"
        self.decisions.append(decision)
        match decision.step:
            case WriteStatus(status=status, resource_version=version, events=events):
                self._written(self._ask(lambda: self.world.put_status(copy.deepcopy(status), version)), events)
            case WriteFinalizers(finalizers=finalizers, resource_version=version, events=events):
                self._written(self._ask(lambda: self.world.patch_finalizers(list(finalizers), version)), events)
            case DeleteTask(uid=uid, resource_version=version, events=events):
                answer = self._ask(lambda: self.world.delete_this_task(uid, version))
                if answer.code == 200:
                    self.events.extend(events)
                self._task_answered(self._ask(self.world.get_task))
            case CreatePod() as create:
                self._create(create)
            case DeletePod(name=name, uid=uid):
                answer = self._ask(lambda: self.world.delete_pod(name, uid))
                if answer.code == 200:
                    self._put(answer.body)
                else:
                    self._look_at_pod(name, uid)
            case LookAtTask():
                self._task_answered(self._ask(self.world.get_task))
            case LookAtPod(name=name, uid=uid):
                self._look_at_pod(name, uid)
            case LookAtNode(name=name, pod_uid=uid, at_bind=at_bind):
                answer = self._ask(lambda: self.world.get_node(name))
                fate = {200: NodeFate.PRESENT, 404: NodeFate.GONE}.get(answer.code, NodeFate.UNREADABLE)
                seen = NodeSeen(name, fate, answer.body if answer.code == 200 else None, self.world.now)
                (self.hosts if at_bind else self.nodes)[uid] = seen
            case Wait():
                after = decision.requeue_after
                self.wake_at = None if after is None else self.world.now + timedelta(seconds=after)
                for uid in forgettable(self.observe()):
                    self.pods.pop(uid, None)
                    self.missing.discard(uid)
            case _:
                self.task = None
                self.events.extend(decision.step.events)
        return decision

    def _written(self, answer: Answer, events: tuple[TaskEvent, ...]) -> None:
        self._task_answered(answer)
        if answer.code == 200:
            self.events.extend(events)
        elif answer.code == 409:
            self._task_answered(self._ask(self.world.get_task))

    def _create(self, create: CreatePod) -> None:
        answer = self._ask(lambda: self.world.create_pod(create.body))
        if answer.code == 201:
            self._put(answer.body)
            self.refusal = None
        elif answer.body.get("reason") == "AlreadyExists":
            self._look_at_pod(create.name, "")
        else:
            assert self.task is not None
            self.refusal = CreateRefusal.after(
                self.refusal,
                task=self.task,
                attempt=create.attempt,
                code=answer.code,
                message=answer.body["message"],
                at=self.world.now,
                causes=[cause["reason"] for cause in answer.body.get("details", {}).get("causes", [])],
            )

    def _look_at_pod(self, name: str, uid: str) -> None:
        answer = self._ask(lambda: self.world.get_pod(name))
        found = answer.body["metadata"]["uid"] if answer.code == 200 else None
        cached = {pod.uid for pod in self.pods.values() if pod.name == name}
        self.gone |= ({uid} | cached) - {found, ""}
        if found is None:
            self.absent = {name: self.world.now}
        else:
            self._put(answer.body)
            self.pods[found] = Pod(self.pods[found].raw, self.world.now, self.world.now)
            self.missing.discard(found)

    def _task_answered(self, answer: Answer) -> None:
        if answer.code == 404:
            self.task_gone = True
        elif answer.code == 200:
            self.task, self.confirmed_at = answer.body, self.world.now

    def _ask(self, request: Request) -> Answer:
        """Send it, unless fate has other plans: death before or after it, or no answer although it was carried out."""
        fate = self.faults.random() if self.faults else 1.0
        if fate < self.rate / 4:
            raise Killed
        if fate < self.rate / 2:
            self.late.append(request)
            raise NoAnswerError
        answer = request()
        if fate < self.rate * 3 / 4:
            raise Killed
        if fate < self.rate:
            raise NoAnswerError
        return answer


def _newer(left: Json, right: Json) -> bool:
    return int(left["metadata"]["resourceVersion"]) > int(right["metadata"]["resourceVersion"])
