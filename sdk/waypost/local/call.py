"""A plain call of a task function without the contract: `print(train(n=9))` on a laptop.

The call becomes a local run with a new store; the child that brings it to its end hands the value, or the last
exception, back to the caller through a file, so that the call means what a call means.
"""

from __future__ import annotations

import functools
import importlib
import pickle
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, cast

from waypost.errors import ConfigurationError, StopRequested, WaypostError
from waypost.local import summary
from waypost.local.budget import Why, explain
from waypost.local.children import CallLauncher
from waypost.local.supervise import Attempt, Run
from waypost.log import say
from waypost.task import TaskFunction

P = ParamSpec("P")
R = TypeVar("R")

RUNS_FOLDER: Final = ".waypost"


def new_store(task: str) -> str:
    """Return the URI of a new store for one run, in a folder of its own under .waypost/ of the current folder."""
    name = f"{task}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    return (Path.cwd() / RUNS_FOLDER / name).as_uri()


def run_locally(task: TaskFunction[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run attempts until one returns its value, or one ends the run: then its exception is raised here."""
    store = new_store(task.__name__)
    say(f"running {task.__qualname__} locally, checkpoints in {store}")
    with tempfile.TemporaryDirectory(prefix="waypost-call-") as folder:
        handover = Path(folder) / "value-or-error"
        call = (task.__module__, task.__qualname__, args, kwargs, str(handover))
        run = Run(task.__qualname__, CallLauncher(_child, call), store, task.retries)
        last = run.run()
        for line in summary.lines(run.attempts):
            say(line)
        if last.why is not Why.COMPLETED:
            _raise_end(task, run, last, handover)
        return cast(R, pickle.loads(handover.read_bytes()))  # noqa: S301 - our own child wrote it a moment ago


def _raise_end(task: TaskFunction[..., Any], run: Run, last: Attempt, handover: Path) -> None:
    if run.stopped_by == signal.SIGINT:
        raise KeyboardInterrupt
    if run.stopped_by == signal.SIGTERM:
        raise StopRequested(f"{task.__qualname__} was stopped; its checkpoints are in {run.store}")
    told = f"attempt {last.ended.attempt} of {task.__qualname__} ended the run: {explain(last.ended, last.why)}"
    if handover.exists():
        error = pickle.loads(handover.read_bytes())  # noqa: S301 - our own child wrote it a moment ago
        error.add_note(f"({told}; the traceback is above)")
        raise error
    raise WaypostError(told)


# --- In the child ------------------------------------------------------------------------------------------------
def _child(module: str, qualname: str, args: Sequence[Any], kwargs: Mapping[str, Any], handover: str) -> None:
    """Run one attempt and end the process; what `multiprocessing` calls in the new interpreter."""
    from waypost import attempt, execution, stop

    attempt.report()
    stop.install()
    place = Path(handover)
    place.unlink(missing_ok=True)
    task = _find(module, qualname)

    @functools.wraps(task.function)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        try:
            return task.function(*args, **kwargs)
        except Exception as error:
            _hand_over_error(error, place)
            raise

    this_attempt = TaskFunction(recorded, task.retries)
    sys.exit(execution.run_entry(this_attempt, args, kwargs, lambda value: _hand_over_value(value, place)))


def _find(module: str, qualname: str) -> TaskFunction[..., Any]:
    """Return the task function by its names; `multiprocessing` has made `__main__` the caller's main module."""
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, TaskFunction):
        raise ConfigurationError(f"{qualname} of {module} can't be found again by its name: define it at the top level")
    return found


def _hand_over_value(value: object, place: Path) -> None:
    try:
        place.write_bytes(pickle.dumps(value))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"the task returned a {type(value).__name__} that can't be handed back to the caller: {error}. "
            "Return something that can be pickled, or save it and return where it is"
        ) from error


def _hand_over_error(error: Exception, place: Path) -> None:
    """Exceptions with constructors of their own often can't be unpickled; then the caller gets the words only."""
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)  # noqa: S301 - what the line above wrote
    except Exception:  # noqa: BLE001 - whatever its __reduce__ and __init__ raise, the attempt's own error matters
        return
    place.write_bytes(pickled)
