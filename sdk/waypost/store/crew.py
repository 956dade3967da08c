"""One job of one caller, done by several threads: returns, or raises, only when none of them works any more.

That is the point of it: what they write to (a buffer that is used again, a folder that is removed) belongs to others as
soon as the caller goes on, so no interruption may leave a thread behind: not Ctrl-C between two starts, nor one while
the others are waited for. A thread doesn't own its task because it was started for it, but because it was the first to
say so: the caller takes what nobody has begun, and a thread that comes too late finds nothing to do.

The threads are started bare: `threading` takes locks of its own, and a save may come from a signal handler that has
interrupted another save of the same thread.
"""

from __future__ import annotations

import _thread
import collections
import os
from collections.abc import Callable, Sequence

Task = Callable[[], None]


def work(tasks: Sequence[Task]) -> None:
    """Do all tasks at once, the first in this thread. Raises the first error, once nobody works any more."""
    turns = [_Turn(task) for task in tasks]
    failed: collections.deque[BaseException] = collections.deque()
    try:
        _start(turns[1:], failed)
        for turn in turns:
            turn.take(failed)
    finally:
        _leave(turns)
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
        self._over = _thread.allocate_lock()
        self._over.acquire()

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
            self._over.release()

    def wait(self) -> None:
        """Until no other thread does it, nor will."""
        if not self.is_mine():
            self._over.acquire()
            self._over.release()


def _start(turns: Sequence[_Turn], failed: collections.deque[BaseException]) -> None:
    for turn in turns:
        try:
            _thread.start_new_thread(turn.run, (failed,))
        except RuntimeError:  # no more threads may be started: the caller does what is left
            return


def _leave(turns: Sequence[_Turn]) -> None:
    """Wait for all of them, whatever is raised meanwhile."""
    interrupted: BaseException | None = None
    for turn in turns:
        while True:
            try:
                turn.wait()
                break
            except BaseException as error:  # noqa: BLE001 - raised below, once nobody works any more
                interrupted = interrupted or error
    if interrupted is not None:
        raise interrupted
