"""Following the current attempt's pod while it has not ended: where it runs, since when, or why it can't start."""

from __future__ import annotations

from waypost.contract import ConditionReason, ConditionType, EventReason
from waypost_operator.model.decision import Decision, LookAtNode, TaskEvent, Wait
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import timestamp
from waypost_operator.policy.spot import is_spot
from waypost_operator.policy.waiting import NORMAL, waits_for
from waypost_operator.steps import unreachable
from waypost_operator.steps.situation import Situation


def progress(s: Situation) -> Decision | None:
    """Write down what became of the pod since it was created, then wait for its end."""
    if not s.status.pod_uid or s.attempt.finished:
        return None
    pod = s.pod
    if pod is None:
        return None
    return (
        _host(s, pod)
        or _running(s, pod)
        or _cant_start(s, pod)
        or Decision(Wait(), f"attempt {s.status.attempt} is under way", unreachable.look_in(s, pod))
    )


def _host(s: Situation, pod: Pod) -> Decision | None:
    """Ask once what the pod was bound to: when its end is judged, that machine may be gone."""
    if not pod.node or s.attempt.node or pod.uid in s.observed.hosts:
        return None
    return Decision(LookAtNode(pod.node, pod.uid, at_bind=True), f"what kind of node is {pod.node}?")


def _running(s: Situation, pod: Pod) -> Decision | None:
    if pod.started is None or s.attempt.started:
        return None
    started = timestamp(pod.started)
    spot = is_spot(s.observed.hosts.get(pod.uid))
    entry = s.attempt.model_copy(update={"started": started, "node": pod.node, "spot": spot})
    message = f"attempt {s.status.attempt} runs on {pod.node} since {started}"
    others = [old for old in s.status.attempts if old.attempt != entry.attempt]
    status = s.status.model_copy(update={"attempts": [*others, entry]})
    return s.write(s.with_condition(status, ConditionType.PROGRESSING, True, ConditionReason.RUNNING, message), message)


def _cant_start(s: Situation, pod: Pod) -> Decision | None:
    """A pod that waits for a node, an image or a secret: say so once for each kind of reason."""
    if s.attempt.started or pod.deletion:
        return None
    kind, message = waits_for(pod)
    present = s.status.condition(ConditionType.PROGRESSING)
    waiting = present is not None and present.reason == ConditionReason.POD_WAITING
    if kind in NORMAL:
        return _got_ready(s, pod) if waiting else None
    if waiting and present is not None and kind in present.message:
        return None
    said = f"pod {pod.name} can't start yet: {kind}: {message}"
    status = s.with_condition(s.status, ConditionType.PROGRESSING, False, ConditionReason.POD_WAITING, said)
    return s.write(status, said, TaskEvent("Warning", EventReason.POD_WAITING, said[:1000]))


def _got_ready(s: Situation, pod: Pod) -> Decision:
    said = f"pod {pod.name} starts on {pod.node}" if pod.node else f"pod {pod.name} waits for its start"
    return s.write(s.with_condition(s.status, ConditionType.PROGRESSING, True, ConditionReason.STARTING, said), said)
