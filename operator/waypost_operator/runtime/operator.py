"""The operator without its transport: all parts wired together, started and stopped in the right order.

What acts (workers, the poster of Events) starts only once this process leads and one whole sweep has filled the
cache, and stops before the lease is given back. What only looks (the intake of watch events, the sweep) runs from
the start, so that a follower can take over with a warm cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from waypost_operator.model.observed import CleanupImage
from waypost_operator.runtime.apply import Applier
from waypost_operator.runtime.cache import Cache
from waypost_operator.runtime.client import Client, Unconditional
from waypost_operator.runtime.errors import ListError
from waypost_operator.runtime.events import EventPoster
from waypost_operator.runtime.intake import Intake
from waypost_operator.runtime.leader import Election
from waypost_operator.runtime.objects import Key
from waypost_operator.runtime.queue import KeyQueue
from waypost_operator.runtime.resync import Resync
from waypost_operator.runtime.witness import STALE_SECONDS, WatchWitness
from waypost_operator.runtime.worker import Worker

logger = logging.getLogger(__name__)

FINISH_SECONDS: Final = 5.0
"""How long a worker may finish its present step when the operator stops."""
STUCK_SECONDS: Final = 600.0
"""A worker that has been at one task for longer hangs; each of its requests ends after 10 s."""
FIRST_SWEEP_RETRY_SECONDS: Final = 2.0


def utc_now() -> datetime.datetime:
    """The wall clock."""
    return datetime.datetime.now(datetime.UTC)


class Operator:
    """See the module. `lease` None means that no leader is elected: this process is the only one."""

    def __init__(
        self,
        api: ApiClient,
        identity: str,
        lease: Key | None,
        namespaces: Sequence[str] = (),
        resync_seconds: float = 300.0,
        workers: int = 8,
        stale_seconds: float = STALE_SECONDS,
        cleanup_image: CleanupImage | None = None,
    ) -> None:
        self._election = None if lease is None else Election(Client(api), lease, identity)
        client = Client(api, authority=self._election or Unconditional())
        self._resync_seconds = resync_seconds
        self.cache = Cache(cleanup_image)
        self.queue: KeyQueue[Key] = KeyQueue()
        self.witness = WatchWitness(stale_seconds)
        self.events = EventPoster(client, identity)
        self.resync = Resync(client, self.cache, self.queue, self.witness, utc_now, namespaces)
        self.intake = Intake(self.cache, self.queue, self.witness, utc_now, self.resync.listed_anew)
        applier = Applier(client, self.cache, self.events, self.witness, utc_now)
        self.workers = [Worker(self.queue, self.cache, applier, utc_now, number) for number in range(workers)]

    async def run(self) -> None:
        """Lead as soon as possible, and work until cancelled; raises LeadershipLostError."""
        async with _background(self.resync.run(self._resync_seconds)):
            if self._election is None:
                await self._work()
                return
            await self._election.acquire()
            try:
                async with _background(self._work()) as working:
                    holding = asyncio.ensure_future(self._election.hold())
                    try:
                        await asyncio.wait({holding, working}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        await _cancel(holding)
                    _raise_first(holding, working)
            finally:
                await self._election.release()

    async def _work(self) -> None:
        """Everything that acts, until cancelled."""
        await self._first_sweep()
        async with _background(self.events.run()):
            tasks = [asyncio.create_task(worker.run(), name=f"worker {worker.number}") for worker in self.workers]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                _raise_first(*done)
            finally:
                await self._stop_workers(tasks)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.events.drain(), FINISH_SECONDS)

    async def _first_sweep(self) -> None:
        """Know everything before anything is done; without a whole list there is nothing to act on."""
        while True:
            try:
                await self.resync.sweep()
            except ListError as error:
                logger.warning("%s", error)
                await asyncio.sleep(FIRST_SWEEP_RETRY_SECONDS)
            else:
                return

    async def _stop_workers(self, tasks: list[asyncio.Task[None]]) -> None:
        """Cancel the idle ones; let the others come to the end of their step, for a while."""
        busy = []
        for worker, task in zip(self.workers, tasks, strict=True):
            worker.stop()
            if worker.busy_since is None:
                task.cancel()
            elif not task.done():
                busy.append(task)
        if busy:
            await asyncio.wait(busy, timeout=FINISH_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def complaints(self) -> list[str]:
        """Why this process should be restarted; empty while it is well."""
        now = time.monotonic()
        found = self.witness.overdue()[:3]
        quiet = now - self.resync.succeeded
        if quiet > 3 * self._resync_seconds + 60:
            found.append(f"the last whole sweep ended {quiet:.0f} s ago")
        found += [
            f"worker {worker.number} has been at {worker.key} for {now - worker.busy_since:.0f} s"
            for worker in self.workers
            if worker.busy_since is not None and now - worker.busy_since > STUCK_SECONDS
        ]
        return found


def _raise_first(*tasks: asyncio.Future[None]) -> None:
    """Raise what a finished task failed with; one that simply ended, although it never should, is a bug."""
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
            raise RuntimeError(f"{task} ended, but runs for ever by design: this is a bug")


async def _cancel(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run `work` beside the block and cancel it with the block's end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        await _cancel(task)
