"""What an end means: from the exception that ended the program to exit code, reason and message.

One function decides (`judge`), so that `@waypost.task`, `waypost run` and a plain script that uses `Checkpoints`
tell the operator the same. The codes are those of the contract: 75 relaunch me, 74 storage, 65 no checkpoint left
or a request that can't be meant, 0 complete, anything else a failure.

A plain script has nobody to catch its exceptions, so `install_hook` chains a `sys.excepthook`: the traceback is
printed as ever, the document says why, and the hook raises SystemExit with the code, which the interpreter honours.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final

from waypost import contract
from waypost.errors import AttemptRefusedError, CompletedError, RecoverableError, StopRequested, WaypostError
from waypost.log import say

if TYPE_CHECKING:
    from waypost.attempt import Report

EXIT_FAILURE: Final = 1
EXIT_INTERRUPTED: Final = 130
"""What a shell reports for a program ended by SIGINT."""


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a program ends: the exit code, and what the document says about it."""

    exit_code: int
    reason: contract.DocumentReason
    message: str
    highest_attempt: int | None = None

    def record(self, report: Report | None) -> None:
        """Put this end into the document, if there is one."""
        if report is None:
            return
        report.update(reason=self.reason, message=self.message or None, highest_attempt=self.highest_attempt)
        if self.reason is contract.DocumentReason.COMPLETED:
            report.update(completed=True)


def judge(error: BaseException) -> Ending:
    """Return how a program that is ended by `error` ends."""
    match error:
        case WaypostError():
            highest = error.highest_attempt if isinstance(error, AttemptRefusedError) else None
            return Ending(error.exit_code, error.document_reason, str(error), highest)
        case StopRequested():
            return Ending(contract.EXIT_RECOVERABLE, contract.DocumentReason.STOP_REQUESTED, str(error))
        case RecoverableError():
            return Ending(contract.EXIT_RECOVERABLE, contract.DocumentReason.RECOVERABLE_ERROR, describe(error))
        case SystemExit():
            return _judge_exit(error)
        case KeyboardInterrupt():
            return Ending(EXIT_INTERRUPTED, contract.DocumentReason.ERROR, "KeyboardInterrupt")
        case _:
            return Ending(EXIT_FAILURE, contract.DocumentReason.ERROR, describe(error))


def describe(error: BaseException) -> str:
    """Return `Type: message`, as the last line of a traceback has it."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _judge_exit(error: SystemExit) -> Ending:
    """By the interpreter's own rules: None is 0, a number is itself (its low byte), anything else is printed and 1."""
    match error.code:
        case None:
            code = 0
        case int():
            code = error.code & 0xFF
        case _:
            return Ending(EXIT_FAILURE, contract.DocumentReason.ERROR, f"SystemExit: {error.code}")
    return Ending(code, contract.DocumentReason.ERROR, f"sys.exit({code})")


_Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]


def install_hook(report: Report) -> None:
    """Make uncaught errors of this program set the exit code and the document's reason."""
    previous: _Hook = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, CompletedError):
            say(str(error))
        else:
            previous(kind, error, trace)
        end = judge(error)
        end.record(report)
        raise SystemExit(end.exit_code)

    sys.excepthook = hook
