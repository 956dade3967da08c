"""One job of one caller, done by several threads: returns, or raises, only when none of them works any more.

That is the point of it: what they write to (a buffer that is used again, a folder that is removed) belongs to others as
soon as the caller goes on, so no interruption may leave a thread behind: not Ctrl-C between two starts, nor one while
the others are waited for. A thread doesn't own its task because it was started for it, but because it was the first to
say so: the caller takes what nobody has begun, and a thread that comes too late finds nothing to do. It is waited for
by looking again and again: an exception out of a signal handler can leave a lock in a state that nobody knows.

The threads are started bare: `threading` takes locks of its own, and a save may come from a signal handler that has
interrupted another save of the same thread.
"""

from __future__ import annotations

import _thread
import collections
import os
from collections.abc import Callable, Sequence

from waypost.store.undisturbed import gone, with_its_end

Task = Callable[[], None]


def work(tasks: Sequence[Task]) -> None:
    """Do all tasks at once, the first in this thread. Raises the first error, once nobody works any more."""
    turns = [_Turn(task) for task in tasks]
    failed: collections.deque[BaseException] = collections.deque()

    def begin() -> None:
        _start(turns[1:], failed)
        for turn in turns:
            turn.take(failed)

    with_its_end(begin, lambda: gone(lambda: not [turn for turn in turns if not turn.is_over()]))
    if failed:
        raise failed[0]


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


class _Turn:
    """One task, for whoever is the first to take it."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._taken: dict[str, int] = {}
        self._over = False

    def is_mine(self) -> bool:
        """Whether this thread is the one that has taken it, now or before: one step, that nothing interrupts."""
        return self._taken.setdefault("by", _thread.get_ident()) == _thread.get_ident()

    def take(self, failed: collections.deque[BaseException]) -> None:
        """Do it, unless another thread does."""
        if self.is_mine() and not failed:
            self._task()

    def run(self, failed: collections.deque[BaseException]) -> None:
        """The same, in a thread of its own."""
        try:
            self.take(failed)
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            failed.append(error)
        finally:
            self._over = True

    def is_over(self) -> bool:
        """Whether no other thread does it, nor will."""
        return self.is_mine() or self._over


def _start(turns: Sequence[_Turn], failed: collections.deque[BaseException]) -> None:
    for turn in turns:
        try:
            _thread.start_new_thread(turn.run, (failed,))
        except RuntimeError:  # no more threads may be started: the caller does what is left
            return
