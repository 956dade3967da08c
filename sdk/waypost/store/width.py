"""How many requests are worth having in flight: found out by trying, and fewer when the place asks for fewer.

Nobody knows the line. Over a distance, or where the place gives each connection only so much, more requests at once
bring more; on a fast line beside a busy program they bring nothing but load. So twice as many are tried as long as that
makes it faster by a good part, and the last step that didn't is taken back. A place that says "slow down" halves
the number at once, and from then on it grows by one at a time. So does a line on which answers don't come in time: it
would be too slow for so many again. Many requests tell of the same trouble; one halving answers all that began before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Lock
from typing import Final

from waypost.backends.protocol import Backend

START: Final = 4
MOST: Final = 16
_ROUND: Final = 2
"""A round is so many requests for each that may be in flight: enough to tell what that number brings."""
_WORTH: Final = 0.25
"""A step has to bring this part of what it would bring if every request went as fast as before."""
_REST: Final = 8
"""Rounds from one step that wasn't worth it, or was too much, to the next try."""


def most_at(backend: Backend) -> int:
    """How many requests may ever be worth having in flight at this place."""
    most: int = getattr(backend, "most_requests", MOST)  # what wraps a `Limited` place passes its attributes on
    return min(MOST, most)


def first_at(backend: Backend) -> int:
    """How many requests to begin with at this place."""
    first: int = getattr(backend, "first_requests", START)
    return min(first, most_at(backend))


class Width:
    """How many requests may be in flight now. Owned by one thread, but for `throttled`."""

    def __init__(self, clock: Callable[[], float], start: int = START, most: int = MOST) -> None:
        self.now = start
        self._clock, self._most = clock, most
        self._before: int | None = None
        """What the step that is being tried started from."""
        self._rate = 0.0
        self._rest = 1  # the first round opens connections, and tells little
        self._careful, self._reduced = False, -math.inf
        self._lock = Lock()
        self._begin()

    def throttled(self, began: float) -> None:
        """A request that began then was one too many. May be called from any thread."""
        with self._lock:
            if began > self._reduced:
                self._careful, self._reduced = True, self._clock()
                self._before, self._rest, self.now = None, _REST, max(1, self.now // 2)
                self._begin()

    def landed(self, size: int) -> None:
        """A request has ended that moved so many bytes."""
        with self._lock:
            self._count += 1
            self._bytes += size
            if self._count >= _ROUND * self.now:
                self._judge(self._clock() - self._began)
                self._begin()

    def _begin(self) -> None:
        self._count = self._bytes = 0
        self._began = self._clock()

    def _judge(self, seconds: float) -> None:
        if seconds <= 0:
            return
        rate = self._bytes / seconds
        if self._before is not None and rate / self._rate < 1 + _WORTH * (self.now / self._before - 1):
            self.now, self._before, self._rest = self._before, None, _REST
            return
        self._rate, self._before = rate, None
        if self._rest > 0:
            self._rest -= 1
        elif self.now < self._most:
            self._before = self.now
            self.now = min(self._most, self.now + 1 if self._careful else 2 * self.now)
