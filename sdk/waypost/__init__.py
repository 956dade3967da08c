"""Waypost in the pod: long tasks on spot machines that never lose committed progress.

Only the public names, imported when they are first used: the operator imports `waypost.contract` from this package,
and a program that only wants `RecoverableError` shouldn't pay for a storage client. The one exception is `task`: the
import system binds `waypost.task` to the module of that name when it is first loaded, so it is loaded here, light as
it is, and the name bound to the decorator for good.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from waypost.task import task

if TYPE_CHECKING:
    from waypost.checkpoints import CheckpointInfo, Checkpoints, Group, RestoredState
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
    from waypost.state.plain import HostArray
    from waypost.stop import on_preemption, preemption_requested
    from waypost.store.retention import KeepBest, KeepEvery, Retention

__all__ = [
    "AttemptRefusedError",
    "CheckpointInfo",
    "CheckpointPrunedError",
    "Checkpoints",
    "CompletedError",
    "ConfigurationError",
    "CorruptCheckpointError",
    "FencedError",
    "Group",
    "HostArray",
    "KeepBest",
    "KeepEvery",
    "RecoverableError",
    "RestoredState",
    "Retention",
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
    "Group": "waypost.checkpoints",
    "HostArray": "waypost.state.plain",
    "KeepBest": "waypost.store.retention",
    "KeepEvery": "waypost.store.retention",
    "RestoredState": "waypost.checkpoints",
    "Retention": "waypost.store.retention",
    "current_context": "waypost.context",
    "on_preemption": "waypost.stop",
    "preemption_requested": "waypost.stop",
}
"""Where the names live that aren't errors."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("waypost")
    if name not in __all__:
        raise AttributeError(f"module 'waypost' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "waypost.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
