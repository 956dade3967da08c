"""What a pod that hasn't started waits for, in the words of the scheduler or the kubelet."""

from __future__ import annotations

from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import condition, items, mapping

ONE_KIND = {"ImagePullBackOff": "ErrImagePull"}
"""The kubelet alternates between these two for as long as an image is missing."""
NORMAL = frozenset({"", "ContainerCreating", "PodInitializing"})


def waits_for(pod: Pod) -> tuple[str, str]:
    """The reason that a scheduler or kubelet gives, and its message; ('', '') when there is none."""
    for field in ("initContainerStatuses", "containerStatuses"):
        for status in items(pod.raw, "status", field):
            waiting = mapping(status, "state", "waiting")
            reason = str(waiting.get("reason") or "")
            if reason not in NORMAL:
                text = f"container {status.get('name')}: {waiting.get('message') or 'no message'}"
                return ONE_KIND.get(reason, reason), text
    scheduled = condition(items(pod.raw, "status", "conditions"), "PodScheduled") or {}
    if scheduled.get("status") == "False":
        return str(scheduled.get("reason") or "Unschedulable"), str(scheduled.get("message") or "no message")
    return "", ""
