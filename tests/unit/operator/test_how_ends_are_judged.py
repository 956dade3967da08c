"""Every captured end gets the verdict that docs/task.md promises, at its first and at its last terminal state, and is
booked where the table (`verdicts`) says, with and without progress."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from tests.unit.operator import captured
from tests.unit.operator.verdicts import NEVER_END, ROWS
from waypost.contract import Document, DocumentReason, Outcome, Position
from waypost_operator.model.node import NodeFate, NodeSeen
from waypost_operator.model.raw import Json
from waypost_operator.model.spec import FailureRule
from waypost_operator.model.status import Attempt, TaskStatus
from waypost_operator.policy.budgets import settle
from waypost_operator.policy.classify import End, NodeNeeded, Verdict, classify

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SINCE = "sinceProgress"
ENDED = sorted(ROWS)
EXITED = [name for name in ENDED if captured.history(name)[-1].pod.ended is not None]
NOT_TOLD = ("exit", "oom", "hard", "replaced")
TOLD_TO_STOP = [name for name in EXITED if name.endswith("-a") and not name.startswith(NOT_TOLD)]


def judge(
    seen: captured.Seen,
    *,
    node: NodeSeen | None = None,
    recoverable_exit_codes: frozenset[int] = frozenset(),
    rules: Sequence[FailureRule] = (),
) -> Verdict:
    """The verdict, with the node as it was at that moment if the verdict needs it."""
    gone = seen.type == "DELETED"
    end = End(
        attempt=3,
        pod=seen.pod,
        gone=gone,
        node=node,
        recoverable_exit_codes=recoverable_exit_codes,
        rules=rules,
    )
    verdict = classify(end)
    if isinstance(verdict, NodeNeeded):
        verdict = classify(dataclasses.replace(end, node=captured.node_at(verdict.name, seen.at)))
    assert isinstance(verdict, Verdict), f"the node was given and asked for again: {verdict}"
    return verdict


def with_document(seen: captured.Seen, document: Document) -> captured.Seen:
    return dataclasses.replace(seen, pod=captured.with_document(seen.pod, document))


def test_the_table_names_every_captured_pod() -> None:
    assert set(ROWS) | NEVER_END == set(captured.NAMES)


@pytest.mark.parametrize("name", ENDED)
def test_a_captured_end_is_judged_as_the_docs_say(name: str) -> None:
    verdict, row = judge(captured.history(name)[-1]), ROWS[name]
    assert (verdict.outcome, verdict.rule, verdict.evidence) == (row.outcome, row.rule, row.evidence)


@pytest.mark.parametrize("name", ENDED)
def test_the_first_terminal_state_is_judged_like_the_last(name: str) -> None:
    first, row = judge(next(seen for seen in captured.history(name) if seen.judged)), ROWS[name]
    assert (first.outcome, first.rule, first.evidence) == (row.outcome, row.rule, row.evidence)


@pytest.mark.parametrize("name", ENDED)
def test_a_captured_end_spends_what_the_docs_say(name: str) -> None:
    spent = ROWS[name].spent
    assert booked(judge(captured.history(name)[-1])) == (raised(spent.total), raised(spent.since))


@pytest.mark.parametrize("name", EXITED)
def test_a_captured_end_after_progress_spends_what_the_docs_say(name: str) -> None:
    spent = ROWS[name].spent
    seen = with_document(captured.history(name)[-1], Document(attempt=3, fence=9, committed=Position(7, 70)))
    assert booked(judge(seen)) == (raised(spent.total_with_progress), raised(spent.since_with_progress))


def booked(verdict: Verdict) -> tuple[Json, Json]:
    """`counts` and `sinceProgress` after this end of attempt 3, as they are written; of those only what isn't 0."""
    status = settle(TaskStatus(attempt=3), verdict, Attempt(attempt=3), finished=NOON, initial=10).write()
    assert status["counts"].pop("attempts") == 1
    del status[SINCE]["attempts"]  # spends nothing; test_stalling.py
    counts, since = ({name: number for name, number in status[of].items() if number} for of in ("counts", SINCE))
    return counts, since


def raised(name: str | None) -> Json:
    return {} if name is None else {name: 1}


@pytest.mark.parametrize("name", sorted(NEVER_END))
def test_a_pod_that_lives_through_a_kubelet_restart_is_never_judged(name: str) -> None:
    assert not any(seen.judged for seen in captured.history(name))


@pytest.mark.parametrize("name", EXITED)
def test_a_confirmed_completion_counts_whatever_ended_the_pod(name: str) -> None:
    seen = with_document(captured.history(name)[-1], Document(attempt=3, fence=9, completed=True, stop_requested=True))
    assert judge(seen).outcome is Outcome.COMPLETED


@pytest.mark.parametrize("name", EXITED)
def test_the_completion_of_another_attempt_counts_nothing(name: str) -> None:
    seen = with_document(captured.history(name)[-1], Document(attempt=2, fence=9, completed=True))
    assert judge(seen).outcome is ROWS[name].outcome


@pytest.mark.parametrize("name", EXITED)
@pytest.mark.parametrize(
    ("reason", "outcome"),
    [(DocumentReason.ATTEMPT_REFUSED, Outcome.REFUSED), (DocumentReason.FENCED, Outcome.FENCED)],
)
def test_what_the_store_said_comes_before_how_the_pod_ended(
    name: str, reason: DocumentReason, outcome: Outcome
) -> None:
    seen = with_document(captured.history(name)[-1], Document(attempt=3, reason=reason, highest_attempt=7))
    assert judge(seen).outcome is outcome


