"""Kubernetes Events about tasks: what `kubectl describe ckt` tells a person about the last hour.

Events are a courtesy: they are posted in the background, behind the writes that matter, and one that is lost is
only logged. The name of an Event follows from what it says about which task, so the same words said twice (also by
two processes, or after a restart) become one Event with a count instead of two Events, and a refusal that repeats
for hours is patched at most once a minute.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from waypost import contract
from waypost_operator.model.decision import TaskEvent
from waypost_operator.runtime.client import Accepted, Answer, Client, Refused
from waypost_operator.runtime.errors import NotLeadingError
from waypost_operator.runtime.objects import Key, Object, names, uid

logger = logging.getLogger(__name__)

LONGEST_NOTE: Final = 1024
"""Bytes of UTF-8; the API refuses longer ones."""
SECONDS_BETWEEN_PATCHES: Final = 60.0
REMEMBERED: Final = 5_000
WAITING_AT_MOST: Final = 2_000
ACTION: Final = "Reconcile"


@dataclass
class _Told:
    """One Event already on the API server."""

    count: int
    patched: float


class EventPoster:
    """Posts Events in the order in which they were told; `run` does the work."""

    def __init__(self, client: Client, instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._waiting: asyncio.Queue[tuple[Object, TaskEvent]] = asyncio.Queue(WAITING_AT_MOST)
        self._told: OrderedDict[Key, _Told] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many Events wait to be posted."""
        return self._waiting.qsize()

    def tell(self, task: Object, event: TaskEvent) -> None:
        """Take an Event to be posted soon; dropped, with a log line, when too many wait."""
        try:
            self._waiting.put_nowait((task, event))
        except asyncio.QueueFull:
            logger.warning("the Event %s of %s is dropped: %d wait already", event.reason, names(task), WAITING_AT_MOST)

    async def run(self) -> None:
        """Post what was told, for ever."""
        while True:
            task, event = await self._waiting.get()
            try:
                await self.post(task, event)
            except NotLeadingError as error:
                logger.info("the Event %s of %s is left to whoever leads now: %s", event.reason, names(task), error)
            finally:
                self._waiting.task_done()

    async def drain(self) -> None:
        """Return when everything told so far was posted (or given up)."""
        await self._waiting.join()

    async def post(self, task: Object, event: TaskEvent) -> None:
        """Create the Event, or count one more if it was told before."""
        body = self._body(task, event)
        key = names(body)
        told = self._told.get(key)
        if told is None:
            answer = await self._client.create_event(body)
            if isinstance(answer, Refused) and answer.status == 409:
                answer = Accepted(body)  # told by an earlier process, which this one need not repeat
            self._remember(key, answer)
        else:
            told.count += 1
            if self._clock() - told.patched < SECONDS_BETWEEN_PATCHES:
                return
            told.patched = self._clock()
            series = {"count": told.count, "lastObservedTime": body["eventTime"]}
            answer = await self._client.patch_event(key, {"series": series})
            if isinstance(answer, Refused) and answer.status == 404:  # expired, an hour by default
                answer = await self._client.create_event(body)
        if not isinstance(answer, Accepted):
            logger.warning("the Event %s of %s was not written: %s", event.reason, names(task), answer)

    def _remember(self, key: Key, answer: Answer) -> None:
        if isinstance(answer, Accepted):
            self._told[key] = _Told(1, self._clock())
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    def _body(self, task: Object, event: TaskEvent) -> Object:
        key = names(task)
        words = f"{uid(task)}\n{event.type}\n{event.reason}\n{event.message}"
        digest = hashlib.sha256(words.encode()).hexdigest()[:16]
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{key.name}.{digest}", "namespace": key.namespace},
            "eventTime": now,
            "type": event.type,
            "reason": str(event.reason),
            "action": ACTION,
            "note": event.message.encode()[:LONGEST_NOTE].decode(errors="ignore"),
            "reportingController": contract.FIELD_MANAGER,
            "reportingInstance": self._instance[:128],
            "regarding": {
                "apiVersion": contract.API_VERSION,
                "kind": contract.KIND,
                "namespace": key.namespace,
                "name": key.name,
                "uid": uid(task),
            },
        }
