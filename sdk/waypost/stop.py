"""The stop order: what SIGTERM does to a program that saves its progress.

SIGTERM in a pod means that the end is certain: running on only delays the relaunch. The handler sets `stopRequested`
in the document (so that an exit 0 after it isn't taken for completion), wakes the `on_preemption` callbacks and hands
on to the handler that the program had; it never ends the program itself. What ends it is the first save confirmed
afterwards, by `StopRequested` (a SystemExit with code 75) out of `write()`, `save(wait=True)` or the next `save()`,
unless the program has asked `preemption_requested()` or registered a callback and so decides itself. A start or a
restore is aborted, and the FENCE not sent if it wasn't yet.

Among several ranks SIGTERM comes from their launcher, which sends it just as well when a rank has failed: that mustn't
pass for a preemption. There `stopRequested` is told with the first save confirmed after it, which shows that all
ranks were alive.

Three things shape the code. The handler interrupts the main thread anywhere, so it takes no lock that the main
thread may hold: flags are plain assignments, the report is made for it, its own words go out by one system call.
Callbacks run in a thread of their own, because one that saves would otherwise wait for a lock held by the very save
it interrupted. And a forked child (a data loader's worker, which its parent ends by SIGTERM) gets the program's own
handling back: its end says nothing about the attempt.
"""

from __future__ import annotations

import atexit
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, TypeVar

from waypost import attempt
from waypost.contract import DocumentReason
from waypost.errors import StopRequested
from waypost.log import logger, say
from waypost.store.group import standing

