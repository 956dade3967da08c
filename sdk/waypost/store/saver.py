"""The queue of saves and the one worker that uploads: newest wins, nothing is lost without a word.

Between saves the worker tidies up, one request at a time: as long as nothing else waits, and behind each save for as
long as that save took (else a program that saves without a pause would never have anything deleted). Who waits for a
flush or for the end of the task waits for one request of that at most.

One upload is in flight; behind it waits at most one save that nobody waits for, because a newer one takes its place
(it ends as superseded). Saves that somebody waits for keep their turn. Once a stop order has come, a save that waits
ends the upload of an older one before it: the newest state gets all of the line and of the time.

No lock is taken on the caller's side. A program may save from a signal handler that has interrupted a save of the
same thread, and a lock held by the interrupted one would never be released: so the worker's queue takes none, and who
may decide a job's fate (the worker that uploads it, or a newer save that supersedes it) is settled by one
non-blocking acquire of the job's own latch.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from waypost.errors import StorageError, SupersededError
from waypost.log import logger
from waypost.store.seams import Worker
from waypost.store.sources import Content
from waypost.store.urgency import Urgency

T = TypeVar("T")

LONGEST_TURN: Final = 10.0
"""Seconds of tidying while another save may be waiting."""


class Latch(Generic[T]):
    """A result that is set once; waiting for it can be interrupted, and setting it never blocks."""

    def __init__(self) -> None:
        self._closed = threading.Lock()
        self._closed.acquire()
        self._value: T | None = None
        self._error: BaseException | None = None
        self.done = False
        self.awaited = False
        """Whether somebody has ever waited for it."""
        self.seen = False
        """Whether somebody has been told the error, or doesn't need to be any more."""

    def set(self, value: T | None = None, error: BaseException | None = None) -> None:
        """Settle it; to be called once."""
        self._value, self._error = value, error
        self.done = True
        self._closed.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it was settled within `timeout` seconds."""
        if not self.done:
            self.awaited = True
            if not self._closed.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
                return False
            self._closed.release()
        return True

    def tell(self) -> BaseException | None:
        """What went wrong, for somebody who has to know."""
        self.seen = True
        return self._error

    @property
    def value(self) -> T:
        """The result of what went well."""
        assert self._value is not None
        return self._value


@dataclasses.dataclass(eq=False)
class Job(Generic[T]):
    """One save on its way."""

    content: Content
    step: int | None
    metrics: Mapping[str, float]
    metadata: Mapping[str, Any]
    keeps_turn: bool
    """Never superseded: somebody waits for it, other ranks save with it, or its entry is on its way."""
    ordinal: int | None = None
    """In a group: which of the calls that its ranks make together this is."""
    queued: bool = False
    """Whether the worker will come to it."""
    latch: Latch[T] = dataclasses.field(default_factory=Latch)
    _taken: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def take(self) -> bool:
        """Whether the caller is the one who settles this job."""
        return self._taken.acquire(blocking=False)


class Saver(Generic[T]):
    """Uploads jobs one after the other by `commit`, in the worker.

    `tidy` makes one request behind everybody's back and says whether there was one to make; it must not raise.
    """

    def __init__(
        self,
        commit: Callable[[Job[T]], T],
        worker: Worker,
        tidy: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`stopping`: whether the machine is being taken away."""
        self._commit, self._worker, self._tidy, self._clock = commit, worker, tidy, clock
        self._stopping = stopping
        self._current: Job[T] | None = None
        self._newest: Job[T] | None = None
        self._tidies = self._ending = False
        self._waiting: collections.deque[None] = collections.deque()
        """One for each action that somebody may be waiting for."""
        self._replaceable: Job[T] | None = None
        self._failed: collections.deque[tuple[Latch[T], BaseException]] = collections.deque()

    def submit(self, job: Job[T]) -> None:
        """Queue a save; the newest one that still waits, and that nobody waits for, is superseded."""
        self._newest = job
        older, self._replaceable = self._replaceable, None if job.keeps_turn else job
        self._worker.put(functools.partial(self._upload, job))
        job.queued = True
        if older is not None and older.take():
            _supersede(older)

    def displace(self) -> None:
        """Supersede the save that waits, if one does and holds shared memory: that becomes free for a newer one.

        Any other stays until the newer one is queued, which may not come about.
        """
        older = self._replaceable
        if older is not None and not older.content.shared:
            return
        self._replaceable = None
        if older is not None and older.take():
            _supersede(older)

    def withdraw(self, job: Job[T]) -> None:
        """The caller was interrupted: what it may change now isn't committed, unless all of it was read before.

        A save that was made safe to change goes on, if it has come into the queue.
        """
        changes = not (job.content.copied or job.content.lasting)
        if (changes or not job.queued) and job.take():
            job.latch.seen = True
            _supersede(job, "its caller was interrupted before its upload began")
        elif changes:
            job.latch.seen = job.content.withdrawn = True

    def urgency(self) -> Urgency:
        """How much the upload under way may take from the program. From any thread."""
        if self._ending or self._waiting or (self._current is not None and self._current.latch.awaited):
            return Urgency.NORMAL
        return Urgency.KEEN if self._is_followed() else Urgency.IDLE

    def give_way(self) -> None:
        """Raise SupersededError when the machine is being taken away, and the newest save waits for its turn.

        To be called while a job uploads, in the worker: there may be time for one of the two. Also for one whose caller
        was interrupted, if it is read in place.
        """
        if self._current is not None:
            self._current.content.require_kept()
        if self._current is not None and not self._current.keeps_turn and self._is_followed() and self._stopping():
            raise SupersededError("a newer save took this one's place when the stop order came")

    def raise_failure(self) -> None:
        """Raise the oldest failure that nobody has been told of yet."""
        while self._failed:
            latch, error = self._failed.popleft()
            if not latch.seen:
                latch.seen = True
                raise error

    def drain(self, timeout: float | None) -> bool:
        """Wait until everything submitted before has ended: whether it has, within `timeout` seconds."""
        return self.call(lambda: None).wait(timeout)

    def call(self, action: Callable[[], object]) -> Latch[bool]:
        """Do something in the worker, behind everything submitted before."""
        latch: Latch[bool] = Latch()

        def run() -> None:
            self._waiting.popleft()
            try:
                action()
            except BaseException as error:  # noqa: BLE001 - it is raised where the latch is waited for
                latch.set(error=error)
            else:
                latch.set(True)

        self._waiting.append(None)
        self._worker.put(run)
        return latch

    def begin_tidying(self) -> None:
        """Tidy whenever nothing else is to be done, from now on."""
        self._worker.put(self._tidy_on)

    def tidy(self, seconds: float) -> None:
        """Tidy until nothing is left to do, but not longer than `seconds`; returns then."""
        self.call(lambda: self._tidy_for(seconds)).wait()

    def stop(self) -> None:
        """End the worker once all that was submitted has ended, and wait for it. Tidying ends where it is."""
        self._ending = True
        self._worker.stop()

    def _upload(self, job: Job[T]) -> None:
        if not job.take():
            return  # superseded
        began = self._clock()
        self._current = job
        try:
            value = self._commit(job)
        except SupersededError as error:
            job.content.close()
            job.latch.set(error=error)
        except BaseException as error:  # noqa: BLE001 - it is raised where the save is waited for, or at the next one
            logger.error("a save failed: %s", error)
            self._failed.append((job.latch, error))
            job.content.close()
            job.latch.set(error=error)
        else:
            self._forgive()
            job.content.close()
            job.latch.set(value)
            self._tidy_for(min(self._clock() - began, LONGEST_TURN))
            if not self._tidies:
                self._worker.put(self._tidy_on)

    def _is_followed(self) -> bool:
        newest = self._newest
        return newest is not None and newest is not self._current and not newest.latch.done

    def _tidy_for(self, seconds: float) -> None:
        end = self._clock() + seconds
        while not self._waiting and self._tidy() and self._clock() < end:
            pass

    def _tidy_on(self) -> None:
        """One request, and again behind whatever has been queued meanwhile."""
        self._tidies = not self._ending and self._tidy()
        if self._tidies:
            self._worker.put(self._tidy_on)

    def _forgive(self) -> None:
        """A newer save stands: what an earlier one failed to store is of no use any more, as if superseded."""
        for latch, error in list(self._failed):
            if isinstance(error, StorageError):
                latch.seen = True


def _supersede(job: Job[T], why: str = "a newer save took this one's place before its upload began") -> None:
    job.content.close()
    job.latch.set(error=SupersededError(why))
