"""Which taint, and which state, of a node says that what ended a pod on it was the node's fate, and which doesn't.

The pods and the healthy node are captured ones; the taints are those that the vendors' pages, or their source, name. A
plain delete leaves no other trace, so the taint alone makes it a preemption; a lost container is judged by it too.
"""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.operator import captured
from tests.unit.operator.test_how_ends_are_judged import judge
from waypost.contract import Outcome
from waypost_operator.model.node import NodeSeen
from waypost_operator.model.raw import Json
from waypost_operator.policy import evidence

ON_ITS_WAY_OUT = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/out-of-service",
    "node.cloudprovider.kubernetes.io/shutdown",
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "cloud.google.com/impending-node-termination",
    "remediator.kubernetes.azure.com/unschedulable",
    "remediator.aks.microsoft.com/unschedulable",
    "aws-node-termination-handler/spot-itn",
    "aws-node-termination-handler/scheduled-maintenance",
    "aws-node-termination-handler/asg-lifecycle-termination",
    "aws-node-termination-handler/rebalance-recommendation",
    "aks-node-termination-handler/preempt",
]
STAYS = [
    "kubernetes.azure.com/scalesetpriority",
    "cloud.google.com/gke-spot",
    "DeletionCandidateOfClusterAutoscaler",
    "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/memory-pressure",
    "remediator.kubernetes.azure.com/other",
    "example.com/karpenter.sh/disrupted",
    "nvidia.com/gpu",
]


def node_with(taint: str | None = None, *, ready: str | None = None) -> NodeSeen:
    """The captured healthy node on which `delete-b` ran, so changed."""
    deleted = captured.history("delete-b")[-1]
    healthy = captured.node_at(deleted.pod.node, deleted.at)
    assert healthy.raw is not None
    raw: Json = dict(healthy.raw)
    if taint is not None:
        raw["spec"] = {**raw["spec"], "taints": [{"key": taint, "effect": "NoSchedule"}]}
    if ready is not None:
        others = [one for one in raw["status"]["conditions"] if one["type"] != "Ready"]
        raw["status"] = {**raw["status"], "conditions": [*others, {"type": "Ready", "status": ready}]}
    return dataclasses.replace(healthy, raw=raw)


@pytest.mark.parametrize("taint", ON_ITS_WAY_OUT)
@pytest.mark.parametrize("name", ["delete-a", "delete-b", "delete-c", "hardreboot-a"])
def test_a_pod_deleted_or_lost_on_a_node_on_its_way_out_was_preempted(name: str, taint: str) -> None:
    verdict = judge(captured.history(name)[-1], node=node_with(taint))
    assert verdict.outcome is Outcome.PREEMPTED
    assert verdict.rule == ("Vanished" if name == "hardreboot-a" else "PodDeleted")
    assert taint in verdict.evidence


@pytest.mark.parametrize("taint", [*STAYS, None])
def test_a_pod_deleted_on_a_node_that_stays_was_deleted(taint: str | None) -> None:
    assert judge(captured.history("delete-b")[-1], node=node_with(taint)).outcome is Outcome.DELETED


@pytest.mark.parametrize("taint", ON_ITS_WAY_OUT)
def test_the_program_s_own_end_stays_its_own_whatever_becomes_of_the_node_later(taint: str) -> None:
    assert judge(captured.history("exit1-a")[-1], node=node_with(taint)).outcome is Outcome.FAILED
    assert judge(captured.history("exit0-a")[-1], node=node_with(taint)).outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    ("ready", "outcome"),
    [("True", Outcome.DELETED), ("False", Outcome.PREEMPTED), ("Unknown", Outcome.PREEMPTED)],
)
def test_a_pod_deleted_on_a_node_that_is_not_ready_was_preempted(ready: str, outcome: Outcome) -> None:
    assert judge(captured.history("delete-b")[-1], node=node_with(ready=ready)).outcome is outcome


def test_every_taint_that_the_operator_knows_is_tried_here() -> None:
    assert set(ON_ITS_WAY_OUT) >= evidence.DISRUPTION_TAINTS
    for prefix in evidence.DISRUPTION_TAINT_PREFIXES:
        assert any(taint.startswith(prefix) for taint in ON_ITS_WAY_OUT)
