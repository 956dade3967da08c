"""A whole operator process, moved by hand: one request at a time, each carried out and answered when a test says so.

Everything but the transport is the real thing: intake, cache, queue, sweep, worker, applier. Its coroutines are driven
without an event loop: where the client would wait for the API server, they hand out a `Request` and stand still, so
that a test decides what other processes, kubelets and time do between a request, its effect and its answer.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from tests.unit.operator import server as fake
from tests.unit.operator.runtime import CLEANUP_IMAGE
from tests.unit.operator.server import START, Server
from waypost_operator.model.raw import Json
from waypost_operator.runtime.apply import Applier
from waypost_operator.runtime.cache import Cache
from waypost_operator.runtime.client import NODES, TASKS, Accepted, Answer, Client, Page, Refused, Resource, Unclear
from waypost_operator.runtime.errors import ListError
from waypost_operator.runtime.events import EventPoster
from waypost_operator.runtime.intake import Intake
from waypost_operator.runtime.objects import Key, uid
from waypost_operator.runtime.queue import KeyQueue
from waypost_operator.runtime.resync import Resync
from waypost_operator.runtime.witness import WatchWitness
from waypost_operator.runtime.worker import Worker

NO_ANSWER = Unclear("the test lost it")


@dataclasses.dataclass
class Request:
    """A request on its way: `act` carries it out on the world."""

    verb: str
    name: str
    sent: datetime
    act: Callable[[], fake.Answer]
    uid: str = ""
    """Of a pod that is to be deleted."""

    def __await__(self) -> Generator[Request, Answer, Answer]:
        return (yield self)


class Wire:
    """What the runtime uses of `Client`, over a `Server` with a single namespace."""

    def __init__(self, world: Server) -> None:
        self._world = world

    def _request(self, verb: str, name: str, act: Callable[[], fake.Answer]) -> Request:
        return Request(verb, name, self._world.now, act)

    async def get(self, resource: Resource, key: Key) -> Answer:
        if resource == TASKS:
            return await self._request("GET task", key.name, self._world.get_task)
        get = self._world.get_node if resource == NODES else self._world.get_pod
        return await self._request(f"GET {resource.plural}", key.name, lambda: get(key.name))

    async def create_pod(self, namespace: str, pod: Json) -> Answer:
        body = copy.deepcopy(pod)
        return await self._request("POST pod", pod["metadata"]["name"], lambda: self._world.create_pod(body))

    async def delete_pod(self, key: Key, identity: str) -> Answer:
        act = lambda: self._world.delete_pod(key.name, identity)  # noqa: E731
        return await Request("DELETE pod", key.name, self._world.now, act, identity)

    async def delete_task(self, key: Key, identity: str, resource_version: str) -> Answer:
        act = lambda: self._world.delete_this_task(identity, resource_version)  # noqa: E731
        return await self._request("DELETE task", key.name, act)

    async def put_status(self, task: Json, resource_version: str, status: Mapping[str, Any]) -> Answer:
        body, identity = copy.deepcopy(dict(status)), uid(task)

        def act() -> fake.Answer:
            if self._world.task is not None and uid(self._world.task) != identity:
                return fake.Answer(409, {"reason": "Conflict", "message": "another UID"})
            return self._world.put_status(body, resource_version)

        return await self._request("PUT status", task["metadata"]["name"], act)

    async def patch_finalizers(self, task: Json, resource_version: str, finalizers: Sequence[str]) -> Answer:
        name = task["metadata"]["name"]
        act = lambda: self._world.patch_finalizers(list(finalizers), resource_version)  # noqa: E731
        return await self._request("PATCH finalizers", name, act)

    async def pages(self, resource: Resource, namespace: str = "", selector: str = "") -> AsyncIterator[Page]:
        def act() -> fake.Answer:
            tasks = [] if self._world.task is None else [self._world.task]
            found = tasks if resource == TASKS else list(self._world.pods.values())
            return fake.Answer(200, {"items": copy.deepcopy(found), "version": str(self._world.version)})

        answer = await self._request(f"LIST {resource.plural}", "", act)
        if not isinstance(answer, Accepted):
            raise ListError(f"LIST failed: {answer}")
        yield Page(answer.object["items"], answer.object["version"])


class Process:
    """One operator process. It begins with a whole list, as the real one does, and hears the watch from `behind` on."""

    def __init__(self, world: Server, *, behind: int = 0) -> None:
        self.world = world
        self.read = max(len(world.log) - behind, 0)
        self.cache = Cache(CLEANUP_IMAGE)
        self.queue: KeyQueue[Key] = KeyQueue(clock=lambda: (world.now - START).total_seconds())
        witness, wire = WatchWitness(), cast(Client, Wire(world))
        self._resync = Resync(wire, self.cache, self.queue, witness, self._now)
        self.intake = Intake(self.cache, self.queue, witness, self._now, self._note_list)
        applier = Applier(wire, self.cache, EventPoster(wire, "test"), witness, self._now)
        self._worker = Worker(self.queue, self.cache, applier, self._now)
        self._work: Coroutine[Request, Answer, None] | None = None
        self._key: Key | None = None
        self.request: Request | None = None
        """What it waits for; None when it has nothing to ask."""
        self.answer: Answer | None = None
        """What the API server has answered already; not heard yet."""
        self._listed = False
        self._relisted = False

    def _now(self) -> datetime:
        return self.world.now

    # --- the watch -------------------------------------------------------------------------------------------
    def watch(self, events: int | None = None) -> None:
        """Hear the next events, all of them by default."""
        for kind, event, obj in self.world.log[self.read :][:events]:
            self.read += 1
            hear = self.intake.task_event if kind == "task" else self.intake.pod_event
            hear(event, copy.deepcopy(obj))

    def skip_events(self) -> None:
        """The watch broke; the next one begins with what is there, and tells nothing of what went away."""
        self.read = len(self.world.log)
        for pod in self.world.pods.values():
            self.intake.pod_event(None, copy.deepcopy(pod))
        if self.world.task is not None:
            self.intake.task_event(None, copy.deepcopy(self.world.task))

    def _note_list(self) -> None:
        self._relisted = True

    # --- its work --------------------------------------------------------------------------------------------
    def wake(self) -> bool:
        """Begin with what is due now; False when nothing is."""
        assert self._work is None
        if not self._listed:
            return self.sweep()
        if self._relisted:
            self._relisted = False
            self._go(cast(Coroutine[Request, Answer, None], self._resync.compare()))
            return True
        self._key = self.queue.take()
        if self._key is None:
            return False
        self._go(cast(Coroutine[Request, Answer, None], self._worker.settle(self._key)))
        return True

    def sweep(self) -> bool:
        """Begin with a whole list, unless it is at something else."""
        if self._work is not None:
            return False
        self._go(cast(Coroutine[Request, Answer, None], self._resync.sweep()))
        return True

    @property
    def busy(self) -> bool:
        return self._work is not None

    def carry_out(self) -> None:
        """The request reaches the API server; its answer is on the way back."""
        assert self.request is not None
        self.answer = _as_the_client_says(self.request.act())

    def hear(self, answer: Answer | None = None) -> None:
        """The answer arrives: the API server's, or the one given."""
        told = answer or self.answer
        assert told is not None
        self._step(told)

    def _go(self, work: Coroutine[Request, Answer, None]) -> None:
        self._work = work
        self._step(None)

    def _step(self, answer: Answer | None) -> None:
        assert self._work is not None
        self.request = self.answer = None
        try:
            self.request = self._work.send(cast(Answer, answer))
        except StopIteration:
            self._end()
            self._listed = True
        except ListError:
            self._end()

    def _end(self) -> None:
        self._work = None
        if self._key is not None:
            self.queue.done(self._key)
            self._key = None

    def kill(self) -> None:
        """It dies where it stands."""
        if self._work is not None:
            self._work.close()
            self._work = None


def _as_the_client_says(answer: fake.Answer) -> Answer:
    if answer.code < 400:
        return Accepted(answer.body)
    causes = tuple(cause["reason"] for cause in answer.body.get("details", {}).get("causes", []))
    message, reason = str(answer.body.get("message", "")), str(answer.body.get("reason", ""))
    return Refused(answer.code, message, reason, causes=causes)
