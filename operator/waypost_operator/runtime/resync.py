"""The periodic sweep: list everything, and compare it with the cache.

It mends what a watch can lose. What the cache has and the list does not is missing from then on, until a worker has
asked for the object itself; what the list has and the cache does not is put there, and reported to the witness of
the watch, since it should have come by itself. Every task is then decided anew, spread over a while: a decision
about nothing new costs no request, and one that a bug or a lost timer has left behind goes on.

A list that breaks off changes nothing: only a whole one proves an absence.

The same comparison is made at once when the transport has listed anew, as it does after every broken watch: it reports
what is there, and never what went away meanwhile. A pod that vanished while the API server was down would else be
found minutes later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from waypost import contract
from waypost_operator.runtime.cache import Cache
from waypost_operator.runtime.client import PODS, TASKS, Client
from waypost_operator.runtime.errors import ListError
from waypost_operator.runtime.objects import Key, Object, compare_versions, names, uid, version
from waypost_operator.runtime.queue import KeyQueue
from waypost_operator.runtime.witness import Kind, WatchWitness

logger = logging.getLogger(__name__)

SPREAD_SECONDS: Final = 30.0
"""Over how long the tasks that nothing happened to are decided again."""
RETRY_SECONDS: Final = 5.0
BURST_SECONDS: Final = 0.2
"""A new list comes as one event for each object: the first of them waits this long for the others."""
APART_SECONDS: Final = 5.0
"""Between two comparisons behind new lists: a watch that breaks again and again costs no more, and delays none."""


class Resync:
    """Sweeps the served namespaces; none given means all of them at once."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        queue: KeyQueue[Key],
        witness: WatchWitness,
        clock: Callable[[], datetime],
        namespaces: Sequence[str] = (),
    ) -> None:
        self._client = client
        self._cache = cache
        self._queue = queue
        self._witness = witness
        self._clock = clock
        self._namespaces = tuple(namespaces) or ("",)
        self.succeeded = time.monotonic()
        """When the last whole sweep ended; the health check looks at it."""
        self._relisted = asyncio.Event()

    def listed_anew(self) -> None:
        """The transport shows an object of a new list: compare soon."""
        self._relisted.set()

    async def run(self, period: float) -> None:
        """Sweep every `period` seconds, for ever, and behind each new list; a failed sweep is tried again sooner."""
        loop = asyncio.get_running_loop()
        due, compared = loop.time() + period, loop.time() - APART_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._relisted.wait(), max(0.0, due - loop.time()))
            if self._relisted.is_set():
                await asyncio.sleep(max(BURST_SECONDS, compared + APART_SECONDS - loop.time()))
            whole = loop.time() >= due
            self._relisted.clear()  # before listing: what is told meanwhile asks for another comparison
            while not await self._try(self.sweep(SPREAD_SECONDS) if whole else self.compare()):
                await asyncio.sleep(min(period, RETRY_SECONDS))
            compared = loop.time()
            if whole:
                due = compared + period

    async def _try(self, sweeping: Coroutine[Any, Any, object]) -> bool:
        try:
            await sweeping
        except ListError as error:
            logger.warning("%s", error)
            return False
        return True

    async def compare(self) -> int:
        """List everything and wake the tasks to which that is news; how many objects there are. Raises ListError."""
        count = 0
        for namespace in self._namespaces:
            count += await self._sweep_tasks(namespace)
            count += await self._sweep_pods(namespace)
        return count

    async def sweep(self, spread: float = 0.0) -> None:
        """One whole sweep; raises ListError. All tasks are decided again within `spread` seconds."""
        began = time.monotonic()
        count = await self.compare()
        keys = sorted(self._cache.keys())
        for place, key in enumerate(keys):
            self._queue.add(key, spread * place / len(keys))
        self.succeeded = time.monotonic()
        logger.debug("swept %d objects of %d tasks in %.2f s", count, len(keys), self.succeeded - began)

    async def _sweep_tasks(self, namespace: str) -> int:
        listed: set[str] = set()
        snapshot = ""
        async for page in self._client.pages(TASKS, namespace):
            snapshot = page.version
            for task in page.items:
                listed.add(uid(task))
                key = self._cache.put_task(task, self._clock())
                self._note(Kind.TASK, task, key)
        for task in _missing(self._cache.tasks(), listed, snapshot, namespace):
            self._witness.gone(Kind.TASK, names(task))
            self._wake(self._cache.doubt_task(names(task), uid(task)))
        return len(listed)

    async def _sweep_pods(self, namespace: str) -> int:
        listed: set[str] = set()
        snapshot = ""
        async for page in self._client.pages(PODS, namespace, contract.LABEL_TASK):
            snapshot = page.version
            for pod in page.items:
                listed.add(uid(pod))
                key = self._cache.put_pod(pod, self._clock())
                self._note(Kind.POD, pod, key)
        for pod in _missing(self._cache.pods(), listed, snapshot, namespace):
            self._witness.gone(Kind.POD, names(pod))
            self._wake(self._cache.miss_pod(names(pod), uid(pod)))
        return len(listed)

    def _note(self, kind: Kind, obj: Object, key: Key | None) -> None:
        if key is not None:
            self._witness.expect(kind, obj)
            self._wake(key)

    def _wake(self, key: Key | None) -> None:
        if key is not None:
            self._queue.add(key)


def _missing(known: Iterable[Object], listed: set[str], snapshot: str, namespace: str) -> list[Object]:
    """Those of the known objects that the list should show, by their version and namespace, and does not."""
    return [
        obj
        for obj in known
        if uid(obj) not in listed
        and namespace in ("", names(obj).namespace)
        and compare_versions(version(obj), snapshot) in (-1, 0)
    ]