@pytest.mark.parametrize("name", TOLD_TO_STOP)
def test_a_program_with_the_sdk_that_was_told_to_stop_and_exits_0_is_never_complete(name: str) -> None:
    seen = with_document(captured.history(name)[-1], Document(attempt=3, fence=9, stop_requested=True))
    assert judge(seen).outcome is not Outcome.COMPLETED


@pytest.mark.parametrize("name", ["evict-c", "delete-c", "gns-c", "taint-c"])
def test_an_exit_code_rule_never_turns_a_stop_order_into_something_else(name: str) -> None:
    seen = captured.history(name)[-1]
    assert judge(seen, recoverable_exit_codes=frozenset({143})).outcome is ROWS[name].outcome


@pytest.mark.parametrize("name", ["force-a", "delete-a", "hardreboot-a"])
@pytest.mark.parametrize(
    ("fate", "outcome"), [(NodeFate.GONE, Outcome.PREEMPTED), (NodeFate.UNREADABLE, None)], ids=["gone", "unreadable"]
)
def test_a_lost_or_deleted_pod_was_preempted_if_its_node_is_gone_too(
    name: str, fate: NodeFate, outcome: Outcome | None
) -> None:
    seen = captured.history(name)[-1]
    verdict = judge(seen, node=NodeSeen(seen.pod.node, fate))
    assert verdict.outcome is (outcome or ROWS[name].outcome)


def test_a_container_unknown_to_its_new_machine_is_lost_from_the_first_terminal_state_on() -> None:
    states = [seen for seen in captured.history("replaced-a") if seen.judged]
    assert {seen.pod.ended is None for seen in states} == {True, False}
    for seen in states:
        assert judge(seen).rule == "Vanished"
        assert judge(seen, node=NodeSeen(seen.pod.node, NodeFate.GONE)).outcome is Outcome.PREEMPTED


def test_a_pod_deleted_on_a_node_that_is_going_down_was_preempted() -> None:
    during_shutdown = captured.node_at("node-3", captured.history("gns-a")[-1].at)
    assert during_shutdown.raw is not None
    deleted = captured.history("delete-a")[-1]
    node = dataclasses.replace(during_shutdown, name=deleted.pod.node)
    verdict = judge(deleted, node=node)
    assert (verdict.outcome, verdict.rule) == (Outcome.PREEMPTED, "PodDeleted")


def test_a_pod_that_nobody_saw_is_lost_and_its_node_is_asked() -> None:
    asked = classify(End(attempt=3, pod=None, gone=True, node_name="node-2"))
    assert asked == NodeNeeded("node-2")
    lost = classify(End(attempt=3, pod=None, gone=True, node=NodeSeen("node-2", NodeFate.UNREADABLE)))
    assert isinstance(lost, Verdict)
    assert (lost.outcome, lost.rule, lost.exit_code) == (Outcome.UNKNOWN, "Vanished", None)


def test_an_exit_code_seen_before_the_terminal_phase_of_a_vanished_pod_is_no_verdict() -> None:
    """Snapshots with 137 before any condition stands exist (gns-b): such a pod, then gone, was not a failure."""
    half_way = [seen for seen in captured.history("gns-b") if seen.pod.ended and not seen.pod.terminal]
    assert half_way, "the capture holds such a snapshot"
    assert judge(dataclasses.replace(half_way[0], type="DELETED")).outcome is not Outcome.FAILED


@pytest.mark.parametrize("code", [1, 2, 66, 139, 255])
def test_any_other_exit_code_is_a_failure(code: int) -> None:
    assert _exit(code).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, Outcome.COMPLETED),
        (75, Outcome.RECOVERABLE),
        (74, Outcome.STORAGE_UNAVAILABLE),
        (65, Outcome.CHECKPOINT_CORRUPT),
    ],
)
def test_the_contract_s_exit_codes_mean_what_it_says(code: int, outcome: Outcome) -> None:
    assert _exit(code).outcome is outcome


def test_the_user_s_exit_codes_are_recoverable_even_where_the_contract_has_a_meaning() -> None:
    assert _exit(42, recoverable=42).outcome is Outcome.RECOVERABLE
    assert _exit(65, recoverable=65).outcome is Outcome.RECOVERABLE


def test_the_sdk_s_message_stands_in_the_evidence() -> None:
    said = "can't read s3://b/p: 403 AccessDenied. check the credentials"
    document = Document(attempt=3, reason=DocumentReason.STORAGE_ERROR, message=said, committed=Position(4, 40))
    assert said in _exit(74, document=document).evidence


def _exit(code: int, *, recoverable: int | None = None, document: Document | None = None) -> Verdict:
    """The captured plain exit 1, with another code."""
    seen = captured.history("exit1-a")[-1]
    if document is not None:
        seen = with_document(seen, document)
    raw = captured.with_document(seen.pod, document or Document(attempt=3)).raw
    raw["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] = code
    codes = frozenset() if recoverable is None else frozenset({recoverable})
    pod = dataclasses.replace(seen.pod, raw=raw)
    return judge(dataclasses.replace(seen, pod=pod), recoverable_exit_codes=codes)
