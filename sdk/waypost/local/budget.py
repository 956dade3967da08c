"""What follows the end of a local attempt: pure decisions, the design's table of ends made small.

As in the cluster, the document and the stop order come before the exit code, a preemption uses up no retries, and
progress resets the count. What has no meaning on a laptop is left out: a storage error is shown at once instead of
being waited for, and there is no backoff, because somebody is watching.
"""

from __future__ import annotations

import dataclasses
import enum
import signal
from typing import Final

from waypost import contract
from waypost.contract import Document, DocumentReason, Position

STEPLESS_PROGRESS_SECONDS: Final = 10.0
"""A program without steps has made progress if it saved and ran this long, as with the operator's default backoff;
otherwise 'save, crash, again' would go on for ever."""


class Why(enum.Enum):
    """How an attempt ended, in the words of the summary."""

    COMPLETED = "completed"
    PREEMPTED = "preempted"
    RECOVERABLE = "recoverable"
    FAILED = "failed"
    FENCED = "fenced"
    REFUSED = "refused"
    STORAGE = "storage"
    CORRUPT = "corrupt"
    NOT_STARTED = "not started"


@dataclasses.dataclass(frozen=True)
class Ended:
    """What is known about an attempt after its process has ended."""

    attempt: int
    exit_code: int
    """As the parent sees it: negative for the number of the signal that ended it."""
    document: Document | None
    seconds: float
    preempted: bool = False
    """The drill, or whoever ended `waypost run`, told it to stop."""

    @property
    def shell_code(self) -> int:
        """The exit code as a shell reports it: 128 + number for a signal."""
        return self.exit_code if self.exit_code >= 0 else 128 - self.exit_code


@dataclasses.dataclass(frozen=True)
class Standing:
    """How far the attempts so far came, and how many retries were used since the last progress."""

    sequence: int = 0
    step: int | None = None
    failures: int = 0

    def seen(self, position: Position | None) -> Standing:
        """Return the standing with a checkpoint that was there before."""
        if position is None:
            return self
        steps = [step for step in (self.step, position.step) if step is not None]
        return dataclasses.replace(
            self, sequence=max(self.sequence, position.sequence), step=max(steps) if steps else None
        )

    def progressed(self, ended: Ended) -> bool:
        """Whether the attempt came further than every earlier one."""
        committed = ended.document.committed if ended.document else None
        if committed is None:
            return False
        if committed.step is not None:
            return self.step is None or committed.step > self.step
        return committed.sequence > self.sequence and ended.seconds >= STEPLESS_PROGRESS_SECONDS


class Next(enum.Enum):
    """What `waypost run` does after an attempt."""

    RELAUNCH = "relaunch"
    FINISH = "finish"


@dataclasses.dataclass(frozen=True)
class Decision:
    """What follows an end, why, and what is remembered for the next one."""

    next: Next
    why: Why
    standing: Standing


def classify(ended: Ended) -> Why:
    """Return how the attempt ended; first match wins, in the design's order."""
    document = ended.document
    if document is None:
        return Why.PREEMPTED if ended.preempted else Why.NOT_STARTED
    match document.reason:
        case DocumentReason.FENCED:
            return Why.FENCED
        case DocumentReason.ATTEMPT_REFUSED:
            return Why.REFUSED
    if document.completed:
        return Why.COMPLETED
    if ended.preempted or document.stop_requested:
        return Why.PREEMPTED
    match ended.exit_code:
        case contract.EXIT_COMPLETE:
            return Why.COMPLETED
        case contract.EXIT_STORAGE:
            return Why.STORAGE
        case contract.EXIT_CORRUPT:
            return Why.CORRUPT
        case contract.EXIT_RECOVERABLE:
            return Why.RECOVERABLE
    return Why.FAILED


def decide(standing: Standing, ended: Ended, retries: int) -> Decision:
    """Return what follows the end of an attempt: progress makes the count of failures start anew."""
    why = classify(ended)
    standing = standing.seen(ended.document.resumed_from if ended.document else None)
    failures = 0 if standing.progressed(ended) else standing.failures
    standing = standing.seen(ended.document.committed if ended.document else None)
    if why is Why.PREEMPTED:
        return Decision(Next.RELAUNCH, why, dataclasses.replace(standing, failures=failures))
    if why in (Why.RECOVERABLE, Why.FAILED):
        failures += 1
        step = Next.RELAUNCH if failures <= retries else Next.FINISH
        return Decision(step, why, dataclasses.replace(standing, failures=failures))
    return Decision(Next.FINISH, why, dataclasses.replace(standing, failures=failures))


def explain(ended: Ended, why: Why) -> str:
    """Return one line that says why the attempt ended."""
    if why is Why.PREEMPTED:
        saved = " after a save" if ended.exit_code == contract.EXIT_RECOVERABLE else ""
        return "preempted" + (" and killed" if ended.exit_code == -signal.SIGKILL else f", ended{saved}")
    if why is Why.COMPLETED:
        return "completed"
    message = ended.document.message if ended.document else None
    if message:
        return message.splitlines()[0]
    if ended.exit_code < 0:
        return f"killed by signal {-ended.exit_code} ({signal.strsignal(-ended.exit_code)})"
    return f"exit code {ended.exit_code}"
