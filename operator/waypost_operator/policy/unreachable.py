"""When a pod may be left behind that may still run: the one exception to 'one pod at a time'.

A machine that is cut off keeps its pod for ever: the API server marks it for deletion, and nobody is there to confirm
its end. Waiting for that would cost a task its night, so it goes on beside such a pod, but only if

* somebody has asked for its deletion, and its grace is over;
* its node's Ready has been Unknown for `replaceUnreachableAfterSeconds`: nothing was heard of the kubelet;
* both were seen by a live GET just now (of a slow API server: see `model.pace`). What was seen earlier may have
  changed, so it is asked for again each time.

The pod itself is never removed by force: as long as its object is there, people can see that something may still run.
Whatever runs there can't commit any more once the next attempt has begun to restore (it is fenced off).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from waypost_operator.model.node import NodeSeen
from waypost_operator.model.pace import Asked, Pace, may_be_as_old
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import condition, items, moment, seconds

KILLED_WITHIN = seconds(5)
"""What a kubelet takes after the grace to kill a pod and say so."""
FRESH = seconds(10)
"""How old a live GET may be to go on beside a pod because of it, unless the API server needs longer to answer."""


def overdue(pod: Pod, now: datetime) -> bool:
    """The pod should have ended: its deletion was asked for, and its grace is over."""
    return pod.deletion is not None and now >= pod.deletion + KILLED_WITHIN and not pod.terminal and bool(pod.node)


def unknown_since(node: NodeSeen | None) -> datetime | None:
    """Since when nothing has been heard of the node; None when its kubelet reports, or when nobody knows."""
    if node is None or node.raw is None:
        return None
    ready = condition(items(node.raw, "status", "conditions"), "Ready")
    return moment(ready.get("lastTransitionTime")) if ready and ready.get("status") == "Unknown" else None


def due(node: NodeSeen | None, after: int) -> datetime | None:
    """When the pods of the node may be left behind if it stays as it is."""
    since = unknown_since(node)
    return since + seconds(after) if since else None


def fresh(when: datetime | None, now: datetime, paces: Mapping[Asked, Pace]) -> bool:
    """Whether a look at a pod or its node is young enough to act on; the two are asked for one after the other."""
    return when is not None and now - when <= may_be_as_old(FRESH, paces, Asked.POD, Asked.NODE)


def may_be_left(pod: Pod, node: NodeSeen | None, now: datetime, after: int, paces: Mapping[Asked, Pace]) -> bool:
    """See the module; `after`: spec.replaceUnreachableAfterSeconds."""
    when = due(node, after)
    if node is None or when is None or now < when or node.name != pod.node:
        return False
    return overdue(pod, now) and fresh(node.at, now, paces) and fresh(pod.looked_at, now, paces)