SHELLS: Final = frozenset({"sh", "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "tcsh", "zsh"})

_Handler = Callable[[int, FrameType | None], object]
_Callback = TypeVar("_Callback", bound=Callable[[], object])


class StopOrder:
    """The stop order of one process; the functions of this module speak of `_order`, the process's own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._saved_since = False
        self._taken_over = False
        self._handing_on = False
        self._previous: _Handler | signal.Handlers | int | None = signal.SIG_DFL
        self._installed = False
        self._warned = False
        self._callbacks: list[Callable[[], object]] = []
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._caller: threading.Thread | None = None
        self._running = 0
        self._forking = threading.local()

    # --- The handler ---------------------------------------------------------------------------------------------
    def install(self) -> bool:
        """Take SIGTERM over, in front of whatever handler stands; False outside the main thread.

        Safe to repeat, and repeated at every save: a handler that the program set meanwhile is chained then.
        """
        if threading.current_thread() is not threading.main_thread():
            if not self._installed and not self._warned:
                self._warned = True
                logger.warning(
                    "SIGTERM isn't noticed: Python hands signals to the main thread only, and the first use of "
                    "Waypost is in another; call waypost.preemption_requested() once from the main thread"
                )
            return self._installed
        present = signal.getsignal(signal.SIGTERM)
        if present != self._handle:
            self._previous = present
            signal.signal(signal.SIGTERM, self._handle)
            if not self._installed:
                self._installed = True
                told = attempt.Contract.from_env()
                if told is not None and told.pod_uid is not None:
                    warn_about_shell()
                os.register_at_fork(
                    before=self._hold_back, after_in_parent=self._let_through, after_in_child=self._give_back
                )
        return True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._handing_on:
            return  # the program's handler, set after ours, called ours in its turn
        if self._since is None:
            self._since = self._clock()
            if not standing(os.environ)[1]:
                self._tell()
            say("SIGTERM: this attempt has to stop" + ("" if self._taken_over else "; it ends with its next save"))
            for callback in self._callbacks:
                self._call(callback)
        if callable(self._previous):
            self._handing_on = True
            try:
                self._previous(number, frame)
            finally:
                self._handing_on = False

    def _hold_back(self) -> None:
        """Before a fork: a SIGTERM to the child that came before its handling is given back would be lost for good."""
        self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _let_through(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._forking.mask)

    def _give_back(self) -> None:
        """In a forked child: the handling that the program had before, and no stop order."""
        self._since, self._saved_since = None, False
        self._callbacks.clear()
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, self._previous if self._previous is not None else signal.SIG_DFL)
        self._let_through()

    # --- What the program asks -----------------------------------------------------------------------------------
    def preemption_requested(self) -> bool:
        """Whether SIGTERM came; asking takes the decision when to end into the program's own hands."""
        self._taken_over = True
        self.install()
        return self.requested

    def on_preemption(self, callback: _Callback) -> _Callback:
        """Call `callback()` once, in a thread of its own, when SIGTERM comes; at once when it has come already."""
        self._taken_over = True
        if self._caller is None:
            self._caller = threading.Thread(target=self._work, name="waypost-on-preemption", daemon=True)
            self._caller.start()
            atexit.register(self._finish)
        self.install()
        self._callbacks.append(callback)
        if self.requested:
            self._call(callback)
        return callback

    def _call(self, callback: Callable[[], object]) -> None:
        self._running += 1
        self._calls.put(callback)

    def _work(self) -> None:
        while True:
            callback = self._calls.get()
            try:
                callback()
            except Exception:  # noqa: BLE001 - the program's own mistake must not end its preemption callbacks
                say(f"an on_preemption callback failed:\n{traceback.format_exc().rstrip()}")
            finally:
                self._running -= 1

    def _finish(self) -> None:
        """At the program's exit: let callbacks that still run come to their end, within the grace."""
        limit = self._clock() + (self.remaining_grace() or 0.0)
        while self._running > 0 and self._clock() < limit:
            time.sleep(0.01)

    # --- What the SDK asks ---------------------------------------------------------------------------------------
    @property
    def requested(self) -> bool:
        """Whether SIGTERM came."""
        return self._since is not None

    def remaining_grace(self) -> float | None:
        """Seconds until the kubelet may send SIGKILL; None as long as no stop was requested."""
        if self._since is None:
            return None
        told = attempt.Contract.from_env()
        grace = told.grace_seconds if told else attempt.Contract.grace_seconds
        return max(0.0, self._since + grace - self._clock())

    def check_start(self) -> None:
        """Abort a start or a restore after SIGTERM: raises StopRequested.

        The store calls it before it sends the FENCE, and again and again while it restores.
        """
        if attempt.report() is not None:
            self.install()
        if self.requested:
            self._end("stop requested before the attempt had started")

    def note_commit(self, *, by_all: bool = False) -> None:
        """Remember that a save was confirmed, `by_all` ranks of a group or alone; from any thread, never raises."""
        if self.requested:
            self._saved_since = True
            if by_all:
                self._tell()

    def _tell(self) -> None:
        told = attempt.report()
        if told is not None:
            told.update(stop_requested=True)

    def before_save(self) -> None:
        """Raise StopRequested when a save confirmed in the background has already honoured the stop order."""
        if self._installed and threading.current_thread() is threading.main_thread():
            self.install()
        if self._saved_since and not self._taken_over:
            self._end("stop requested and progress saved")

    def after_commit(self) -> None:
        """Note a confirmed save, and raise StopRequested if it is one that ends the program.

        To be called in the thread of the caller of `save(wait=True)`, after the document has been updated.
        """
        self.note_commit()
        self.before_save()

    def _end(self, message: str) -> None:
        told = attempt.report()
        if told is not None:
            told.update(reason=DocumentReason.STOP_REQUESTED, message=message)
        raise StopRequested(message)


_order: Final = StopOrder()

install: Final = _order.install
preemption_requested: Final = _order.preemption_requested
on_preemption: Final = _order.on_preemption
check_start: Final = _order.check_start
note_commit: Final = _order.note_commit
before_save: Final = _order.before_save
after_commit: Final = _order.after_commit
remaining_grace: Final = _order.remaining_grace


def requested() -> bool:
    """Whether SIGTERM came; unlike `preemption_requested` this takes nothing into anybody's hands."""
    return _order.requested


def warn_about_shell(proc: Path = Path("/proc")) -> bool:
    """Say so when pid 1 of the container is a shell: it swallows SIGTERM, and nothing is saved at a preemption."""
    if os.getpid() == 1:
        return False
    try:
        name = (proc / "1" / "comm").read_text().strip()
    except OSError:
        return False  # no /proc, or another user's pid 1: nothing is known
    if name not in SHELLS:
        return False
    logger.warning(
        "pid 1 of this container is %s, a shell, which keeps SIGTERM to itself: at a preemption this program would "
        "be killed without a last save. Use the exec form (command: [python, -m, ...]) or `exec` in the script",
        name,
    )
    return True
