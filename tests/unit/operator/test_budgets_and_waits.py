"""Every end is booked once, in its own place, and waits as long as its own kind suggests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.operator.tasks import task
from waypost import contract
from waypost.contract import ConditionReason, Document, Outcome
from waypost_operator.model.raw import Json
from waypost_operator.model.spec import Backoff, TaskSpec
from waypost_operator.model.status import Attempt, Counts, Position, SinceProgress, TaskStatus
from waypost_operator.policy import backoff, completion, progress
from waypost_operator.policy.budgets import settle
from waypost_operator.policy.classify import Verdict

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TEN = Backoff(initial_seconds=10, max_seconds=600)
NO_COUNTS = {"attempts": 1, "preemptions": 0, "failures": 0, "free_retries": 0}
NOTHING = SinceProgress().model_dump()


def settled(
    outcome: Outcome, *, step: int | None = None, before: SinceProgress | None = None, known: int | None = None
) -> TaskStatus:
    """The status after attempt 5 ended so, having committed `step`, when `known` was the highest step so far."""
    document = Document(attempt=5, fence=1, committed=None if step is None else contract.Position(step + 100, step))
    status = TaskStatus(
        attempt=5,
        since_progress=before or SinceProgress(),
        progress=None if known is None else Position(sequence=known + 100, step=known),
    )
    verdict = Verdict(outcome, "Rule", "evidence", 1, document)
    return settle(status, verdict, Attempt(attempt=5), finished=NOON, initial=10)


BOOKED = [
    # outcome, progressed, total raised, since-progress raised
    (Outcome.COMPLETED, False, None, None),
    (Outcome.CHECKPOINT_CORRUPT, False, None, None),
    (Outcome.PREEMPTED, False, "preemptions", "preemptions"),
    (Outcome.PREEMPTED, True, "preemptions", None),
    (Outcome.DELETED, False, "free_retries", "preemptions"),
    (Outcome.DELETED, True, "free_retries", None),
    (Outcome.RECOVERABLE, False, "failures", "failures"),
    (Outcome.RECOVERABLE, True, "free_retries", None),
    (Outcome.FAILED, False, "failures", "failures"),
    (Outcome.FAILED, True, "failures", "failures"),
    (Outcome.STORAGE_UNAVAILABLE, False, "free_retries", "storage"),
    (Outcome.STORAGE_UNAVAILABLE, True, "free_retries", "storage"),
    (Outcome.UNKNOWN, False, "free_retries", "unknown"),
    (Outcome.EXCUSED, False, "free_retries", "excused"),
    (Outcome.EXCUSED, True, "free_retries", None),
    (Outcome.REJECTED, False, "free_retries", "refused"),
    (Outcome.REFUSED, False, None, "refused"),
    (Outcome.FENCED, False, None, "refused"),
    (Outcome.SUSPENDED, False, None, None),
    (Outcome.SUSPENDED, True, None, None),
    (Outcome.DEADLINE_EXCEEDED, False, None, None),
]


def test_the_table_names_every_outcome() -> None:
    assert {outcome for outcome, *_ in BOOKED} == set(Outcome)


@pytest.mark.parametrize(("outcome", "progressed", "total", "since"), BOOKED)
def test_an_end_raises_its_own_count_and_no_other(
    outcome: Outcome, progressed: bool, total: str | None, since: str | None
) -> None:
    status = settled(outcome, step=9 if progressed else None)
    assert status.counts.model_dump() == NO_COUNTS | ({total: 1} if total else {})
    fruitless = not progressed and outcome not in (Outcome.COMPLETED, Outcome.SUSPENDED, Outcome.DEADLINE_EXCEEDED)
    assert status.since_progress.model_dump() == NOTHING | ({since: 1} if since else {}) | {"attempts": int(fruitless)}


@pytest.mark.parametrize("outcome", list(Outcome))
def test_progress_forgives_everything_that_came_before_it(outcome: Outcome) -> None:
    worn = SinceProgress(failures=3, preemptions=4, unknown=2, storage=5, refused=1)
    after = settled(outcome, step=41, known=40, before=worn).since_progress.model_dump()
    assert sum(after.values()) <= 1


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_step_that_an_earlier_attempt_had_reached_is_no_progress(outcome: Outcome) -> None:
    worn = SinceProgress(failures=3)
    assert settled(outcome, step=40, known=40, before=worn).since_progress.failures >= 3


def wait(outcome: Outcome, *, progressed: bool = False, since: dict[str, int] | None = None) -> float:
    entry = Attempt(attempt=5, outcome=outcome, progressed=progressed, finished="2026-11-23T12:00:00Z")
    return backoff.delay(entry, SinceProgress(**since or {}), TEN, "a-uid").total_seconds()


@pytest.mark.parametrize("outcome", [Outcome.PREEMPTED, Outcome.DELETED, Outcome.RECOVERABLE])
def test_whatever_made_progress_is_relaunched_at_once(outcome: Outcome) -> None:
    assert wait(outcome, progressed=True) == 0


@pytest.mark.parametrize(
    ("outcome", "count", "first"),
    [
        (Outcome.PREEMPTED, "preemptions", 1),
        (Outcome.DELETED, "preemptions", 1),
        (Outcome.FAILED, "failures", 1),
        (Outcome.RECOVERABLE, "failures", 1),
        (Outcome.STORAGE_UNAVAILABLE, "storage", 1),
        (Outcome.REJECTED, "refused", 1),
        (Outcome.UNKNOWN, "unknown", 2),
        (Outcome.REFUSED, "refused", 2),
        (Outcome.FENCED, "refused", 2),
    ],
)
def test_each_kind_waits_by_its_own_count_from_its_first_or_second(outcome: Outcome, count: str, first: int) -> None:
    assert wait(outcome, since={count: first - 1}) == 0
    for doubling, expected in enumerate((10, 20, 40, 80, 160, 320, 600, 600, 600)):
        assert expected * 0.9 <= wait(outcome, since={count: first + doubling}) <= expected


@settings(deadline=None)  # a busy machine is no failure
@given(
    initial=st.integers(1, 86_400),
    limit=st.integers(1, 86_400),
    count=st.integers(0, 2**31 - 1),
    attempt=st.integers(1, 2**31 - 1),
    outcome=st.sampled_from(list(Outcome)),
)
def test_no_wait_exceeds_the_limit_and_the_same_attempt_always_waits_the_same(
    initial: int, limit: int, count: int, attempt: int, outcome: Outcome
) -> None:
    since = SinceProgress(failures=count, preemptions=count, unknown=count, storage=count, refused=count)
    entry = Attempt(attempt=attempt, outcome=outcome, progressed=False)
    policy = Backoff(initial_seconds=initial, max_seconds=limit)
    delays = {backoff.delay(entry, since, policy, "a-uid") for _ in range(3)}
    assert len(delays) == 1
    assert timedelta(0) <= delays.pop() <= timedelta(seconds=limit)


def test_tasks_preempted_together_do_not_come_back_together() -> None:
    entry = Attempt(attempt=1, outcome=Outcome.PREEMPTED, progressed=False)
    delays = {backoff.delay(entry, SinceProgress(preemptions=3), TEN, f"uid-{n}") for n in range(100)}
    assert len(delays) > 90


def ended(outcome: Outcome, since: SinceProgress, *, preemptions: int = 0) -> TaskStatus:
    """The status after attempt 9 ended so and was booked."""
    entry = Attempt(attempt=9, outcome=outcome, evidence="evidence")
    return TaskStatus(attempt=9, attempts=[entry], since_progress=since, counts=Counts(preemptions=preemptions))


def spec(*, max_failures: int = 3, **more: Any) -> TaskSpec:
    return TaskSpec.model_validate(task(max_failures=max_failures, **more)["spec"])


@pytest.mark.parametrize(("failures", "allowed", "over"), [(3, 3, False), (4, 3, True), (1, 0, True), (0, 0, False)])
def test_a_task_fails_when_its_failures_exceed_what_is_allowed(failures: int, allowed: int, over: bool) -> None:
    status = ended(Outcome.FAILED, SinceProgress(failures=failures))
    assert (completion.ending(status, spec(max_failures=allowed), NOON) is not None) is over


ENDING = {Outcome.FAILED, Outcome.RECOVERABLE, Outcome.COMPLETED, Outcome.CHECKPOINT_CORRUPT}


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - ENDING))
def test_no_end_but_a_failure_ends_a_task_whose_failures_are_used_up(outcome: Outcome) -> None:
    worn = SinceProgress(failures=99, preemptions=99, unknown=99, storage=99, refused=99)
    assert completion.ending(ended(outcome, worn), spec(max_failures=0), NOON) is None


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize(
    ("preemptions", "allowed", "over"), [(3, 3, False), (4, 3, True), (1, 0, True), (4, None, False)]
)
def test_only_a_preemption_ends_a_task_whose_preemptions_exceed_what_is_allowed(
    outcome: Outcome, preemptions: int, allowed: int | None, over: bool
) -> None:
    policy: Json = {} if allowed is None else {"maxPreemptions": allowed}
    status = ended(outcome, SinceProgress(), preemptions=preemptions)
    ending = completion.ending(status, spec(preemptionPolicy=policy), NOON)
    exceeded = ending is not None and ending.reason is ConditionReason.PREEMPTIONS_EXCEEDED
    assert exceeded is (over and outcome is Outcome.PREEMPTED)


POSITIONS = st.one_of(
    st.none(),
    st.builds(contract.Position, st.integers(1, 50), st.one_of(st.none(), st.integers(0, 50))),
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(POSITIONS, max_size=8))
def test_the_highest_position_never_falls_and_is_never_progress_over_itself(
    seen: list[contract.Position | None],
) -> None:
    known: Position | None = None
    for position in seen:
        higher = progress.highest(known, position)
        if known is not None:
            assert higher is not None
            assert higher.sequence >= known.sequence
            assert (higher.step or 0) >= (known.step or 0)
        known = higher
        if position is not None:
            assert not progress.exceeds(position, known, run_seconds=1e6, initial=1)


@settings(deadline=None)  # a busy machine is no failure
@given(POSITIONS, POSITIONS)
def test_without_steps_a_short_run_makes_no_progress(
    committed: contract.Position | None, first: contract.Position | None
) -> None:
    known = progress.highest(None, first)
    if committed is not None and committed.step is None:
        assert not progress.exceeds(committed, known, run_seconds=9.9, initial=10)
