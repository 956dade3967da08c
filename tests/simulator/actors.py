"""Processes that stop ahead of every request, in one thread.

Each is a greenlet that runs the real code. It hands control back before each request and goes on when the schedule
gives it a turn, with the fate that the schedule has chosen for that request. A switch costs well under a microsecond,
so thousands of whole schedules fit in a second.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import greenlet

from waypost.backends.protocol import BackendError

T = TypeVar("T")


class Fate(enum.Enum):
    """What becomes of one request."""

    ANSWERED = "answered"
    FAILED = "failed"
    """It never arrives."""
    LOST = "answer lost"
    """It is carried out, and its client doesn't hear of it."""
    HUNG = "hung"
    """It stays in the network, to be carried out at any later time; its client hears nothing."""
    TWICE = "carried out twice"
    """It is answered, and carried out once more at any later time."""
    LAGGED_1 = "lagged by 1"
    LAGGED_2 = "lagged by 2"
    """A LIST that doesn't show the newest entries yet."""

    __hash__ = object.__hash__  # members are singletons; the enum's own hash goes by name, in Python


class Request(NamedTuple):
    """What a process is about to ask of the store."""

    operation: str
    key: str


class Killed(BaseException):
    """Ends a process that gets no more turns."""


class Actor:
    """One process: a function, run request by request."""

    def __init__(self, name: str, life: Callable[[Actor], None], memory: Sequence[Any] = ()) -> None:
        """`memory`: what another process of the same life has learned so far; it is lived through again at once."""
        self.name, self._life = name, life
        self.first_name = name.rstrip("'")
        self.mark = ""
        """Tells the nonces of a copy from those that its original draws from here on."""
        self.memory: list[Any] = []
        """Everything it has learned from the world: with its life, all that it is."""
        self._remembered = list(reversed(memory))
        self.request: Request | None = None
        """What it does at its next turn; None once it has ended."""
        self.waits = False
        """Whether it has just asked the same, and so waits for somebody else."""
        self._asked: tuple[Request | None, Request | None] = (None, None)
        self.error: BaseException | None = None
        """What its life raised, which no life may."""
        self._fate = Fate.ANSWERED
        self._killed = False
        self._greenlet = greenlet.greenlet(self._run)
        self._greenlet.switch()

    def copy(self) -> Actor:
        """A second process with the same memory, as a restored snapshot of a machine is one."""
        twin = Actor(f"{self.name}'", self._life, self.memory)
        twin.mark = "'"
        return twin

    def step(self, fate: Fate) -> None:
        """Let it send its request, and run up to the next one or to its end."""
        self._fate = fate
        self._greenlet.switch()

    def kill(self) -> None:
        """It never gets another turn."""
        self._killed = True
        while self.request is not None:
            self._greenlet.switch()

    def learn(self, ask: Callable[[], T]) -> T:
        """Called by the process for everything that comes from outside: ask, or remember what was answered."""
        if self._remembered:
            answer = self._remembered.pop()
        else:
            try:
                answer = ask()
            except BackendError as error:
                answer = error
        self.memory.append(answer)
        if isinstance(answer, BackendError):
            raise answer
        return answer  # type: ignore[no-any-return]

    def turn(self, operation: str, key: str) -> Fate:
        """Called by the process ahead of a request: wait for the turn, and learn the request's fate."""
        if not self._killed:
            self.request = Request(operation, key)
            self.waits = self.request in self._asked
            self._asked = (self._asked[1], self.request)
            schedule = self._greenlet.parent
            assert schedule is not None
            schedule.switch()
        if self._killed:
            raise Killed
        return self._fate

    def _run(self) -> None:
        try:
            self._life(self)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - the schedule reports it
            self.error = error
        self.request = None
