"""Waypost in the pod: long tasks on spot machines that never lose committed progress.

Only the public names, imported when they are first used: the operator imports `waypost.contract` from this package,
and a program that only wants `RecoverableError` shouldn't pay for a storage client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from waypost.checkpoints import CheckpointInfo, Checkpoints
    from waypost.context import current_context
    from waypost.errors import (
        AttemptRefusedError,
        CheckpointPrunedError,
        CompletedError,
        ConfigurationError,
        CorruptCheckpointError,
        FencedError,
        RecoverableError,
        StopRequested,
        StorageError,
        StoreDeletedError,
        SupersededError,
        WaypostError,
    )
    from waypost.stop import on_preemption, preemption_requested
    from waypost.task import task

__all__ = [
    "AttemptRefusedError",
    "CheckpointInfo",
    "CheckpointPrunedError",
    "Checkpoints",
    "CompletedError",
    "ConfigurationError",
    "CorruptCheckpointError",
    "FencedError",
    "RecoverableError",
    "StopRequested",
    "StorageError",
    "StoreDeletedError",
    "SupersededError",
    "WaypostError",
    "__version__",
    "current_context",
    "on_preemption",
    "preemption_requested",
    "task",
]

_HOMES = {
    "CheckpointInfo": "waypost.checkpoints",
    "Checkpoints": "waypost.checkpoints",
    "current_context": "waypost.context",
    "on_preemption": "waypost.stop",
    "preemption_requested": "waypost.stop",
    "task": "waypost.task",
}
"""Where the names live that aren't errors."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("waypost")
    if name not in __all__:
        raise AttributeError(f"module 'waypost' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "waypost.errors")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
