"""A pod that should have ended and has not: is its node still there? Asked live, again and again, while it is awaited.

See `policy.unreachable` for when such a pod may be left behind.
"""

from __future__ import annotations

from waypost.contract import ConditionReason, EventReason
from waypost_operator.model.decision import Decision, LookAtNode, LookAtPod, TaskEvent
from waypost_operator.model.node import NodeFate
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import timestamp
from waypost_operator.policy import unreachable
from waypost_operator.steps.situation import OVERDUE, Situation


def look(s: Situation, pod: Pod) -> Decision | None:
    """A live look at the node of an overdue pod, and at the pod itself before it may be left behind."""
    if not unreachable.overdue(pod, s.now):
        return None
    if pod.looked_at is None or (pod.deletion is not None and pod.looked_at < pod.deletion):
        return Decision(LookAtPod(pod.name, pod.uid), f"has pod {pod.name} ended meanwhile?")
    node = s.observed.nodes.get(pod.uid)
    at_node = Decision(LookAtNode(pod.node, pod.uid), f"pod {pod.name} doesn't end: is node {pod.node} still there?")
    if node is None or node.name != pod.node or s.now >= node.at + OVERDUE:
        return at_node
    when = unreachable.due(node, s.spec.replace_unreachable_after_seconds)
    if when is None or s.now < when:
        return None
    if not unreachable.fresh(pod.looked_at, s.now, s.observed.paces):
        return Decision(LookAtPod(pod.name, pod.uid), f"before pod {pod.name} is left behind: is it still there?")
    return None if unreachable.fresh(node.at, s.now, s.observed.paces) else at_node


def look_in(s: Situation, pod: Pod) -> float | None:
    """Seconds until this pod has to be looked at, or its node, although nothing was heard; None: not at all."""
    wait = s.look_again_in(pod)
    if wait is None or pod.deletion is None or not pod.node:
        return wait
    node, moments = s.observed.nodes.get(pod.uid), [pod.deletion + unreachable.KILLED_WITHIN]
    if unreachable.overdue(pod, s.now) and node is not None:
        when = unreachable.due(node, s.spec.replace_unreachable_after_seconds)
        moments = [node.at + OVERDUE, *([when] if when is not None and when > s.now else [])]
    return min(wait, max((min(moments) - s.now).total_seconds(), 0.0) + 0.1)


def tell(s: Situation, pod: Pod) -> Decision | None:
    """Say once why a pod that should have ended is still waited for, and until when."""
    found = reason(s, pod)
    if found is None:
        return None
    return s.waiting(*found, TaskEvent("Warning", EventReason.NODE_UNREACHABLE, found[1][:1000]))


def reason(s: Situation, pod: Pod) -> tuple[ConditionReason, str] | None:
    """Why an overdue pod doesn't end, as far as its node tells."""
    node = s.observed.nodes.get(pod.uid)
    if node is None or not unreachable.overdue(pod, s.now):
        return None
    stuck = f"pod {pod.name} should have ended"
    if node.fate is NodeFate.UNREADABLE:
        return ConditionReason.NODE_UNREADABLE, (
            f"{stuck}, and node {pod.node} can't be read: the operator has no right to (Helm value rbac.nodes), so it "
            "never goes on beside a pod of an unreachable node; waiting for the pod's end"
        )
    if node.fate is NodeFate.GONE:
        return ConditionReason.NODE_UNREACHABLE, (
            f"{stuck}, and node {pod.node} is gone: Kubernetes removes its pods within a few minutes"
        )
    since, when = unreachable.unknown_since(node), unreachable.due(node, s.spec.replace_unreachable_after_seconds)
    if since is None or when is None:
        return None
    return ConditionReason.NODE_UNREACHABLE, (
        f"{stuck}, but nothing has been heard of node {pod.node} since {timestamp(since)}; if it stays so, the task "
        f"goes on without it at {timestamp(when)} (replaceUnreachableAfterSeconds)"
    )
