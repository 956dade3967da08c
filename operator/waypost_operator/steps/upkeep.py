"""Pods that must not be there, pods that need not be there, and what is said when a task is gone."""

from __future__ import annotations

from waypost import contract
from waypost.contract import EventReason
from waypost_operator.model.decision import Decision, DeletePod, Forget, TaskEvent, Wait
from waypost_operator.model.observed import Observed
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import mapping
from waypost_operator.model.status import MAX_ATTEMPT
from waypost_operator.steps.situation import Situation

KEPT_TERMINAL_PODS = 3
"""Ended pods left in place, newest first, so that `kubectl logs` still shows what happened."""


def strays(s: Situation) -> Decision | None:
    """Delete at sight every pod of ours that may still run and isn't the current attempt's."""
    for pod in s.alive:
        if not _stray(s, pod):
            continue
        if pod.uid in s.observed.missing:
            return s.look_again(pod)
        if pod.deletion is None:
            return Decision(DeletePod(pod.name, pod.uid), f"pod {pod.name} is none of the current attempt")
    return None


def _stray(s: Situation, pod: Pod) -> bool:
    number, status = s.number(pod), s.status
    if number > status.attempt:
        return status.finished or number > MAX_ATTEMPT
    if status.pod_uid is None:
        return number < status.attempt or s.attempt.finished is not None or status.finished
    return pod.uid != status.pod_uid or s.attempt.finished is not None


def old_pods(s: Situation) -> Decision | None:
    """Delete ended pods beyond the newest few."""
    ended = sorted((pod for pod in s.owned if pod.terminal), key=s.number, reverse=True)
    for pod in ended[KEPT_TERMINAL_PODS:]:
        if pod.deletion is None and pod.uid not in s.observed.missing and pod.uid != s.status.pod_uid:
            return Decision(DeletePod(pod.name, pod.uid), f"pod {pod.name} ended long ago")
    return None


def spec_seen(s: Situation) -> Decision | None:
    """Say in status that a changed spec was noticed; it applies at the next attempt."""
    if s.status.observed_generation in (None, s.observed.generation):
        return None
    return s.write(s.status, "the spec changed; it applies at the next attempt")


def nothing(s: Situation) -> Decision:
    return Decision(Wait(), "the task is over" if s.status.finished else "nothing to do")


def gone(observed: Observed) -> Decision:
    """The task is gone and its pods are the garbage collector's; say where its checkpoints still are."""
    status = mapping(observed.task, "status")
    if not status.get("attempt"):
        return Decision(Forget(), "the task is gone, it never started")
    uri = mapping(status, "checkpoint").get("uri")
    if not uri:
        return Decision(Forget(), "the task is gone")
    if mapping(status, "cleanup"):
        return Decision(Forget(), f"the task is gone, and what became of {uri} was said before")
    message = f"the checkpoints of task {observed.name} are kept; to go on from them in a new task:\nfrom: {uri}"
    event = TaskEvent("Normal", EventReason.CHECKPOINTS_RETAINED, message)
    return Decision(Forget((event,)), f"the task is gone, its checkpoints stay in {uri}")


def forgettable(observed: Observed) -> frozenset[str]:
    """UIDs of pods whose last state nobody will ask for again.

    Kept: the current attempt's pod; a pod of its name as long as no UID is recorded; a clean-up pod until its end is
    booked; and pods of ours of which we only heard that they are gone, for that has to be looked at if they might still
    run.
    """
    status = mapping(observed.task, "status")
    recorded, attempt = status.get("podUID"), int(status.get("attempt") or 0)
    kept_name = None if recorded else contract.pod_name(observed.name, attempt)
    booked = mapping(status, "cleanup").get("failedPodUID")

    def useless(pod: Pod) -> bool:
        if pod.uid == recorded or pod.name == kept_name:
            return False
        if pod.name == contract.cleanup_pod_name(observed.name) and pod.owned_by(observed.uid):
            return observed.is_gone(pod) and pod.uid == booked
        heard_only = pod.uid in observed.missing and (pod.terminal or not pod.owned_by(observed.uid))
        return observed.is_gone(pod) or heard_only

    return frozenset(pod.uid for pod in observed.pods if useless(pod))
