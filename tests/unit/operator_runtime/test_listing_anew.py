"""A new list behind a broken watch: it shows what is there, and the sweep has to find what went away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tests.unit.operator_runtime import virtual_time
from tests.unit.operator_runtime.objects import pod, task
from waypost_operator.runtime.cache import Cache
from waypost_operator.runtime.client import Client
from waypost_operator.runtime.intake import Intake
from waypost_operator.runtime.objects import Key
from waypost_operator.runtime.queue import KeyQueue
from waypost_operator.runtime.resync import Resync
from waypost_operator.runtime.witness import WatchWitness


@pytest.mark.parametrize(("kind", "asks"), [(None, True), ("ADDED", False), ("MODIFIED", False), ("DELETED", False)])
async def test_only_an_object_of_a_list_asks_for_a_comparison(kind: str | None, asks: bool) -> None:
    asked: list[str] = []
    queue: KeyQueue[Key] = KeyQueue()
    intake = Intake(Cache(), queue, WatchWitness(), lambda: datetime.now(UTC), lambda: asked.append("compare"))
    intake.task_event(kind, task())
    intake.pod_event(kind, pod())
    assert bool(asked) is asks


class Lists:
    """A client that only lists, finds nothing, and counts how often it was asked for pods."""

    def __init__(self) -> None:
        self.lists = 0

    async def pages(self, *where: Any) -> AsyncIterator[Any]:
        self.lists += len(where) == 3
        for page in list[Any]():
            yield page


def compared(pause: float, seconds: float, period: float) -> tuple[int, bool]:
    """How often the lists are compared in so many seconds, while an object of a new list comes every `pause` seconds;
    and whether the whole sweep took its turn."""

    async def play() -> tuple[int, bool]:
        lists = Lists()
        queue: KeyQueue[Key] = KeyQueue()
        resync = Resync(cast(Client, lists), Cache(), queue, WatchWitness(), lambda: datetime.now(UTC))
        before = resync.succeeded
        running = asyncio.create_task(resync.run(period))
        for _ in range(int(seconds / pause)):
            resync.listed_anew()
            await asyncio.sleep(pause)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return lists.lists, resync.succeeded > before

    return virtual_time.run(play())


def test_a_burst_of_objects_is_one_comparison() -> None:
    assert compared(pause=0.05, seconds=1.0, period=3600)[0] <= 1


def test_a_watch_that_breaks_again_and_again_delays_no_comparison_for_long_and_no_sweep() -> None:
    lists, swept = compared(pause=0.1, seconds=120.0, period=60)
    assert 10 <= lists <= 120
    assert swept
