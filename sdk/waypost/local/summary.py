"""The few lines at the end of a local run: each attempt, where it resumed, how far it came and why it ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from waypost.contract import Document, Position
from waypost.local.budget import Why, explain
from waypost.local.supervise import Attempt

WIDTHS: Final = (9, 22, 16, 10)


def lines(attempts: Sequence[Attempt]) -> Iterator[str]:
    """Yield the summary of a run, line by line."""
    yield _row("attempt", "resumed at", "saved up to", "seconds", "ended")
    for attempt in attempts:
        document = attempt.ended.document
        yield _row(
            str(attempt.ended.attempt),
            place(document.resumed_from if document else None) or _beginning(document),
            place(document.committed if document else None) or "nothing",
            f"{attempt.ended.seconds:.1f}",
            explain(attempt.ended, attempt.why),
        )
    preempted = sum(attempt.why is Why.PREEMPTED for attempt in attempts)
    last = attempts[-1]
    outcome = "completed" if last.why is Why.COMPLETED else f"not completed ({last.why.value})"
    yield f"{outcome}: {_count(len(attempts), 'attempt')}, {_count(preempted, 'preemption')}"
    if last.why is Why.COMPLETED and last.ended.document is not None and last.ended.document.result is not None:
        yield f"result: {last.ended.document.result}"


def _beginning(document: Document | None) -> str:
    start_point = place(document.started_from if document else None)
    return "the start" if start_point is None else f"FROM, {start_point}"


def place(position: Position | None) -> str | None:
    """Return how a person would call a checkpoint: by its step, or by its number in the log."""
    if position is None:
        return None
    return f"checkpoint {position.sequence}" if position.step is None else f"step {position.step}"


def _row(*cells: str) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=False)]
    return "".join(padded) + cells[-1]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
