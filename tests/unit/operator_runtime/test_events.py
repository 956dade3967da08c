"""Events are told once, counted when repeated, and lost rather than waited for."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from waypost.contract import EventReason
from waypost_operator.model.decision import TaskEvent
from waypost_operator.runtime.client import Accepted, Answer, Client, Refused
from waypost_operator.runtime.errors import NotLeadingError
from waypost_operator.runtime.events import SECONDS_BETWEEN_PATCHES, WAITING_AT_MOST, EventPoster

from .objects import task

REFUSED = TaskEvent("Warning", EventReason.POD_CREATE_REFUSED, "exceeded quota")


class Api:
    """Keeps Events as the API server does: one of a name."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.requests = 0
        self.leading = True

    async def create_event(self, event: dict[str, Any]) -> Answer:
        self.requests += 1
        if not self.leading:
            raise NotLeadingError("not leading")
        name = event["metadata"]["name"]
        if name in self.events:
            return Refused(409, "exists", "AlreadyExists")
        self.events[name] = event
        return Accepted(event)

    async def patch_event(self, key: Any, change: dict[str, Any]) -> Answer:
        self.requests += 1
        if key.name not in self.events:
            return Refused(404, "expired", "NotFound")
        self.events[key.name].update(change)
        return Accepted(self.events[key.name])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def post(api: Api, *events: TaskEvent, clock: Clock | None = None, pause: float = 0.0) -> None:
    clock = clock or Clock()
    poster = EventPoster(cast(Client, api), "test", clock)

    async def scenario() -> None:
        for event in events:
            await poster.post(task(), event)
            clock.now += pause

    asyncio.run(scenario())


def test_the_same_words_are_one_event() -> None:
    api = Api()
    post(api, *[REFUSED] * 20)
    assert len(api.events) == 1
    assert api.requests == 1


def test_repetitions_over_time_are_counted_but_not_written_each_time() -> None:
    api = Api()
    post(api, *[REFUSED] * 21, pause=SECONDS_BETWEEN_PATCHES / 4)
    [event] = api.events.values()
    assert event["series"]["count"] == 21
    assert api.requests == 6


def test_another_process_does_not_tell_it_again() -> None:
    api = Api()
    post(api, REFUSED)
    post(api, REFUSED)
    assert len(api.events) == 1


def test_an_event_that_expired_is_told_anew() -> None:
    api, clock = Api(), Clock()
    poster = EventPoster(cast(Client, api), "test", clock)

    async def scenario() -> None:
        await poster.post(task(), REFUSED)
        api.events.clear()
        clock.now += 3600
        await poster.post(task(), REFUSED)

    asyncio.run(scenario())
    assert len(api.events) == 1


def test_different_tasks_and_words_are_different_events() -> None:
    api = Api()
    post(api, REFUSED, TaskEvent("Warning", EventReason.POD_CREATE_REFUSED, "no ServiceAccount"))
    asyncio.run(EventPoster(cast(Client, api), "test").post(task("task-2"), REFUSED))
    assert len(api.events) == 3


def test_a_long_message_is_cut_to_what_the_api_takes() -> None:
    api = Api()
    post(api, TaskEvent("Warning", EventReason.TEMPLATE_INVALID, "ä" * 5000))
    [event] = api.events.values()
    assert len(event["note"].encode()) <= 1024


def test_a_flood_is_dropped_and_a_lost_lead_does_not_stop_the_poster() -> None:
    api = Api()
    api.leading = False
    poster = EventPoster(cast(Client, api), "test")

    async def scenario() -> None:
        for number in range(WAITING_AT_MOST + 10):
            poster.tell(task(), TaskEvent("Normal", EventReason.PREEMPTED, f"{number}"))
        assert poster.waiting == WAITING_AT_MOST
        running = asyncio.create_task(poster.run())
        await poster.drain()
        assert not running.done()
        running.cancel()

    asyncio.run(scenario())
    assert api.events == {}
