"""Locks of this process, and of none that it forks: files that are open to hold one (flock), and one between threads.

A lock tells the living from the dead: what a killed process has left isn't locked any more, and is removed. But a
forked child shares its parent's open files, and with them its locks: as long as it lives (a data loader's worker may
live for days), what its dead parent has left would look as if it were in use. So a child closes them as it begins. That
doesn't unlock them, which only the last one does that has them open. (A program that is executed gets none: O_CLOEXEC.)

A fork in the instant between the opening and the noting, from another thread, goes unseen: that child keeps this one.

And a lock between threads that one of them held at the fork stays locked in the child, where that thread isn't.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Final


class Held:
    """An open file, closed once by the process that has opened it, and at once by what it forks."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._process = os.getpid()
        _held.add(self)

    def is_ours(self) -> bool:
        """Whether this is the process that has opened it: what its lock protects is no other's to remove."""
        return self._process == os.getpid()

    def close(self) -> None:
        """Let go of it. In a forked child, or done again: nothing."""
        if self.is_ours() and self in _held:
            _held.discard(self)  # first, for a child that is forked in between would close another one's file
            os.close(self.descriptor)


class OwnLock:
    """A lock between threads, for use in a `with` that doesn't fork; a child finds it open, whoever held it before."""

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def __enter__(self) -> None:
        self._locks.setdefault(os.getpid(), threading.Lock()).acquire()

    def __exit__(self, *_: object) -> None:
        self._locks[os.getpid()].release()


_held: Final[set[Held]] = set()


def _close_in_child() -> None:
    while _held:
        with contextlib.suppress(OSError):
            os.close(_held.pop().descriptor)


os.register_at_fork(after_in_child=_close_in_child)
