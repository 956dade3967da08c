"""`Checkpoints`: save, restore, latest, list: the one class that composes the store's parts for a program."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self

from waypost.backends.protocol import Backend

BASE: Final = "base"
"""As `checkpoint=` of `restore` and `read_bytes`: what this attempt resumes from, however much it saved since."""

Source = bytes | bytearray | memoryview | str | os.PathLike[str]
Which = int | Literal["base"] | None


@dataclasses.dataclass(frozen=True)
class CheckpointInfo:
    """One committed checkpoint."""

    sequence: int
    """Its number in the store's log: what `restore(checkpoint=...)` takes."""
    step: int | None
    attempt: int
    created: datetime.datetime
    size_bytes: int
    """Bytes of its files together."""
    metrics: Mapping[str, float]
    metadata: Mapping[str, Any]
    parent: int | None
    """The checkpoint that this one goes on from: where a restore falls back to when this one is damaged."""


class SaveHandle:
    """One save on its way."""

    def done(self) -> bool:
        """Whether the save was confirmed, failed or superseded."""
        raise NotImplementedError

    def result(self, timeout: float | None = None) -> CheckpointInfo:
        """Wait for the save and return what was committed.

        Raises TimeoutError after `timeout` seconds (the save goes on), SupersededError when a newer save took its
        place in the queue, StorageError (whose `outcome` says whether it may exist all the same), FencedError,
        CompletedError.
        """
        raise NotImplementedError


class Checkpoints:
    """The checkpoint store of one task, opened as one attempt's writer or for reading only.

    `uri` and `attempt` default to the operator's contract. With an attempt, opening walks to the end of the store's
    log and takes it over (FENCE): it raises AttemptRefusedError, CompletedError (this store's task has ended; the
    document already says `completed`), StorageError, ConfigurationError, StopRequested (SIGTERM came first).
    With `attempt=None`, or with any URI but the contract's and no attempt, the store is opened read-only.
    Handles of one process on one store share the connection, the fence and the queue.
    """

    def __init__(
        self,
        uri: str | os.PathLike[str] | None = None,
        *,
        attempt: int | Literal["contract"] | None = "contract",
        backend: Backend | None = None,
    ) -> None:
        raise NotImplementedError

    @property
    def uri(self) -> str:
        """URI of the store."""
        raise NotImplementedError

    @property
    def attempt(self) -> int | None:
        """The attempt that this handle writes as; None when it only reads."""
        raise NotImplementedError

    @property
    def base(self) -> CheckpointInfo | None:
        """What this attempt resumes from: the newest live checkpoint at its FENCE, or the one restored in its place.

        Fixed for the attempt. None: nothing was saved before. Read-only handles: the same as `latest()`.
        """
        raise NotImplementedError

    @property
    def completed(self) -> bool:
        """Whether the log has ended with COMPLETE (readers ask; a writer can't open such a store)."""
        raise NotImplementedError

    @property
    def highest_attempt(self) -> int:
        """The highest attempt that the log knows, 0 if none: a local run goes on with one more."""
        raise NotImplementedError

    def latest(self) -> CheckpointInfo | None:
        """Return the newest live checkpoint, of whatever attempt; None when nothing was saved yet."""
        raise NotImplementedError

    def list(self) -> list[CheckpointInfo]:
        """Return the live checkpoints, newest first."""
        raise NotImplementedError

    def restore(
        self, path: str | os.PathLike[str], checkpoint: Which = None, *, replace: bool = False
    ) -> CheckpointInfo | None:
        """Make the folder `path` hold exactly the checkpoint, and return which one; None when nothing was saved yet.

        `checkpoint`: a sequence number, BASE, or None for the newest. The folder must be absent, empty or an earlier
        restore of ours; `replace=True` overrides. A save of bytes comes back as the file `_dst_cp`, a file under its
        name. Damage falls back along the parents, loudly, unless a number was given.
        """
        raise NotImplementedError

    def read_bytes(self, checkpoint: Which = None) -> bytes | None:
        """Return the content of a checkpoint that is one file; None when nothing was saved yet.

        Raises ConfigurationError (a ValueError) when it isn't exactly one file. Counts as a restore.
        """
        raise NotImplementedError

    def save(
        self,
        source: Source,
        *,
        step: int | None = None,
        metrics: Mapping[str, float] | None = None,
        metadata: Mapping[str, Any] | None = None,
        wait: bool = False,
    ) -> SaveHandle:
        """Save bytes, a file or a folder; returns once the source may change again.

        `wait=True` returns when it is durable, and is never superseded. Raises the error of an earlier save that
        nobody has seen yet, and StopRequested by the rules of the stop order.
        """
        raise NotImplementedError

    def flush(self, timeout: float | None = None) -> None:
        """Wait until every save has ended; raises what went wrong, StorageError after `timeout` seconds."""
        raise NotImplementedError

    def complete(self) -> None:
        """Flush, end the log with COMPLETE, and write `completed` into the document once it is confirmed."""
        raise NotImplementedError

    def close(self) -> None:
        """Flush and let go of the store; safe to repeat. At the interpreter's exit it happens by itself."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def preflight(uri: str | None = None) -> None:
    """Check that the store can be reached and may be written, before user code runs; raises StorageError, 74."""
    raise NotImplementedError
