"""A story about one task: a small API server, one operator, and the verbs to tell what happens."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.operator.runtime import Runtime
from tests.unit.operator.tasks import task
from tests.unit.operator.world import World
from waypost.contract import Document, EventReason, Position
from waypost_operator.model.decision import (
    Forget,
    Wait,
)
from waypost_operator.model.raw import Json


class Story:
    """A world with one task and one operator, and the verbs to tell what happens in it."""

    def __init__(self, body: Json | None = None) -> None:
        self.world = World(body or task())
        self.operator = Runtime(self.world)

    def settle(self, *, seconds: float = 0.0) -> Wait | Forget:
        """Let time pass, tell the operator everything, and let it do what there is to do."""
        self.world.now += timedelta(seconds=seconds)
        self.operator.watch()
        step = self.operator.settle().step
        assert isinstance(step, Wait | Forget)
        return step

    def pass_time(self, *, seconds: float) -> None:
        """Let time pass as the operator lives it: it wakes whenever it asked to be woken."""
        end = self.world.now + timedelta(seconds=seconds)
        self.settle()
        while self.operator.wake_at is not None and self.operator.wake_at < end:
            assert self.operator.wake_at > self.world.now, "waiting for a moment that has passed"
            self.world.now = self.operator.wake_at
            self.settle()
        self.world.now = end
        self.settle()

    def restart(self, *, behind: int = 0) -> None:
        """The operator dies; the next one knows nothing but what it lists, from `behind` events ago."""
        said = self.operator.events
        self.operator = Runtime(self.world, behind=behind)
        self.operator.events = said

    def running(self, attempt: int = 1, *, seconds: float = 0.0) -> str:
        """The pod of that attempt runs, and the operator knows."""
        self.settle()
        name = f"train-{attempt}"
        self.world.bind(name, "node-1")
        self.world.run(name)
        self.settle(seconds=seconds)
        return name

    @property
    def status(self) -> Json:
        return self.world.status

    @property
    def last(self) -> Json:
        """The record of the newest attempt."""
        found: Json = self.status["attempts"][-1]
        return found

    def attempt(self, number: int) -> Json:
        found: Json = next(entry for entry in self.status["attempts"] if entry["attempt"] == number)
        return found

    def condition(self, kind: str) -> Json:
        found: Json = next((entry for entry in self.status.get("conditions", []) if entry["type"] == kind), {})
        return found

    @property
    def pods(self) -> list[str]:
        return sorted(self.world.pods)

    def said(self, reason: EventReason) -> list[str]:
        return [event.message for event in self.operator.events if event.reason == reason]

    def said_in_all(self) -> str:
        """Every event's message, a line each."""
        return "\n".join(event.message for event in self.operator.events)

    def steps(self) -> list[str]:
        return [type(decision.step).__name__ for decision in self.operator.decisions]


def document(
    attempt: int, step: int | None = None, *, sequence: int | None = None, resumed: int | None = None
) -> Document:
    """What a program with the SDK left behind that committed `step` and had resumed from `resumed`."""
    committed = None if step is None and sequence is None else Position(sequence or (step or 0) + 10, step)
    source = None if resumed is None else Position(resumed + 10, resumed)
    return Document(attempt=attempt, fence=attempt * 100, resumed_from=source, committed=committed)
