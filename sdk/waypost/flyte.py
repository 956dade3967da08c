"""Flyte's names for Waypost's things: a Flyte program moves over by its import lines.

    from waypost.flyte import current_context, task, workflow, FlyteRecoverableException

`docs/sdk.md` has the table of what behaves differently, and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar, overload

from waypost import attempt
from waypost.checkpoints import Checkpoints
from waypost.context import Checkpoint, current_context
from waypost.errors import RecoverableError
from waypost.task import task

__all__ = [
    "FlyteDataNotFoundException",
    "FlyteRecoverableException",
    "SyncCheckpoint",
    "current_context",
    "task",
    "workflow",
]

P = ParamSpec("P")
R = TypeVar("R")

FlyteRecoverableException = RecoverableError
"""Raise it to be relaunched."""


class FlyteDataNotFoundException(ValueError):  # noqa: N818 - Flyte's name
    """What Flyte raises when nothing was saved yet; here `read` and `restore` give None, and nothing raises it.

    Kept so that an `except FlyteDataNotFoundException` of a Flyte program still means something.
    """


class SyncCheckpoint(Checkpoint):
    """Flyte's checkpoint on two stores named by hand: resume from `checkpoint_src`, save to `checkpoint_dest`.

    The destination is opened for writing, as the contract's attempt if there is one, else as one attempt above the
    highest that the store knows; the source is only read. An empty source is none.
    """

    def __init__(self, checkpoint_dest: str, checkpoint_src: str | None = None) -> None:
        dest, src = checkpoint_dest.rstrip("/"), (checkpoint_src or "").rstrip("/")
        destination = Checkpoints(dest, attempt=_attempt_for(dest))
        source = None
        if src:
            source = destination if src == dest else Checkpoints(src, attempt=None)
        super().__init__(destination, source)


_attempts: Final[dict[str, int]] = {}
"""By store: the attempt as which this process writes to it; a second SyncCheckpoint on it is no new attempt."""


def _attempt_for(uri: str) -> int:
    told = attempt.Contract.from_env()
    if told is not None:
        return told.attempt
    if uri not in _attempts:
        with Checkpoints(uri, attempt=None) as reader:
            _attempts[uri] = reader.highest_attempt + 1
    return _attempts[uri]


@overload
def workflow(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def workflow() -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def workflow(function: Callable[P, R] | None = None, /) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function that calls one task function: it is called as it is."""
    return (lambda target: target) if function is None else function
