"""Doing what a decision says: the only place that acts on the cluster, and the first to learn what came of it.

`Applier.carry_out` sends the one request of a step and puts the API server's answer into the cache, so that the
next decision of the same worker is made from it at once, without waiting for the watch to echo it. What each answer
means is the contract in `waypost_operator.decide`; here it stands as code, one method a step.

What a live look shows counts as seen when it was asked for, not when its answer came: the answer may have been long
under way, and nobody knows what happened since. How long answers take is noted, for `model.pace`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from waypost_operator.model.decision import (
    CreatePod,
    DeletePod,
    DeleteTask,
    Forget,
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
from waypost_operator.model.observed import CreateRefusal, Observed
from waypost_operator.model.pace import Asked
from waypost_operator.runtime.cache import Cache
from waypost_operator.runtime.client import NODES, PODS, TASKS, Accepted, Answer, Client, Refused, Unclear
from waypost_operator.runtime.events import EventPoster
from waypost_operator.runtime.logs import log_fields
from waypost_operator.runtime.objects import Key, Object, names, uid
from waypost_operator.runtime.witness import Kind, WatchWitness

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Again:
    """The answer is in the cache: decide again at once."""


@dataclass(frozen=True)
class Later:
    """Nothing was learnt (no answer, or the API server is in trouble): decide again after a backoff."""

    why: Refused | Unclear

    @property
    def at_least(self) -> float:
        """Seconds that the API server asked us to wait."""
        return (self.why.retry_after or 0.0) if isinstance(self.why, Refused) else 0.0


Outcome = Again | Later
AGAIN = Again()


class Applier:
    """See the module; `clock` is the wall clock in UTC."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        events: EventPoster,
        witness: WatchWitness,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._cache = cache
        self._events = events
        self._witness = witness
        self._clock = clock

    async def carry_out(self, key: Key, observed: Observed, step: Step) -> Outcome:
        """Do one step for the task observed under this key."""
        match step:
            case WriteStatus():
                return await self._write_status(key, observed, step)
            case WriteFinalizers():
                return await self._write_finalizers(key, observed, step)
            case DeleteTask():
                return await self._delete_task(key, observed, step)
            case CreatePod():
                return await self._create_pod(key, observed, step)
            case DeletePod():
                return await self._delete_pod(key, step)
            case LookAtTask():
                return await self.look_at_task(key, observed.uid)
            case LookAtPod():
                return await self.look_at_pod(key, step.name, step.uid)
            case LookAtNode():
                return await self._look_at_node(key, step)
            case Forget():
                self._tell(observed.task, step.events)
                self._cache.forget_task(key, observed.uid)
                return AGAIN
            case Wait():
                return AGAIN

    async def _write_status(self, key: Key, observed: Observed, step: WriteStatus) -> Outcome:
        asked = self._clock()
        answer = await self._client.put_status(observed.task, step.resource_version, step.status)
        return await self._written(key, observed, step.events, asked, answer)

    async def _write_finalizers(self, key: Key, observed: Observed, step: WriteFinalizers) -> Outcome:
        asked = self._clock()
        answer = await self._client.patch_finalizers(observed.task, step.resource_version, step.finalizers)
        return await self._written(key, observed, step.events, asked, answer)

    async def _written(
        self, key: Key, observed: Observed, events: Iterable[TaskEvent], asked: datetime, answer: Answer
    ) -> Outcome:
        if isinstance(answer, Accepted):
            self._note_pace(key, Asked.TASK, asked, answer)
            self._cache.put_task(answer.object, asked, confirmed=True)
            self._witness.expect(Kind.TASK, answer.object)
            self._tell(observed.task, events)
            return AGAIN
        if isinstance(answer, Refused) and answer.status == 409:
            return await self.look_at_task(key, observed.uid)
        if isinstance(answer, Refused) and answer.status == 404:
            self._cache.end_task(key, observed.uid)
            return AGAIN
        return Later(answer)

    async def _delete_task(self, key: Key, observed: Observed, step: DeleteTask) -> Outcome:
        asked = self._clock()
        answer = await self._client.delete_task(key, step.uid, step.resource_version)
        if isinstance(answer, Accepted) and uid(answer.object) == step.uid:
            return await self._written(key, observed, step.events, asked, answer)
        if isinstance(answer, Accepted):
            self._tell(observed.task, step.events)
            return await self.look_at_task(key, step.uid)
        if isinstance(answer, Refused) and answer.status in (404, 409):
            return await self.look_at_task(key, step.uid)
        return Later(answer)

    async def _create_pod(self, key: Key, observed: Observed, step: CreatePod) -> Outcome:
        answer = await self._client.create_pod(key.namespace, step.body)
        if isinstance(answer, Unclear):
            return Later(answer)
        record = self._cache.record(key)
        if isinstance(answer, Accepted):
            self._cache.put_pod(answer.object, self._clock())
            self._witness.expect(Kind.POD, answer.object)
            if record is not None:
                record.refusal = None
            return AGAIN
        if answer.status == 409 and answer.reason == "AlreadyExists":
            return await self.look_at_pod(key, step.name, "")
        if record is not None:
            record.refusal = CreateRefusal.after(
                record.refusal,
                task=observed.task,
                attempt=step.attempt,
                code=answer.status,
                message=answer.message,
                at=self._clock(),
                causes=answer.causes,
            )
        return AGAIN

    async def _delete_pod(self, key: Key, step: DeletePod) -> Outcome:
        answer = await self._client.delete_pod(Key(key.namespace, step.name), step.uid)
        if isinstance(answer, Accepted):
            if uid(answer.object) == step.uid:
                self._cache.put_pod(answer.object, self._clock())
            return AGAIN
        if isinstance(answer, Refused) and answer.status in (404, 409):
            return await self.look_at_pod(key, step.name, step.uid)
        return Later(answer)

    async def look_at_task(self, key: Key, identity: str) -> Outcome:
        """GET the task; it is gone if there is none of this name, or one of another UID."""
        asked = self._clock()
        answer = await self._client.get(TASKS, key)
        self._note_pace(key, Asked.TASK, asked, answer)
        if isinstance(answer, Accepted):
            if uid(answer.object) != identity:
                self._cache.end_task(key, identity)
                self._witness.gone(Kind.TASK, key)
            self._cache.put_task(answer.object, asked, confirmed=True)
            return AGAIN
        if isinstance(answer, Refused) and answer.status == 404:
            self._cache.end_task(key, identity)
            self._witness.gone(Kind.TASK, key)
            return AGAIN
        return Later(answer)

    async def look_at_pod(self, key: Key, name: str, identity: str) -> Outcome:
        """GET the pod; the one of this UID is gone if there is none of this name, or one of another UID."""
        asked = self._clock()
        known_before = self._cache.pod_uid(Key(key.namespace, name))
        answer = await self._client.get(PODS, Key(key.namespace, name))
        self._note_pace(key, Asked.POD, asked, answer)
        if isinstance(answer, Accepted):
            found = uid(answer.object)
            for other in {identity, known_before} - {"", found}:
                self._cache.absent_pod(key, name, other)
            self._cache.read_pod(key, answer.object, asked)
            return AGAIN
        if isinstance(answer, Refused) and answer.status == 404:
            for absent in {identity, known_before}:
                self._cache.absent_pod(key, name, absent)
            self._cache.note_absence(key, name, asked)
            self._witness.gone(Kind.POD, Key(key.namespace, name))
            return AGAIN
        return Later(answer)

    async def _look_at_node(self, key: Key, step: LookAtNode) -> Outcome:
        asked = self._clock()
        answer = await self._client.get(NODES, Key("", step.name))
        self._note_pace(key, Asked.NODE, asked, answer)
        if isinstance(answer, Accepted):
            seen = NodeSeen(step.name, NodeFate.PRESENT, answer.object, asked)
        elif isinstance(answer, Refused) and answer.status in (403, 404):
            fate = NodeFate.GONE if answer.status == 404 else NodeFate.UNREADABLE
            seen = NodeSeen(step.name, fate, at=asked)
        else:
            return Later(answer)
        record = self._cache.record(key)
        if record is not None:
            (record.hosts if step.at_bind else record.nodes)[step.pod_uid] = seen
        return AGAIN

    def _note_pace(self, key: Key, kind: Asked, asked: datetime, answer: Answer) -> None:
        """What hung, broke off or was turned away tells nothing of how quick the next answer will be."""
        told = (403, 404) if kind is Asked.NODE else (404,)
        if isinstance(answer, Accepted) or (isinstance(answer, Refused) and answer.status in told):
            self._cache.answered(key, kind, self._clock() - asked)

    def _tell(self, task: Object, events: Iterable[TaskEvent]) -> None:
        for event in events:
            words = event.message.replace("\n", " ")
            logger.info("told the user: %s: %s", event.reason, words, extra=log_fields(names(task), task))
            self._events.tell(task, event)
