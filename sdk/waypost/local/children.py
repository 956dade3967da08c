"""Starting one attempt as a real child process, with the environment contract of a pod.

Two launchers behind one protocol. `CommandLauncher` starts the very command that a pod runs, `waypost run
FILE:FUNCTION`; `CallLauncher` serves a plain call `train(…)` by `multiprocessing`'s spawn, whose machinery carries
arguments and value and imports the caller's main module again. Both children are new interpreters: a fork would
inherit threads, locks and device handles that a relaunched pod doesn't have either.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, Protocol

from waypost import contract
from waypost.contract import Document
from waypost.errors import ConfigurationError
from waypost.store.retention import Retention


class Child(Protocol):
    """A started attempt."""

    def wait(self, timeout: float | None) -> int | None:
        """Return the exit code (negative: the signal) once it has ended, None after `timeout` seconds."""

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when it has ended."""


class Launcher(Protocol):
    """Starts attempts of one task function with its arguments."""

    def start(self, env: Mapping[str, str]) -> Child:
        """Start a child whose environment is `env`."""


def environment(
    store: str,
    attempt: int,
    task: str,
    termination_log: Path,
    grace_seconds: float,
    starts_from: str | None = None,
    retention: Retention | None = None,
) -> dict[str, str]:
    """Return the environment of a local attempt: ours, with the contract's names set as the operator would."""
    env = {name: value for name, value in os.environ.items() if name not in contract.ENV_NAMES}
    env |= {
        contract.ENV_CHECKPOINT_DST: store,
        contract.ENV_CHECKPOINT_SRC: store,
        contract.ENV_ATTEMPT: str(attempt),
        contract.ENV_TASK: task,
        contract.ENV_GRACE_SECONDS: f"{grace_seconds:g}",
        contract.ENV_TERMINATION_LOG: str(termination_log),
    }
    if starts_from is not None:
        env[contract.ENV_CHECKPOINT_FROM] = starts_from
    if retention is not None:
        env[contract.ENV_RETENTION] = retention.to_json()
    env.setdefault("PYTHONUNBUFFERED", "1")  # what a killed child has printed should be seen
    return env


def read_document(path: Path) -> Document | None:
    """Read the document of an attempt as the operator would; None when there is none."""
    try:
        return Document.parse(path.read_bytes())
    except FileNotFoundError:
        return None


# --- The pod's own command --------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class CommandLauncher:
    """Starts `waypost run FILE:FUNCTION ARGUMENTS`."""

    target: str
    arguments: Sequence[str] = ()

    def start(self, env: Mapping[str, str]) -> Child:
        """Start it; standard output and error are ours."""
        command = [sys.executable, "-m", "waypost.cli", "run", self.target, *self.arguments]
        return _Command(subprocess.Popen(command, env=dict(env)))


@dataclasses.dataclass(frozen=True)
class _Command:
    process: subprocess.Popen[bytes]

    def wait(self, timeout: float | None) -> int | None:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


# --- A plain call ------------------------------------------------------------------------------------------------
_environ_lock: Final = threading.Lock()


@dataclasses.dataclass(frozen=True)
class CallLauncher:
    """Calls `target(*arguments)` in a new interpreter; everything has to be picklable."""

    target: Callable[..., object]
    arguments: tuple[Any, ...]

    def start(self, env: Mapping[str, str]) -> Child:
        """Start it, or raise ConfigurationError when the call can't be carried over to another process."""
        process = multiprocessing.get_context("spawn").Process(target=self.target, args=self.arguments)
        try:
            with _environ(env):
                process.start()
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ConfigurationError(
                f"a local run starts each attempt as a new process, and this call can't be carried over: {error}. "
                "Define the function at the top level of a file, and pass arguments that can be pickled"
            ) from error
        return _Call(process)


@dataclasses.dataclass(frozen=True)
class _Call:
    process: BaseProcess

    def wait(self, timeout: float | None) -> int | None:
        self.process.join(timeout)
        return self.process.exitcode

    def signal(self, number: int) -> None:
        if self.process.pid is not None and self.process.exitcode is None:
            os.kill(self.process.pid, number)


@contextlib.contextmanager
def _environ(env: Mapping[str, str]) -> Iterator[None]:
    """Our own environment replaced for as long as it takes to start a process that inherits it."""
    with _environ_lock:
        kept = dict(os.environ)
        os.environ.clear()
        os.environ.update(env)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(kept)
