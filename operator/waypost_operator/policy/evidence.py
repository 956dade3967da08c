"""What the cluster shows about the end of a pod: was there an order to stop, and is its node all right?

Facts behind it (seen on Kubernetes 1.37 with real kubelets): an eviction, a drain, a scheduler preemption and a
NoExecute taint put the DisruptionTarget condition on the pod before SIGTERM; the kubelet's own terminations put it
there with the terminal phase; a plain delete leaves nothing but `deletionTimestamp`; a power-off or a force delete
leaves nothing at all. The deletionTimestamp says when the grace *ends*, and the kubelet moves it when it finishes
the pod, so the moment of the order is only known to within the grace.

What earlier states of the pod showed counts as well (`model.earlier`), but not for ever: a condition that was wiped
long before the program ended did not end it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from waypost_operator.model.node import NodeFate, NodeSeen
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import condition, items, mapping, moment, seconds

CLOCK_MARGIN = seconds(30)
"""Container times come from the node's clock, all others from the API server's."""

STALE_AFTER = seconds(120)
"""Kubernetes itself takes a DisruptionTarget back when nothing has followed it for so long."""

BY_KUBELET = "TerminationByKubelet"
KUBELET_STOP_REASONS = frozenset({"Terminated", "NodeShutdown", "Shutdown", "Preempting", "NodeLost"})
"""`status.reason` of pods that a kubelet (or, long ago, the node controller) stopped for the node's sake."""

DISRUPTION_TAINTS = frozenset(
    {
        # Kubernetes' own: node controller, administrators, cloud controllers
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
        "node.kubernetes.io/out-of-service",
        "node.cloudprovider.kubernetes.io/shutdown",
        "ToBeDeletedByClusterAutoscaler",
        # Karpenter from v1 on, and before
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",
        # GKE
        "cloud.google.com/impending-node-termination",
        # AKS: node auto-drain and auto-repair, under its present and its former name
        "remediator.kubernetes.azure.com/unschedulable",
        "remediator.aks.microsoft.com/unschedulable",
    }
)
"""Taints of a node on its way out. Not among them: what marks every spot node all its life
(`kubernetes.azure.com/scalesetpriority`, `cloud.google.com/gke-spot`), a mere candidate
(`DeletionCandidateOfClusterAutoscaler`), and `node.kubernetes.io/unschedulable`: a cordon takes nothing away."""
DISRUPTION_TAINT_PREFIXES = ("aws-node-termination-handler/", "aks-node-termination-handler/")
"""Of handlers that append the kind of the event."""


def disruption(pod: Pod) -> str | None:
    """Why the pod was disrupted, if a DisruptionTarget condition, or a kubelet's stop reason, says that it was.

    A condition set well after the program had ended by itself (a taint also removes finished pods) is no evidence.
    """
    target = pod.disruption
    if target is not None and speaks_of_the_end(pod, target):
        return str(target.get("reason") or "DisruptionTarget")
    if pod.reason in KUBELET_STOP_REASONS:
        return pod.reason
    return None


def speaks_of_the_end(pod: Pod, found: Mapping[str, Any]) -> bool:
    """Whether a condition of the pod was there when its program ended; what came well after that says nothing of it,
    nor does what was wiped well before.
    """
    since = moment(found.get("lastTransitionTime"))
    if found in pod.earlier.conditions and _long_before_the_end(pod, since):
        return False
    return found.get("reason") == BY_KUBELET or not _after_the_end(pod, since)


def deleted(pod: Pod) -> bool:
    """Whether somebody asked for the pod's deletion while its program may still have run."""
    if pod.deletion_seen is None:
        return False
    return not _after_the_end(pod, pod.deletion_seen - seconds(pod.grace_seconds))


def stopped(pod: Pod) -> bool:
    """Whether anything on the pod tells of an order to end it."""
    return disruption(pod) is not None or pod.deletion_seen is not None


def _after_the_end(pod: Pod, order: datetime | None) -> bool:
    finished = pod.ended.finished if pod.ended else None
    return order is not None and finished is not None and order - CLOCK_MARGIN > finished


def _long_before_the_end(pod: Pod, order: datetime | None) -> bool:
    ended = (pod.ended.finished if pod.ended else None) or pod.seen_at
    return order is None or order + seconds(pod.grace_seconds) + STALE_AFTER + CLOCK_MARGIN < ended


def node_trouble(node: NodeSeen | None, pod: Pod | None) -> str | None:
    """What is wrong with the node, as far as it explains that a pod on it ended; None when nothing is known."""
    if node is None or node.fate is NodeFate.UNREADABLE:
        return None
    if node.fate is NodeFate.GONE or node.raw is None:
        return f"node {node.name} is gone"
    if pod is not None and _younger(node.raw, pod.raw):
        return f"node {node.name} was replaced"
    ready = condition(items(node.raw, "status", "conditions"), "Ready")
    if ready is None or ready.get("status") != "True":
        return f"node {node.name} is not ready"
    for taint in items(node.raw, "spec", "taints"):
        key = str(taint.get("key", ""))
        if key in DISRUPTION_TAINTS or key.startswith(DISRUPTION_TAINT_PREFIXES):
            return f"node {node.name} is tainted {key}"
    return None


def _younger(node: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """The node object is younger than the pod: another machine under the same name (AKS and others do that)."""
    born, bound = (moment(mapping(raw, "metadata").get("creationTimestamp")) for raw in (node, pod))
    return born is not None and bound is not None and born > bound
