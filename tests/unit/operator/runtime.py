"""The smallest runtime that serves `decide` as its docstring says.

It may be killed at any request, before or after the server has carried it out, and then knows nothing but a fresh list.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from tests.unit.operator.server import Answer, Server
from waypost_operator.decide import decide, forgettable
from waypost_operator.model.decision import (
    CreatePod,
    Decision,
    DeletePod,
    DeleteTask,
    LookAtNode,
    LookAtPod,
    LookAtTask,
    Step,
    TaskEvent,
    Wait,
    WriteFinalizers,
    WriteStatus,
)
from waypost_operator.model.node import NodeFate, NodeSeen
from waypost_operator.model.observed import CleanupImage, CreateRefusal, Observed
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import Json

Request = Callable[[], Answer]
CLEANUP_IMAGE = CleanupImage("registry.example/waypost:1", "IfNotPresent")


class NoAnswerError(Exception):
    """The request got no answer; whether it was carried out, nobody knows."""


class Killed(Exception):  # noqa: N818  it is no error, it is kill -9
    """The operator died here."""


class Runtime:
    """One operator process: a cache fed by the watch and by answers, and the loop around `decide`."""

    def __init__(self, world: Server, faults: Random | None = None, rate: float = 0.0, *, behind: int = 0) -> None:
        """A fresh start from a list that is `behind` events old, as an API server's watch cache may be."""
        self.world, self.faults, self.rate = world, faults, rate
        self.late: list[Request] = []
        """Creates without an answer that the API server may still carry out."""
        self.events: list[TaskEvent] = []
        self.decisions: list[Decision] = []
        self.read = max(len(world.log) - behind, 1)
        task, pods = world.listed(self.read)
        self.pods: dict[str, Pod] = {}
        for raw in pods.values():
            self._put(raw)
        self.gone: set[str] = set()
        self.missing: set[str] = set()
        self.cleanup_image: CleanupImage | None = CLEANUP_IMAGE
        self.wake_at: datetime | None = world.now
        self.buried: set[str] = set()
        """UIDs of tasks that are gone."""
        self._begin(task)

    def _begin(self, task: Json | None, confirmed_at: datetime | None = None) -> None:
        """Observe this task from scratch."""
        self.task, self.confirmed_at = task, confirmed_at
        self.task_gone = False
        self.successor: Json | None = None
        """Another task under the same name, for when the present one is forgotten."""
        self.absent: dict[str, datetime] = {}
        self.nodes: dict[str, NodeSeen] = {}
        self.hosts: dict[str, NodeSeen] = {}
        self.refusal: CreateRefusal | None = None

    # --- the watch and the sweep -----------------------------------------------------------------------------
    def watch(self, events: int | None = None) -> None:
        """Take notice of the next events (all of them by default)."""
        for kind, event, obj in self.world.log[self.read :][:events]:
            self.read += 1
            self.wake_at = self.world.now
            if kind == "task" and event == "DELETED":
                self._end(obj["metadata"]["uid"])
            elif kind == "task":
                self._see_task(copy.deepcopy(obj))
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
        if self.world.task is not None:
            self._see_task(copy.deepcopy(self.world.task))
        elif self.task is not None:
            self._end(self.task["metadata"]["uid"])
        self.wake_at = self.world.now

    def _see_task(self, obj: Json, confirmed_at: datetime | None = None) -> None:
        """Some version of some task of this name; of two namesakes the younger one is there, the other is gone."""
        uid, mine = obj["metadata"]["uid"], (self.task or {}).get("metadata", {}).get("uid")
        if uid in self.buried:
            return
        if self.task is None:
            self._begin(obj, confirmed_at)
        elif confirmed_at is not None and uid == mine:
            self.task, self.confirmed_at = obj, confirmed_at
        elif _newer(obj, self.task) and uid == mine:
            self.task, self.confirmed_at = obj, None
        elif _newer(obj, self.successor or self.task):
            self._end(mine)
            self.successor = obj

    def _end(self, uid: str) -> None:
        """The task of this UID is gone."""
        self.buried.add(uid)
        if self.task is not None and self.task["metadata"]["uid"] == uid:
            self.task_gone = True
        if self.successor is not None and self.successor["metadata"]["uid"] == uid:
            self.successor = None

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

    def next_step(self) -> Step:
        """What it would do now."""
        return decide(self.observe()).step

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
                self.events.extend(decision.step.events)
                self._end(observed.uid)
                self._begin(self.successor)
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
        assert self.task is not None
        if answer.code == 404:
            self._end(self.task["metadata"]["uid"])
        elif answer.code == 200:
            self._see_task(answer.body, self.world.now)

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
