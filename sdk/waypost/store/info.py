"""What a program learns about a checkpoint."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from waypost.store.entries import Checkpoint


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

    @classmethod
    def of(cls, entry: Checkpoint) -> CheckpointInfo:
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
        )
