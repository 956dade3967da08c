"""What the store takes from the world besides its backend: chance, time, threads, and doing things at once.

In one place and given from outside, so that a test, or a simulator that explores interleavings, can decide them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import queue
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from waypost.store import waiting

T = TypeVar("T")
P = ParamSpec("P")


class InTime(Protocol):
    """Does a request, and gives up when no time is left for it (`waypost.store.waiting`)."""

    def __call__(self, request: Callable[[], T], left: Callable[[], float], /) -> T:
        """Return or raise what `request` does; UnreachableError when `left()` is spent; what `left` raises."""


def _now() -> datetime.datetime:
    now = datetime.datetime.now(datetime.UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)  # as precise as an entry writes it down


def _nonce() -> str:
    return secrets.token_hex(16)


def _at_once(actions: Sequence[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(actions), "waypost-probe") as pool:
        for outcome in [pool.submit(action) for action in actions]:
            outcome.result()


class InTurn(Executor):
    """Does what it is given in its caller's thread: at once, and one thing after the other."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do it. What it raises is the outcome's."""
        outcome: Future[T] = Future()
        try:
            outcome.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it is raised where the outcome is asked for
            outcome.set_exception(error)
        return outcome


class _Threads(ThreadPoolExecutor):
    """Does each thing exactly once, in a thread or, where none can be started, in its caller's.

    Its base class queues what it is given before it starts a thread for it. Where that fails (the program is exiting,
    or may have no more threads) it raises, and a thread that is there already finds the work in the queue all the same.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        outcome: Future[T] = Future()
        begun = threading.Lock()

        def work() -> None:
            if not begun.acquire(blocking=False):
                return
            try:
                outcome.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it is raised where the outcome is asked for
                outcome.set_exception(error)

        try:
            super().submit(work)
        except RuntimeError:  # better slowly than not at all
            work()
        return outcome


class Worker(Protocol):
    """Does one thing after the other, in the order given, beside its caller."""

    def put(self, action: Callable[[], None]) -> None:
        """Queue an action, which must not raise. Safe from a signal handler that has interrupted another `put`."""

    def stop(self) -> None:
        """Do what is queued, and end."""


class ThreadWorker:
    """A worker that is a thread.

    What is put after its end (by a thread that was about to, while another one stopped it) is done by whoever put it:
    somebody may be waiting for the outcome.
    """

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._ended, self._late = False, threading.RLock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, action: Callable[[], None]) -> None:
        self._queue.put(action)
        if self._ended:
            self._do_late()

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._ended = True
        self._do_late()

    def _run(self) -> None:
        while (action := self._queue.get()) is not None:
            action()

    def _do_late(self) -> None:
        with self._late, contextlib.suppress(queue.Empty):
            while True:
                if (action := self._queue.get_nowait()) is not None:
                    action()


@dataclasses.dataclass(frozen=True)
class Seams:
    """Chance, time and concurrency, as they are unless a test says otherwise."""

    nonce: Callable[[], str] = _nonce
    now: Callable[[], datetime.datetime] = _now
    """Wall time, written into entries for people; nothing is ever decided by it."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    """From 0 up to 1: jitter between retries."""
    in_time: InTime = waiting.in_time
    at_once: Callable[[Sequence[Callable[[], None]]], None] = _at_once
    pool: Callable[[int, str], Executor] = _Threads
    """Makes what does several things at once: at most so many, in threads of this name. To be closed."""
    worker: Callable[[str], Worker] = ThreadWorker
    """Makes a worker of this name."""
