"""A new list behind a broken watch: it shows what is there, and the sweep has to find what went away."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.unit.operator_runtime.objects import pod, task
from waypost_operator.runtime.cache import Cache
from waypost_operator.runtime.intake import Intake
from waypost_operator.runtime.objects import Key
from waypost_operator.runtime.queue import KeyQueue
from waypost_operator.runtime.witness import WatchWitness


@pytest.mark.parametrize(("kind", "asks"), [(None, True), ("ADDED", False), ("MODIFIED", False), ("DELETED", False)])
async def test_only_an_object_of_a_list_asks_for_a_comparison(kind: str | None, asks: bool) -> None:
    asked: list[str] = []
    queue: KeyQueue[Key] = KeyQueue()
    intake = Intake(Cache(), queue, WatchWitness(), lambda: datetime.now(UTC), lambda: asked.append("compare"))
    intake.task_event(kind, task())
    intake.pod_event(kind, pod())
    assert bool(asked) is asks
