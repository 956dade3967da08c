"""Several requests for parts of packs in flight, and a bound on what they hold in memory.

The caller's thread plans and waits; lanes do a request each, from the first byte asked for to the last one written, so
that the network, hashing and the disk are busy at the same time. The first error ends it: every lane is told to
give up, and nobody returns before all have, because a lane writes into what its caller is about to take away.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Final

from waypost.store.calls import Calls
from waypost.store.keys import MIB
from waypost.store.ranges import Request
from waypost.store.width import MOST, Width

MOST_HELD: Final = 128 * MIB
"""Bytes asked for and not yet dealt with, all requests together. A backend that gives them piece by piece holds a small
part of them; one that doesn't (fsspec), all. Over a distance this is what a line can carry in one round trip."""
LONGEST: Final = 8 * MIB
"""Bytes of one request; longer ones bring nothing, and chunks shorter than that are verified as they come."""

Plan = Callable[[Callable[[], int]], Iterator[Request]]
"""Gives requests no longer than the function says that it is handed."""
Deal = Callable[[Calls, Request], None]


class _GivenUpError(Exception):
    """Ends a lane whose result nobody wants any more."""


class _Flight:
    """The requests in flight of one restore."""

    def __init__(self, calls: Calls, deal: Deal) -> None:
        self._deal = deal
        self._width = Width(calls.seams.clock)
        self._calls = calls.beside(self._check, self._width.throttled, lambda: self._width.now)
        self._pool = calls.seams.pool(MOST, "waypost-fetch")
        self._flying: dict[Future[None], int] = {}
        self._given_up = False

    def longest(self) -> int:
        return min(LONGEST, MOST_HELD // self._width.now)

    def run(self, requests: Iterator[Request]) -> None:
        with self._pool:
            try:
                for request in requests:
                    while self._full(request.length):
                        self._land()
                    self._flying[self._pool.submit(self._deal, self._calls, request)] = request.length
                while self._flying:
                    self._land()
            except BaseException:
                self._given_up = True
                raise

    def _full(self, length: int) -> bool:
        held = sum(self._flying.values())
        return bool(self._flying) and (len(self._flying) >= self._width.now or held + length > MOST_HELD)

    def _land(self) -> None:
        """Wait until a request has ended. Raises what it raised."""
        done = wait(self._flying, return_when=FIRST_COMPLETED).done
        for future in [future for future in self._flying if future in done]:
            size = self._flying.pop(future)
            future.result()
            self._width.landed(size)

    def _check(self) -> None:
        if self._given_up:
            raise _GivenUpError


def fly(calls: Calls, plan: Plan, deal: Deal) -> None:
    """Do all requests of the plan, several at once: `deal` is called in threads, with the calls to use there.

    Raises what `deal` raises, once nothing is in flight any more.
    """
    planned = plan(lambda: LONGEST)
    first = list(itertools.islice(planned, 2))
    if len(first) < 2:
        for request in first:  # no need for threads
            deal(calls, request)
        return
    flight = _Flight(calls, deal)
    flight.run(plan(flight.longest))
