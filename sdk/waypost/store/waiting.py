"""Waiting for a request no longer than it may take, and heeding a stop order meanwhile.

A storage client that hangs sits in native code (or in the kernel, on a network disk), where no deadline of ours
reaches it and where Python runs no signal handler: SIGTERM during a hanging request would not even be noticed. So a
request runs in a thread of its own, and its caller waits for that. What comes too late reaches nobody, exactly as an
answer that the network has lost: the store's rules are made for that.
"""

from __future__ import annotations

import collections
import functools
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from waypost.backends.protocol import SilentError

T = TypeVar("T")

SLICE_SECONDS: Final = 0.25
"""Every wait is made of slices, so that a stop order is heeded in between."""


class _Asked(Generic[T]):
    """A request on its way."""

    def __init__(self, request: Callable[[], T]) -> None:
        self._request: Callable[[], T] | None = request
        self._value: T
        self._error: BaseException | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        assert self._request is not None
        try:
            self._value = self._request()
        except BaseException as error:  # noqa: BLE001 - it is raised where the request is waited for
            self._error = error
        self._request = None  # it holds the bytes of a pack, and its error's traceback holds this

    def result(self) -> T:
        """To be called once."""
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            del error  # or its traceback would hold this frame, and this frame it, until the collector comes


def _spawn(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="waypost-request", daemon=True).start()


class Waiting:
    """Threads that do requests, kept for the next one: Python 3.12 starts none any more while a program exits.

    No lock is taken, for a signal handler may save while it has interrupted a save of the same thread.
    """

    def __init__(self, spawn: Callable[[Callable[[], None]], None] = _spawn) -> None:
        """`spawn` starts a thread; RuntimeError when there can be none."""
        self._spawn = spawn
        self._idle: collections.deque[queue.SimpleQueue[_Asked[Any]]] = collections.deque()

    def in_time(self, request: Callable[[], T], left: Callable[[], float]) -> T:
        """Return or raise what `request` does, or SilentError as soon as `left()` says that no time is left.

        `left` gives the seconds that remain; it is asked again and again, in the caller's thread, and may raise.
        """
        asked = _Asked(request)
        try:
            self._hand_over(asked)
        except RuntimeError:  # the program is exiting, and every thread hangs: better without a limit than not at all
            asked.run()
            return asked.result()
        while not asked.ended.wait(min(SLICE_SECONDS, max(0.0, left()))):
            if left() <= 0 and not asked.ended.is_set():
                raise SilentError("no answer in time", "Check that the storage isn't overloaded or cut off")
        return asked.result()

    def forget(self) -> None:
        """In a forked child: the threads stayed with the parent."""
        self._idle.clear()

    def _hand_over(self, asked: _Asked[Any]) -> None:
        try:
            work = self._idle.pop()
        except IndexError:
            work = queue.SimpleQueue()
            self._spawn(functools.partial(self._serve, work))
        work.put(asked)

    def _serve(self, work: queue.SimpleQueue[_Asked[Any]]) -> None:
        while True:
            asked = work.get()
            asked.run()
            self._idle.append(work)
            asked.ended.set()
            del asked  # and with it the bytes of a pack, until the next request comes


_waiting: Final = Waiting()
os.register_at_fork(after_in_child=_waiting.forget)
in_time: Final = _waiting.in_time


def inline(request: Callable[[], T], left: Callable[[], float]) -> T:
    """The same where nothing can hang: in the caller's own thread."""
    left()
    return request()
