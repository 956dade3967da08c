"""What a program learns about a checkpoint, and about a save on its way."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from waypost.store.entries import Checkpoint, Origin
from waypost.store.saver import Latch


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
    parent: int | Origin | None
    """The checkpoint that this one goes on from: where a restore falls back to when this one is damaged. An Origin
    (`uri`, `sequence`) is one of another store, and ends that."""
    origin: str | None = None
    """URI of the store it stands in, if that isn't the task's own: the one that the task starts from."""

    @classmethod
    def of(cls, entry: Checkpoint, origin: str | None = None) -> CheckpointInfo:
        """What the log says about it."""
        return cls(
            sequence=entry.sequence,
            step=entry.step,
            attempt=entry.attempt,
            created=entry.time,
            size_bytes=entry.size,
            metrics=entry.metrics,
            metadata=entry.metadata,
            parent=entry.parent,
            origin=origin,
        )

    def __str__(self) -> str:
        """As log lines name it: number, attempt and step; the store, if it is another than the task's own."""
        step = "" if self.step is None else f", step {self.step}"
        store = "" if self.origin is None else f" of {self.origin}"
        return f"{self.sequence} (attempt {self.attempt}{step}){store}"


class SaveHandle:
    """One save on its way."""

    def __init__(self, latch: Latch[CheckpointInfo]) -> None:
        self._latch = latch

    def done(self) -> bool:
        """Whether the save was confirmed, failed or superseded."""
        return self._latch.done

    def result(self, timeout: float | None = None) -> CheckpointInfo:
        """Wait for the save and return what was committed.

        Raises TimeoutError after `timeout` seconds (the save goes on), SupersededError when a newer save took its
        place in the queue, StorageError (whose `outcome` says whether it may exist all the same), FencedError,
        CompletedError, OSError when the source couldn't be read.
        """
        if not self._latch.wait(timeout):
            raise TimeoutError(f"the save hasn't ended within {timeout} s; it goes on")
        if (error := self._latch.tell()) is not None:
            raise error
        return self._latch.value
