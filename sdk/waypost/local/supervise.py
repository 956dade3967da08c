"""The loop of a local run: start an attempt, wait for its end, decide, and again.

It stands in for the operator, so it has the operator's manners: an attempt is judged by its document first, exactly
one runs at a time, and being told to stop (SIGTERM, Ctrl-C) it passes the order on, waits for the attempt's end and
relaunches nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

from waypost import contract
from waypost.local import budget
from waypost.local.budget import Decision, Ended, Next, Standing, Why
from waypost.local.children import Child, Launcher, environment, read_document
from waypost.local.drill import Drill
from waypost.log import say
from waypost.store.retention import Retention

KEEP_ATTEMPTS: Final = 100
"""Ends remembered for the summary; a drill may go on for days."""
KEEP: Final = Retention()


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One attempt of the run, judged."""

    ended: Ended
    why: Why


@dataclasses.dataclass
class Run:
    """A local run of one task function: give it a launcher and a store, call `run()`."""

    task: str
    launcher: Launcher
    store: str
    retries: int = 0
    drill: Drill | None = None
    first_attempt: int = 1
    starts_from: str | None = None
    """Where it begins while the store holds no checkpoint."""
    retention: Retention | None = KEEP
    """Which checkpoints are kept; None: every one."""
    attempts: list[Attempt] = dataclasses.field(default_factory=list)
    """The newest ends, oldest first."""
    stopped_by: int | None = None
    """The signal by which somebody ended the run."""
    _child: Child | None = None

    def run(self) -> Attempt:
        """Run attempts until one ends the run; returns that one."""
        standing, number = Standing(), self.first_attempt
        with tempfile.TemporaryDirectory(prefix="waypost-run-") as folder, self._forwarding_stop():
            while True:
                ended = self._attempt(number, Path(folder))
                decision = budget.decide(standing, ended, self.retries)
                last = Attempt(ended, decision.why)
                self.attempts[:] = [*self.attempts, last][-KEEP_ATTEMPTS:]
                if self.stopped_by is not None or decision.next is Next.FINISH:
                    return last
                say(self._relaunch_line(number, ended, decision))
                standing, number = decision.standing, number + 1

    def _attempt(self, number: int, folder: Path) -> Ended:
        termination_log = folder / f"attempt-{number}.json"
        grace = self.drill.grace if self.drill else contract.DEFAULT_GRACE_SECONDS
        started = time.monotonic()
        env = environment(self.store, number, self.task, termination_log, grace, self.starts_from, self.retention)
        self._child = child = self.launcher.start(env)
        drilled = False
        try:
            if self.stopped_by is not None:  # the order came while the process was being started
                child.signal(signal.SIGTERM)
            drilled = self.drill is not None and self.drill.watch(child, termination_log)
            code = child.wait(None)
        except KeyboardInterrupt:  # the terminal sent it to the child as well
            self.stopped_by = signal.SIGINT
            code = child.wait(None)
        document = read_document(termination_log)
        termination_log.unlink(missing_ok=True)
        assert code is not None
        return Ended(number, code, document, time.monotonic() - started, drilled or self.stopped_by is not None)

    def _relaunch_line(self, number: int, ended: Ended, decision: Decision) -> str:
        failures = decision.standing.failures
        counted = f", retry {failures} of {self.retries} since the last progress" if failures else ""
        if decision.why is Why.PREEMPTED:
            counted = ", which uses up no retry"
        return f"attempt {number}: {budget.explain(ended, decision.why)}{counted}; starting attempt {number + 1}"

    @contextlib.contextmanager
    def _forwarding_stop(self) -> Iterator[None]:
        """SIGTERM to us is SIGTERM to the attempt; outside the main thread nothing can be done about it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def forward(number: int, frame: FrameType | None) -> None:
            self.stopped_by = number
            if self._child is not None:
                self._child.signal(signal.SIGTERM)

        previous = signal.signal(signal.SIGTERM, forward)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous if previous is not None else signal.SIG_DFL)
