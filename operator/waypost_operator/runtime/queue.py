"""The queue of tasks to look at: each key at most once, one worker per key, with delays and error backoff.

The reconciliation is level-based: a key says "look at this task", never what happened to it, so any number of
wake-ups melt into one. Three rules make that safe and are what a plain `asyncio.Queue` does not give:

* a key is held by at most one worker; a key added meanwhile runs again when that worker is done;
* of several times at which a key should be looked at, the earliest wins (the decision then taken sets the next);
* a key that failed comes back after a delay that doubles up to a cap, and is forgiven by its first success.

Time comes from the `clock` given to the constructor (seconds, monotonic), so tests move it by hand.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_BACKOFF_SECONDS: Final = 0.2
LONGEST_BACKOFF_SECONDS: Final = 60.0


class KeyQueue(Generic[Key]):
    """Keys that are due now or later; see the module for its rules. Not thread-safe: one event loop owns it."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        first_backoff: float = FIRST_BACKOFF_SECONDS,
        longest_backoff: float = LONGEST_BACKOFF_SECONDS,
    ) -> None:
        self._clock = clock
        self._first_backoff = first_backoff
        self._longest_backoff = longest_backoff
        self._due: dict[Key, float] = {}
        self._due_when_let_go: dict[Key, float] = {}
        self._order: list[tuple[float, int, Key]] = []
        self._count = itertools.count()
        self._held: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """How many keys wait, due or not; those held by workers are not counted."""
        return len(self._due)

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Have `key` looked at in `delay` seconds, or earlier if that was already agreed."""
        when = self._clock() + max(0.0, delay)
        if key in self._held:
            self._due_when_let_go[key] = min(when, self._due_when_let_go.get(key, when))
        elif when < self._due.get(key, float("inf")):
            self._schedule(key, when)

    def _schedule(self, key: Key, when: float) -> None:
        self._due[key] = when
        heapq.heappush(self._order, (when, next(self._count), key))
        self._changed.set()

    def add_failed(self, key: Key, at_least: float = 0.0) -> float:
        """Have `key` looked at again after an error; return the delay in seconds, doubled at each call up to a cap."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(at_least, min(self._longest_backoff, self._first_backoff * 2.0 ** min(failures, 32)))
        self.add(key, delay)
        return delay

    def forgive(self, key: Key) -> None:
        """Forget the errors of `key`: the next one starts from the shortest delay."""
        self._failures.pop(key, None)

    def take(self) -> Key | None:
        """Hold and return the key that has been due for longest, or None when none is due and free."""
        now = self._clock()
        when = self.next_due()
        if when is None or when > now:
            return None
        key = heapq.heappop(self._order)[2]
        del self._due[key]
        self._held.add(key)
        return key

    def next_due(self) -> float | None:
        """When the next free key is due, by the clock; None while no key waits."""
        while self._order and self._due.get(self._order[0][2]) != self._order[0][0]:
            heapq.heappop(self._order)  # overtaken by an earlier time
        return self._order[0][0] if self._order else None

    def done(self, key: Key) -> None:
        """Let go of `key`; if it was added while it was held, it waits again from now on."""
        self._held.discard(key)
        when = self._due_when_let_go.pop(key, None)
        if when is not None:
            self._schedule(key, when)

    async def get(self) -> Key:
        """Wait until a key is due and hold it; the caller must call `done` whatever happens."""
        while (key := self.take()) is None:
            self._changed.clear()
            when = self.next_due()
            try:
                async with asyncio.timeout(None if when is None else max(0.0, when - self._clock())):
                    await self._changed.wait()
            except TimeoutError:
                continue  # the next key is due
        return key
