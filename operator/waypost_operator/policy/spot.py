"""Whether a node is a spot machine, by the labels that clouds and autoscalers put on it.

The labels are those of the vendors' documentation; docs/task.md lists them. A node without any of them says nothing:
AKS labels only its spot nodes, a cluster of one's own none.
"""

from __future__ import annotations

from waypost_operator.model.node import NodeSeen
from waypost_operator.model.raw import mapping

SPOT_VALUES: dict[str, frozenset[str]] = {
    "karpenter.sh/capacity-type": frozenset({"spot"}),
    "eks.amazonaws.com/capacityType": frozenset({"SPOT"}),
    "cloud.google.com/gke-spot": frozenset({"true"}),
    "cloud.google.com/gke-preemptible": frozenset({"true"}),
    "cloud.google.com/gke-provisioning": frozenset({"spot", "preemptible"}),
    "kubernetes.azure.com/scalesetpriority": frozenset({"spot"}),
}
"""By label: the values that say so; any other value says that it is none."""


def is_spot(node: NodeSeen | None) -> bool | None:
    """True or False by the node's labels; None when nothing is known."""
    if node is None or node.raw is None:
        return None
    labels = mapping(node.raw, "metadata", "labels")
    told = [labels[label] in values for label, values in SPOT_VALUES.items() if label in labels]
    return any(told) if told else None
