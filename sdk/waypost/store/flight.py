"""Several requests for parts of packs in flight, and a bound on what they hold in memory.

The caller's thread plans and waits; lanes do a request each, from the first byte asked for to the last one written, so
that the network, hashing and the disk are busy at the same time. The first error ends it: every lane is told to
give up, and nobody returns before all have, because a lane writes into what its caller is about to take away.

That holds however often Ctrl-C is pressed meanwhile. So the end doesn't rest on locks or on joining threads: what
Python offers of both can be left in a state that nobody knows by an exception out of a signal handler. Each lane says
that it is there, then looks whether it is still wanted; the caller says that they aren't, then looks who is there.
"""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Iterator
from typing import Final

from waypost.store.calls import Calls
from waypost.store.keys import MIB
from waypost.store.ranges import Request
from waypost.store.undisturbed import gone, with_its_end
from waypost.store.width import MOST, Width, first_at, most_at

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
        width = Width(calls.seams.clock, first_at(calls.backend), most_at(calls.backend))
        self._calls, self._width = calls, width
        self._pool = calls.seams.pool(MOST, "waypost-fetch")
        self._flying: dict[int, int] = {}
        """Bytes of each request that was given to a lane and hasn't ended, by its number."""
        self._there: set[int] = set()
        """Numbers of those whose lane is at work: it may write."""
        self._ended: queue.SimpleQueue[tuple[int, BaseException | None]] = queue.SimpleQueue()
        self._given_up = False

    def longest(self) -> int:
        return min(LONGEST, MOST_HELD // self._width.now)

    def run(self, requests: Iterator[Request]) -> None:
        with_its_end(lambda: self._work(requests), self._end)

    def _work(self, requests: Iterator[Request]) -> None:
        for number, request in enumerate(requests):
            while self._full(request.length):
                self._land()
            self._flying[number] = request.length
            self._pool.submit(self._lane, number, request)
        while self._flying:
            self._land()

    def _lane(self, number: int, request: Request) -> None:
        self._there.add(number)
        outcome = self._outcome(number, request)
        self._there.discard(number)
        self._ended.put((number, outcome))

    def _outcome(self, number: int, request: Request) -> BaseException | None:
        def turn() -> bool:
            """Where fewer are worth having than are there, the first ones go on, and the others wait for them."""
            return sum(other < number for other in tuple(self._there)) < self._width.now

        width = self._width
        try:
            self._check()
            self._deal(self._calls.beside(self._check, width.throttled, lambda: width.now, turn), request)
        except BaseException as error:  # noqa: BLE001 - it is raised where the request is waited for
            return error
        return None

    def _full(self, length: int) -> bool:
        held = sum(self._flying.values())
        return bool(self._flying) and (len(self._flying) >= self._width.now or held + length > MOST_HELD)

    def _land(self) -> None:
        """Wait until a request has ended. Raises what it raised."""
        number, error = self._ended.get()
        size = self._flying.pop(number)
        if error is not None:
            raise error
        self._width.landed(size)

    def _end(self) -> None:
        """Shut out the lanes that haven't begun, and wait for those that have."""
        self._given_up = True
        gone(lambda: not self._there)
        self._pool.shutdown(wait=False, cancel_futures=True)

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
