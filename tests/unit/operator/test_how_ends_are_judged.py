"""Every captured end gets the verdict that docs/task.md promises, at its first and at its last terminal state."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.operator import captured
from waypost.contract import Document, DocumentReason, Outcome, Position
from waypost_operator.model.node import NodeFate, NodeSeen
from waypost_operator.policy.classify import End, NodeNeeded, Verdict, classify

VERDICTS: dict[str, tuple[Outcome, str]] = {
    # rejected at the node's door: the program never ran
    "admitcpu-a": (Outcome.REJECTED, "RejectedByNode"),
    "admitmem-a": (Outcome.REJECTED, "RejectedByNode"),
    "admitpressure-a": (Outcome.REJECTED, "RejectedByNode"),
    "admitsel-a": (Outcome.REJECTED, "RejectedByNode"),
    "gnsadmit-a": (Outcome.PREEMPTED, "RejectedByNodeShutdown"),
    # the pod's own deadline is no free preemption
    "deadline-a": (Outcome.RECOVERABLE, "PodDeadline"),
    "deadline-b": (Outcome.RECOVERABLE, "PodDeadline"),
    "deadline-c": (Outcome.RECOVERABLE, "PodDeadline"),
    # deleted by hand, on a healthy node
    "delete-a": (Outcome.DELETED, "PodDeleted"),
    "delete-b": (Outcome.DELETED, "PodDeleted"),
    "delete-c": (Outcome.DELETED, "PodDeleted"),
    "forcefinalizer-a": (Outcome.DELETED, "PodDeleted"),
    "forcefinalizer-b": (Outcome.DELETED, "PodDeleted"),
    "force-a": (Outcome.UNKNOWN, "Vanished"),
    "force-b": (Outcome.UNKNOWN, "Vanished"),
    "force-c": (Outcome.UNKNOWN, "Vanished"),
    # disruptions
    "evict-a": (Outcome.PREEMPTED, "Disruption"),
    "evict-b": (Outcome.PREEMPTED, "Disruption"),
    "evict-c": (Outcome.PREEMPTED, "Disruption"),
    "jobevict-a": (Outcome.PREEMPTED, "Disruption"),
    "jobevict-b": (Outcome.PREEMPTED, "Disruption"),
    "gns-a": (Outcome.PREEMPTED, "Disruption"),
    "gns-b": (Outcome.PREEMPTED, "Disruption"),
    "gns-c": (Outcome.PREEMPTED, "Disruption"),
    "gns60-a": (Outcome.PREEMPTED, "Disruption"),
    "gns60-b": (Outcome.PREEMPTED, "Disruption"),
    "mempressure-a": (Outcome.PREEMPTED, "Disruption"),
    "mempressure-b": (Outcome.PREEMPTED, "Disruption"),
    "mempressure-c": (Outcome.PREEMPTED, "Disruption"),
    "nodedel-a": (Outcome.PREEMPTED, "Disruption"),
    "nodedel-b": (Outcome.PREEMPTED, "Disruption"),
    "nodedelalive-a": (Outcome.PREEMPTED, "Disruption"),
    "nodedelalive-b": (Outcome.PREEMPTED, "Disruption"),
    "nodedelalive-c": (Outcome.PREEMPTED, "Disruption"),
    "preempt-a": (Outcome.PREEMPTED, "Disruption"),
    "preempt-b": (Outcome.PREEMPTED, "Disruption"),
    "preempt-c": (Outcome.PREEMPTED, "Disruption"),
    "taint-a": (Outcome.PREEMPTED, "Disruption"),
    "taint-b": (Outcome.PREEMPTED, "Disruption"),
    "taint-c": (Outcome.PREEMPTED, "Disruption"),
    "zombieback-a": (Outcome.PREEMPTED, "Disruption"),
    "zombieback-b": (Outcome.PREEMPTED, "Disruption"),
    "zombieback-c": (Outcome.PREEMPTED, "Disruption"),
    "zombieheal-a": (Outcome.PREEMPTED, "Disruption"),
    "zombieheal-b": (Outcome.PREEMPTED, "Disruption"),
    "zombieheal-c": (Outcome.PREEMPTED, "Disruption"),
    # a machine that lost power and came back
    "hardreboot-a": (Outcome.UNKNOWN, "Vanished"),
    "hardreboot-b": (Outcome.UNKNOWN, "Vanished"),
    # an empty machine that came up under the name of one that was lost
    "replaced-a": (Outcome.UNKNOWN, "Vanished"),
    # the program's own ends; a pod collected long after its end is one of them
    "exit0-a": (Outcome.COMPLETED, "ExitCode"),
    "nodedel-done": (Outcome.COMPLETED, "ExitCode"),
    "exit1-a": (Outcome.FAILED, "ExitCode"),
    "exit137-a": (Outcome.FAILED, "ExitCode"),
    "exit75-a": (Outcome.RECOVERABLE, "ExitCode"),
    "oom-a": (Outcome.FAILED, "ExitCode"),
    "oomchild-a": (Outcome.FAILED, "ExitCode"),
    # a limit of its own; `a` exits 0 and leaves no trace: one of the two gaps that docs/task.md names
    "sizelimit-a": (Outcome.COMPLETED, "ExitCode"),
    "sizelimit-b": (Outcome.FAILED, "Evicted"),
    "sizelimit-c": (Outcome.FAILED, "Evicted"),
}
NEVER_END = {"kubeletrestart-a", "preemptor-a"}

ENDED = sorted(VERDICTS)
EXITED = [name for name in ENDED if captured.history(name)[-1].pod.ended is not None]
NOT_TOLD = ("exit", "oom", "hard", "replaced")
TOLD_TO_STOP = [name for name in EXITED if name.endswith("-a") and not name.startswith(NOT_TOLD)]


def judge(
    seen: captured.Seen, *, node: NodeSeen | None = None, recoverable_exit_codes: frozenset[int] = frozenset()
) -> Verdict:
    """The verdict, with the node as it was at that moment if the verdict needs it."""
    gone = seen.type == "DELETED"
    end = End(attempt=3, pod=seen.pod, gone=gone, node=node, recoverable_exit_codes=recoverable_exit_codes)
    verdict = classify(end)
    if isinstance(verdict, NodeNeeded):
        verdict = classify(dataclasses.replace(end, node=captured.node_at(verdict.name, seen.at)))
    assert isinstance(verdict, Verdict), f"the node was given and asked for again: {verdict}"
    return verdict


def with_document(seen: captured.Seen, document: Document) -> captured.Seen:
    return dataclasses.replace(seen, pod=captured.with_document(seen.pod, document))


def test_the_table_names_every_captured_pod() -> None:
    assert set(VERDICTS) | NEVER_END == set(captured.NAMES)


@pytest.mark.parametrize("name", ENDED)
def test_a_captured_end_is_judged_as_the_docs_say(name: str) -> None:
    verdict = judge(captured.history(name)[-1])
    assert (verdict.outcome, verdict.rule) == VERDICTS[name], verdict.evidence
    assert verdict.evidence


@pytest.mark.parametrize("name", ENDED)
def test_the_first_terminal_state_is_judged_like_the_last(name: str) -> None:
    first = next(seen for seen in captured.history(name) if seen.judged)
    assert judge(first).outcome == VERDICTS[name][0]


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
    assert judge(seen).outcome is VERDICTS[name][0]


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
    assert judge(seen, recoverable_exit_codes=frozenset({143})).outcome is VERDICTS[name][0]


@pytest.mark.parametrize("name", ["force-a", "delete-a", "hardreboot-a"])
@pytest.mark.parametrize(
    ("fate", "outcome"), [(NodeFate.GONE, Outcome.PREEMPTED), (NodeFate.UNREADABLE, None)], ids=["gone", "unreadable"]
)
def test_a_lost_or_deleted_pod_was_preempted_if_its_node_is_gone_too(
    name: str, fate: NodeFate, outcome: Outcome | None
) -> None:
    seen = captured.history(name)[-1]
    verdict = judge(seen, node=NodeSeen(seen.pod.node, fate))
    assert verdict.outcome is (outcome or VERDICTS[name][0])


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


@pytest.mark.parametrize(
    "taint", ["karpenter.sh/disrupted", "ToBeDeletedByClusterAutoscaler", "aws-node-termination-handler/spot-itn"]
)
def test_a_pod_deleted_on_a_node_with_a_disruption_taint_was_preempted(taint: str) -> None:
    deleted = captured.history("delete-b")[-1]
    healthy = captured.node_at(deleted.pod.node, deleted.at)
    assert healthy.raw is not None
    assert judge(deleted, node=healthy).outcome is Outcome.DELETED
    spec = {**healthy.raw["spec"], "taints": [{"key": taint, "effect": "NoSchedule"}]}
    tainted = dataclasses.replace(healthy, raw={**healthy.raw, "spec": spec})
    assert judge(deleted, node=tainted).outcome is Outcome.PREEMPTED


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
