"""What follows the end of a local attempt: the design's table of ends, made small."""

from __future__ import annotations

import signal

import pytest

from waypost.contract import Document, DocumentReason, Position
from waypost.local.budget import (
    STEPLESS_PROGRESS_SECONDS,
    Decision,
    Ended,
    Next,
    Standing,
    Why,
    classify,
    decide,
    explain,
)

LONG = STEPLESS_PROGRESS_SECONDS
FENCE = 5


def ended(
    code: int = 1,
    committed: Position | None = None,
    *,
    reason: DocumentReason | None = None,
    seconds: float = 1.0,
    preempted: bool = False,
    stop_requested: bool = False,
    completed: bool = False,
    resumed_from: Position | None = None,
) -> Ended:
    document = Document(
        attempt=1,
        fence=FENCE,
        committed=committed,
        reason=reason,
        stop_requested=stop_requested,
        completed=completed,
        resumed_from=resumed_from,
    )
    return Ended(1, code, document, seconds, preempted)


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (ended(0, completed=True), Why.COMPLETED),
        (ended(0), Why.COMPLETED),
        (ended(1, completed=True), Why.COMPLETED),
        (ended(-9, completed=True, preempted=True), Why.COMPLETED),
        (ended(75, reason=DocumentReason.FENCED, preempted=True), Why.FENCED),
        (ended(75, reason=DocumentReason.ATTEMPT_REFUSED), Why.REFUSED),
        (ended(75, reason=DocumentReason.STOP_REQUESTED, stop_requested=True), Why.PREEMPTED),
        (ended(0, stop_requested=True), Why.PREEMPTED),
        (ended(1, stop_requested=True), Why.PREEMPTED),
        (ended(-9, preempted=True), Why.PREEMPTED),
        (ended(75, reason=DocumentReason.RECOVERABLE_ERROR), Why.RECOVERABLE),
        (ended(74, reason=DocumentReason.STORAGE_ERROR), Why.STORAGE),
        (ended(65, reason=DocumentReason.CORRUPT), Why.CORRUPT),
        (ended(1), Why.FAILED),
        (ended(-11), Why.FAILED),
        (Ended(1, 1, None, 0.1), Why.NOT_STARTED),
        (Ended(1, -15, None, 0.1, preempted=True), Why.PREEMPTED),
    ],
)
def test_an_end_is_classified_by_document_then_stop_order_then_code(end: Ended, why: Why) -> None:
    assert classify(end) is why


@pytest.mark.parametrize("end", [ended(1), ended(75, reason=DocumentReason.RECOVERABLE_ERROR), ended(-11)])
def test_n_retries_are_n_more_attempts_without_progress(end: Ended) -> None:
    standing, following = Standing(), []
    for _ in range(4):
        decision = decide(standing, end, retries=3)
        standing = decision.standing
        following.append(decision.next)
    assert following == [Next.RELAUNCH] * 3 + [Next.FINISH]


def test_without_retries_the_first_failure_ends_the_run_progress_or_not() -> None:
    assert decide(Standing(), ended(1, Position(2, 100)), retries=0).next is Next.FINISH


@pytest.mark.parametrize(
    ("standing", "end", "failures"),
    [
        (Standing(9, 50, 3), ended(1, Position(12, 51)), 1),
        (Standing(9, 50, 3), ended(1, Position(12, 50), seconds=LONG), 4),
        (Standing(9, 50, 3), ended(1, Position(12, 49), seconds=LONG), 4),
        (Standing(9, None, 3), ended(1, Position(12), seconds=LONG), 1),
        (Standing(9, None, 3), ended(1, Position(12), seconds=LONG / 2), 4),
        (Standing(9, None, 3), ended(1, None, seconds=LONG), 4),
    ],
    ids=["higher step", "same step", "lower step", "long without steps", "short without steps", "nothing saved"],
)
def test_only_real_progress_makes_the_count_start_anew(standing: Standing, end: Ended, failures: int) -> None:
    assert decide(standing, end, retries=9).standing.failures == failures


def test_what_was_resumed_from_is_no_progress() -> None:
    """A run with --checkpoint begins in the middle; saving the step it began with is standing still."""
    end = ended(1, Position(30, 100), resumed_from=Position(20, 100))
    assert decide(Standing(0, None, 1), end, retries=9).standing == Standing(30, 100, 2)


def test_a_preemption_uses_up_no_retry() -> None:
    decision = decide(Standing(failures=2), ended(75, preempted=True, stop_requested=True), retries=2)
    assert decision == Decision(Next.RELAUNCH, Why.PREEMPTED, Standing(failures=2))


def test_a_preemption_with_progress_gives_the_retries_back() -> None:
    decision = decide(Standing(failures=2), ended(-9, Position(3, 7), preempted=True), retries=2)
    assert decision.standing == Standing(3, 7, 0)


@pytest.mark.parametrize(
    "end",
    [
        ended(75, reason=DocumentReason.FENCED),
        ended(75, reason=DocumentReason.ATTEMPT_REFUSED),
        ended(74, reason=DocumentReason.STORAGE_ERROR),
        ended(65, reason=DocumentReason.CORRUPT),
        Ended(1, 1, None, 0.1),
    ],
)
def test_a_waypost_error_and_a_start_that_failed_end_the_run(end: Ended) -> None:
    assert decide(Standing(), end, retries=9).next is Next.FINISH


@pytest.mark.parametrize(
    ("end", "line"),
    [
        (ended(-9, preempted=True), "preempted and killed"),
        (ended(75, preempted=True, stop_requested=True), "preempted, ended after a save"),
        (ended(1, preempted=True), "preempted, ended"),
        (ended(0, completed=True), "completed"),
        (ended(-int(signal.SIGSEGV)), "killed by signal 11 (Segmentation fault)"),
        (ended(3), "exit code 3"),
    ],
)
def test_an_end_is_told_in_one_line(end: Ended, line: str) -> None:
    assert explain(end, classify(end)) == line
