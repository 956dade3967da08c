"""One attempt of a task function, from the first record of the document to the exit code.

Two ways in, with the same course. `run_attempt` serves a call from a script: the value goes back to the caller, an
exception goes on to whoever catches it, and exit 0 of the script is the verdict. `run_entry` serves `waypost run
FILE:FUNCTION`, where the function is the program: its return completes the task, and every other end becomes an
exit code here.

The course: first the document and the handler of SIGTERM, then the store (which answers for unreachable storage, a
refused start and a task already completed before any user code runs), then the function. However the function ends,
what it saved in the background is flushed before the end is told: a program that saved and then failed has saved.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import multiprocessing
import reprlib
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, TypeVar

from waypost import attempt, context, contract, stop
from waypost.checkpoints import Checkpoints
from waypost.ending import describe, judge
from waypost.errors import ConfigurationError, StopRequested, StorageError, WaypostError
from waypost.log import logger, say
from waypost.store.voice import Voice
from waypost.task import TaskFunction

P = ParamSpec("P")
R = TypeVar("R")

RESULT_CHARACTERS: Final = 512
"""How much of a returned value goes into the document, whose whole record has 1024 bytes."""


def run_attempt(task: TaskFunction[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run the function as this process's attempt and return its value; called from a script, it completes nothing.

    Raises what the function raises; StorageError instead, when what it had saved could not be flushed; StopRequested
    instead of returning after a stop request; and what keeps an attempt from starting.
    """
    if _imported_by_a_local_run():
        raise ConfigurationError(
            f"{task.__qualname__} is called while its file is being imported: a local run imports the file again in "
            "each of its processes. Put the call under: if __name__ == '__main__':"
        )
    store = begin(task)
    returned = _call(store, lambda: task.function(*args, **kwargs))
    _tell_result(returned.value)
    if returned.leaving is not None:
        raise returned.leaving
    return returned.value


def run_entry(
    task: TaskFunction[..., R],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    deliver: Callable[[R], None] | None = None,
) -> int:
    """Run the function as the whole program and return its exit code; a return completes the task.

    `deliver` gets the value before the task completes, so that a value nobody could receive doesn't count as done.
    """
    try:
        store = begin(task)
        returned = _call(store, lambda: task.function(*args, **kwargs))
        if deliver is not None:
            deliver(returned.value)
        _tell_result(returned.value)
        _complete(store)
    except BaseException as error:  # noqa: BLE001 - this is where every end of the program becomes its exit code
        return finish(error)
    return contract.EXIT_COMPLETE


def finish(error: BaseException) -> int:
    """Tell the log and the document how the program ends, and return the exit code."""
    end = judge(error)
    match error:
        case WaypostError() | StopRequested():
            say(str(error))
        case SystemExit():
            if isinstance(error.code, str):
                say(error.code)
        case KeyboardInterrupt():
            say("interrupted")
        case _:
            traceback.print_exception(type(error), error, _without_our_frames(error.__traceback__))
    end.record(attempt.report())
    return end.exit_code


def _imported_by_a_local_run() -> bool:
    """In a child of `waypost.local.call` whose attempt hasn't begun; a pod's own worker processes are none."""
    told = attempt.Contract.from_env()
    ours = told is not None and told.pod_uid is None
    return ours and not _begun and multiprocessing.current_process().name != "MainProcess"


# --- The course of an attempt ------------------------------------------------------------------------------------
_begun_lock: Final = threading.Lock()
_begun: list[str] = []


def begin(task: TaskFunction[..., Any]) -> Checkpoints:
    """Start this process's attempt: document, SIGTERM, store; returns the store, taken over by its FENCE."""
    told = attempt.Contract.from_env()
    if told is None:
        raise ConfigurationError(f"{contract.ENV_CHECKPOINT_DST} is not set: there is no attempt to begin")
    attempt.report()
    stop.install()
    with _begun_lock:
        if _begun:
            raise ConfigurationError(
                f"@waypost.task {task.__qualname__} can't run: this attempt has already run {_begun[0]}, and both "
                "would save into one store. One CheckpointedTask runs one task function, once; make it two tasks, or "
                "call the second as a plain function"
            )
        _begun.append(task.__qualname__)
    if told.pod_uid is not None and task.retries:
        logger.info("retries=%d rules local runs; in a pod spec.failurePolicy decides", task.retries)
    store = context.open_store()
    base = store.base
    if base is None:
        logger.info("attempt %d starts from nothing: no checkpoint in %s", told.attempt, store.uri)
    else:  # told now: many a program looks at latest() only, and restores nothing
        Voice(ours=True).resumes_from(base)
        logger.info("attempt %d resumes from checkpoint %s; checkpoints in %s", told.attempt, base, store.uri)
    return store


@dataclasses.dataclass(frozen=True)
class _Returned(Generic[R]):
    value: R
    leaving: SystemExit | None = None
    """The SystemExit(0) that took the place of a return."""


def _call(store: Checkpoints, function: Callable[[], R]) -> _Returned[R] | _Returned[Any]:
    """Call the function and flush what it saved; raises every end that isn't a return."""
    returned: _Returned[R] | _Returned[Any]
    try:
        returned = _Returned(function())
    except BaseException as error:
        if not (isinstance(error, SystemExit) and error.code in (None, 0)):
            _flush_after(store, error)
            raise
        returned = _Returned(None, leaving=error)
    store.flush(stop.remaining_grace())
    if stop.requested() and not store.completed:
        raise StopRequested("the function returned after a stop request, so the task isn't complete")
    return returned


def _flush_after(store: Checkpoints, error: BaseException) -> None:
    """Flush at an end that isn't a return; if that fails, the failure is the end, and tells of the program's own."""
    try:
        store.flush(stop.remaining_grace())
    except WaypostError as failure:
        if isinstance(error, WaypostError):
            logger.error("the last flush failed as well: %s", failure)
            return
        logger.exception("the program ended, and what it had saved last could not be flushed", exc_info=error)
        if isinstance(failure, StorageError):
            cause = f"{failure.cause} (the program itself had ended with {describe(error)})"
            raise StorageError(failure.operation, failure.uri, cause, outcome=failure.outcome) from error
        raise failure from error


def _complete(store: Checkpoints) -> None:
    if not store.completed:
        store.complete()
    report = attempt.report()
    if report is not None:
        report.update(reason=contract.DocumentReason.COMPLETED)


# --- Words -------------------------------------------------------------------------------------------------------
def _tell_result(value: object) -> None:
    report = attempt.report()
    if report is not None and value is not None:
        report.update(result=describe_result(value))


_SHORT: Final = reprlib.Repr()
_SHORT.maxother = RESULT_CHARACTERS


def describe_result(value: object) -> str:
    """Return a value as JSON where it can be, else as Python shows it; bounded, however large the value is."""
    try:
        encoded = json.JSONEncoder(ensure_ascii=False).iterencode(value)
        text = "".join(itertools.islice(encoded, RESULT_CHARACTERS))
    except (TypeError, ValueError, RecursionError):
        text = _SHORT.repr(value)  # which also lives with a __repr__ that raises
    return text if len(text) <= RESULT_CHARACTERS else text[:RESULT_CHARACTERS] + "..."


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the program's own first line on; all of it when the error is ours."""
    ours = str(Path(__file__).parent)
    inner = trace
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(ours):
        inner = inner.tb_next
    return inner or trace
