"""This process as one attempt of a task: what the operator told it, and what it tells the operator.

`Contract` is the typed form of the environment that the operator injects; `Report` holds the document that the
operator reads back (see `waypost.contract`). Whoever learns something (the store at a commit, the signal handler at a
stop order, the task wrapper at the end) updates the report; the record is written at once, because the next thing
that happens may be SIGKILL.

`Report.update` is called from threads and from a signal handler that may interrupt another `update` of the main
thread half-way. So the fields live in one dict changed by one atomic call, and the writer goes on until what it has
written is what stands in the dict: an interrupted writer can't put a stale record over a newer one for longer than
it takes to notice. The termination message file is a courtesy: when it can't be written the program runs on, and
the log says so once.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
from collections.abc import Mapping
from typing import TypedDict, Unpack

from waypost import contract, ending
from waypost.errors import ConfigurationError
from waypost.log import logger
from waypost.store.group import standing
from waypost.store.retention import Retention

MAX_ATTEMPT = 2**63 - 2
"""The highest attempt; 2^63-1 is the fence of a deleted store."""


@dataclasses.dataclass(frozen=True)
class Contract:
    """What the operator (or `waypost run`) tells one attempt by its environment."""

    destination: str
    """URI of the task's checkpoint store, without trailing slashes."""
    source: str
    """URI to resume from; the same store."""
    attempt: int
    task: str | None = None
    namespace: str | None = None
    task_uid: str | None = None
    pod_uid: str | None = None
    """None outside a pod."""
    grace_seconds: float = contract.DEFAULT_GRACE_SECONDS
    """Seconds between SIGTERM and SIGKILL."""
    termination_log: str | None = None
    """Path of the termination message file; None: nobody reads one."""
    starts_from: str | None = None
    """A store, or `<store>#<sequence>`: where the task begins as long as its own store holds no checkpoint."""
    retention: Retention | None = None
    """Which checkpoints are kept; None: every one."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Contract | None:
        """Read the contract; None when WAYPOST_CHECKPOINT_DST is not set, as outside a pod and `waypost run`.

        Raises ConfigurationError naming the variable that is missing or can't be meant.
        """
        if contract.ENV_CHECKPOINT_DST not in env:
            return None
        destination = _required(env, contract.ENV_CHECKPOINT_DST).rstrip("/")
        source = env.get(contract.ENV_CHECKPOINT_SRC, "").rstrip("/") or destination
        if source != destination:
            raise ConfigurationError(
                f"{contract.ENV_CHECKPOINT_SRC} is {source!r} but {contract.ENV_CHECKPOINT_DST} is {destination!r}: "
                "an attempt resumes from its task's own store; set both to the same URI or leave the first one out"
            )
        return cls(
            destination=destination,
            source=source,
            attempt=_attempt(_required(env, contract.ENV_ATTEMPT)),
            task=env.get(contract.ENV_TASK) or None,
            namespace=env.get(contract.ENV_NAMESPACE) or None,
            task_uid=env.get(contract.ENV_TASK_UID) or None,
            pod_uid=env.get(contract.ENV_POD_UID) or None,
            grace_seconds=_seconds(env.get(contract.ENV_GRACE_SECONDS) or str(contract.DEFAULT_GRACE_SECONDS)),
            termination_log=env.get(contract.ENV_TERMINATION_LOG) or None,
            starts_from=env.get(contract.ENV_CHECKPOINT_FROM) or None,
            retention=_retention(env.get(contract.ENV_RETENTION)),
        )


class Fields(TypedDict, total=False):
    """What `Report.update` takes: the fields of `contract.Document` but the attempt, which never changes."""

    fence: int | None
    resumed_from: contract.Position | None
    started_from: contract.Position | None
    committed: contract.Position | None
    restore: contract.Transfer | None
    last_save: contract.Transfer | None
    stop_requested: bool
    completed: bool
    highest_attempt: int | None
    result: str | None
    reason: str | None
    message: str | None


class Report:
    """The document of this attempt; safe to update from any thread and from a signal handler."""

    def __init__(self, attempt: int, path: str | None) -> None:
        self._attempt, self._path = attempt, path
        self._fields: Fields = {}
        self._changes = itertools.count(1)
        self._changed = self._written = 0
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._told = False

    @property
    def document(self) -> contract.Document:
        """The document as it stands."""
        return contract.Document(attempt=self._attempt, **self._fields.copy())

    def update(self, **fields: Unpack[Fields]) -> None:
        """Change the given fields and write the record at once; never raises because of the file.

        Does nothing in a forked child: its end says nothing about the attempt's.
        """
        if os.getpid() != self._pid:
            return
        self._fields.update(fields)
        self._changed = next(self._changes)
        with self._lock:
            while self._written != (change := self._changed):
                self._write()
                self._written = change

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            stands = self.document.write(self._path)
        except OSError as error:
            self._tell(f"can't write the termination message {self._path}: {error}")
        else:
            if not stands:
                self._tell(f"the termination message {self._path} belongs to a process with a higher fence")

    def _tell(self, trouble: str) -> None:
        if not self._told:
            self._told = True
            logger.warning("%s; the program runs on, but the operator won't see how far it came", trouble)


_lock = threading.RLock()
_report: Report | None = None
_report_pid = 0


def report() -> Report | None:
    """Return the report of this process's attempt; None without a contract and in a forked child.

    Of several ranks in a pod rank 0 alone writes it: they share one file, and it is rank 0 that commits. The first
    call writes the first record and makes uncaught errors set the exit code that the operator judges by
    (`ending.install_hook`). Raises ConfigurationError for an environment that can't be meant.
    """
    global _report, _report_pid
    with _lock:
        if _report is None:
            told = Contract.from_env()
            if told is None:
                return None
            path = told.termination_log if standing(os.environ)[0] == 0 else None
            _report, _report_pid = Report(told.attempt, path), os.getpid()
            _report.update()
            ending.install_hook(_report)
        return _report if _report_pid == os.getpid() else None


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise ConfigurationError(
            f"{name} is {'empty' if name in env else 'not set'}: in a pod the operator sets it; to run by hand use "
            f"`waypost run FILE:FUNCTION` or unset {contract.ENV_CHECKPOINT_DST}"
        )
    return value


def _attempt(value: str) -> int:
    if value.isascii() and value.isdigit() and 1 <= int(value) <= MAX_ATTEMPT:
        return int(value)
    raise ConfigurationError(f"{contract.ENV_ATTEMPT} is {value!r}: it has to be a whole number from 1 on")


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if 0 <= seconds < float("inf"):
        return seconds
    raise ConfigurationError(f"{contract.ENV_GRACE_SECONDS} is {value!r}: it has to be a number of seconds, 0 or more")


def _retention(value: str | None) -> Retention | None:
    try:
        return Retention.parse(value) if value else None
    except ConfigurationError as error:
        raise ConfigurationError(f"{contract.ENV_RETENTION} is {value!r}: {error}") from error
