"""How far a transfer has come: a line in the log every ten seconds of a longer one, or a bar where somebody looks on.

Whoever begins a transfer makes it the current one of its thread (`moving`). What plans the requests below, however
deep, says how many bytes it expects, and counts those that have come. So the numbers are right for files, bytes and
states alike, and nothing in between has to hand them through. Without a current transfer nothing is counted: a mover
reports each pack to the program, and that counts.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from waypost.contract import Transfer
from waypost.log import logger
from waypost.store.keys import MIB

EVERY: Final = 10.0
"""Seconds between two lines."""


class Watcher(Protocol):
    """Shows how far a transfer is, in place of the log. Called in any thread, by one at a time."""

    def __call__(self, progress: Progress) -> None:
        """Something has changed."""


class Progress:
    """One transfer, from now on. To be told of from any thread."""

    def __init__(
        self, doing: str, done: str, *, at_most: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`doing` what with bytes, of which some are `done`; with `at_most` some of those expected needn't be moved."""
        self.doing, self._done, self._at_most, self._clock = doing, done, at_most, clock
        self._changing = threading.Lock()
        self._watcher = _watcher.get()
        self.total = self.moved = 0
        """Bytes that are expected, and those of them that have been moved."""
        self._began = self._told = clock()

    def expect(self, size: int) -> None:
        """So many bytes more are to be moved, and no others that were expected before."""
        with self._changing:
            self.total = self.moved + size
        self.tell()

    def add(self, size: int) -> None:
        """So many bytes have been moved."""
        with self._changing:
            self.moved += size

    def tell(self) -> None:
        """Tell the watcher; without one write a line, if it is time for one."""
        with self._changing:
            if self._watcher is not None:
                self._watcher(self)
                return
            now, moved = self._clock(), self.moved
            if now - self._told < EVERY:
                return
            self._told = now
        seconds = now - self._began
        left = f", {self._left(moved, seconds)} left" if moved else ""
        logger.info(
            "%s %.0f MiB: %.0f MiB %s after %.0f s (%.1f MiB/s%s)",
            self.doing,
            self.total / MIB,
            moved / MIB,
            self._done,
            seconds,
            moved / MIB / seconds,
            left,
        )

    def took(self, size: int) -> Transfer:
        """What it took so far; `size`: of all files of the checkpoint."""
        with self._changing:
            return Transfer(size, self.moved, round((self._clock() - self._began) * 1000))

    def _left(self, moved: int, seconds: float) -> str:
        left = max(0.0, self.total - moved) / moved * seconds
        return f"{'at most ' if self._at_most else ''}{left:.0f} s"


_current: Final[contextvars.ContextVar[Progress | None]] = contextvars.ContextVar("waypost-progress", default=None)
_watcher: Final[contextvars.ContextVar[Watcher | None]] = contextvars.ContextVar("waypost-watcher", default=None)


def current() -> Progress | None:
    """The transfer under way in this thread, if somebody wants to know how far it is."""
    return _current.get()


@contextlib.contextmanager
def moving(doing: str, done: str, *, at_most: bool = False) -> Iterator[Progress]:
    """A transfer, the current one of this thread as long as this lasts."""
    token = _current.set(progress := Progress(doing, done, at_most=at_most))
    try:
        yield progress
    finally:
        _current.reset(token)


@contextlib.contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Transfers that begin in this thread meanwhile are shown by `watcher`."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)
