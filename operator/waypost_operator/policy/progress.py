"""Whether an attempt brought the task further.

Progress is a committed step above every earlier attempt's. A program that counts no steps makes progress by a new
checkpoint, but only if it ran for at least `backoff.initialSeconds`: otherwise 'save, crash, relaunch' would be
a hot loop.

An attempt whose pod vanished can't tell. What it committed shows in the next attempt's `resumedFrom`, so that is
looked at first (`settled_later`), before the next attempt's own commits are.
"""

from __future__ import annotations

from waypost import contract
from waypost_operator.model.status import Position


def exceeds(committed: contract.Position | None, known: Position | None, *, run_seconds: float, initial: int) -> bool:
    """True when `committed` is progress over the highest position `known` so far.

    `run_seconds`: how long the attempt ran; `initial`: backoff.initialSeconds. Both matter only without steps.
    """
    if committed is None:
        return False
    if committed.step is not None:
        return known is None or known.step is None or committed.step > known.step
    return (known is None or committed.sequence > known.sequence) and run_seconds >= initial


def highest(known: Position | None, *seen: contract.Position | None) -> Position | None:
    """The highest step and the highest sequence among them, each for itself: steps may fall, numbers never do."""
    positions = [position for position in (known, *seen) if position is not None]
    if not positions:
        return None
    steps = [position.step for position in positions if position.step is not None]
    return Position(sequence=max(position.sequence for position in positions), step=max(steps, default=None))
