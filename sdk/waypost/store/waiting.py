"""Waiting for a request no longer than it may take, and heeding a stop order meanwhile.

A storage client that hangs sits in native code (or in the kernel, on a network disk), where no deadline of ours
reaches it and where Python runs no signal handler: SIGTERM during a hanging request would not even be noticed. So a
request runs in a thread of its own, and its caller waits for that. What comes too late reaches nobody, exactly as an
answer that the network has lost: the store's rules are made for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from waypost.backends.protocol import UnreachableError

T = TypeVar("T")

SLICE_SECONDS: Final = 0.25
"""Every wait is made of slices, so that a stop order is heeded in between."""


class _Asked(Generic[T]):
    """A request on its way."""

    def __init__(self, request: Callable[[], T]) -> None:
        self._request = request
        self._value: T
        self._error: BaseException | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            self._value = self._request()
        except BaseException as error:  # noqa: BLE001 - it is raised where the request is waited for
            self._error = error
        finally:
            self.ended.set()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value


def in_time(request: Callable[[], T], left: Callable[[], float]) -> T:
    """Return or raise what `request` does, or UnreachableError as soon as `left()` says that no time is left.

    `left` gives the seconds that remain; it is asked again and again, in the caller's thread, and may raise.
    """
    asked = _Asked(request)
    threading.Thread(target=asked.run, name="waypost-request", daemon=True).start()
    while not asked.ended.wait(min(SLICE_SECONDS, max(0.0, left()))):
        if left() <= 0 and not asked.ended.is_set():
            raise UnreachableError("no answer in time", "Check that the storage isn't overloaded or cut off")
    return asked.result()


def inline(request: Callable[[], T], left: Callable[[], float]) -> T:
    """The same where nothing can hang: in the caller's own thread."""
    left()
    return request()
