"""Booking the end of the current attempt, in one write: verdict, counts, progress, and what comes next.

When nothing has to be waited for, the same write opens the next attempt: from the terminal event to the next pod
there are one status write and one create.
"""

from __future__ import annotations

from datetime import datetime

from waypost.contract import ConditionReason, ConditionType, EventReason, Outcome
from waypost_operator.model.decision import Decision, LookAtNode, LookAtPod, TaskEvent, Wait
from waypost_operator.model.node import NodeSeen
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import seconds, timestamp
from waypost_operator.model.status import Attempt, TaskStatus
from waypost_operator.policy import backoff, budgets, completion, stall, wording
from waypost_operator.policy.classify import End, NodeNeeded, Verdict, classify
from waypost_operator.policy.spot import is_spot
from waypost_operator.policy.unreachable import fresh, unknown_since
from waypost_operator.steps import launch, suspend, unreachable
from waypost_operator.steps.situation import Situation

STRAGGLERS_MAY_TAKE = seconds(30)
"""A pod whose task container has ended gets this long to become terminal: other containers may never end (a plain
mesh proxy doesn't), but a snapshot between the two is no verdict either."""


def end(s: Situation) -> Decision | None:
    """Judge the current attempt, if it has ended."""
    if not s.status.pod_uid or s.attempt.finished:
        return None
    pod = s.pod
    if s.pod_over:
        return _book(s, pod)
    if pod is None:
        return Decision(LookAtPod(s.pod_name, s.status.pod_uid), f"pod {s.pod_name} isn't known: is it gone?")
    look = s.look_again(pod)
    if look:
        return look
    if pod.ended is None:
        return _left_behind(s, pod)
    patience_ends = min(pod.ended.finished or pod.seen_at, pod.seen_at) + STRAGGLERS_MAY_TAKE
    if s.now >= patience_ends:
        if pod.looked_at is None or pod.looked_at < patience_ends:  # a lagging watch may hide its terminal phase
            return Decision(LookAtPod(pod.name, pod.uid), f"has pod {pod.name} ended meanwhile?")
        return _book(s, pod)
    remaining = (patience_ends - s.now).total_seconds()
    return Decision(Wait(), f"container {pod.task_container} has ended, waiting for the pod's end", remaining)


def _left_behind(s: Situation, pod: Pod) -> Decision | None:
    """Go on without a pod that should have ended, if its node is unreachable; until then, ask and say so."""
    if pod in s.in_the_way:
        return unreachable.look(s, pod) or unreachable.tell(s, pod)
    since = unknown_since(s.observed.nodes.get(pod.uid))
    silent = f"nothing was heard of node {pod.node} since {timestamp(since)}" if since else ""
    return _book(s, pod, left_behind=f"{silent}; pod {pod.name} is still there and may still run")


def _book(s: Situation, pod: Pod | None, *, left_behind: str = "") -> Decision:
    gone = s.status.pod_uid in s.observed.gone
    verdict = classify(
        End(
            attempt=s.status.attempt,
            pod=pod,
            gone=gone,
            left_behind=left_behind,
            node=_node(s),
            node_name=s.attempt.node or "",
            recoverable_exit_codes=frozenset(s.spec.failure_policy.recoverable_exit_codes),
            stopping=s.attempt.stopping,
            rules=s.spec.failure_policy.rules,
        )
    )
    if isinstance(verdict, NodeNeeded):
        return Decision(LookAtNode(verdict.name, s.status.pod_uid or ""), f"how is node {verdict.name}?")
    policy = s.spec.failure_policy
    status = budgets.settle(
        s.status, verdict, _filled(s, pod), finished=_finished(s, pod), initial=policy.backoff.initial_seconds
    )
    status = _stall(s, _storage(s, status, verdict))
    entry = status.attempts[-1]
    ending = completion.ending(status, s.spec, s.now, fails_task=verdict.fails_task)
    if ending is not None:
        if ending.succeeded:
            status = status.model_copy(update={"result": completion.result(pod, verdict.document)})
        return s.over(status, ending)
    return _go_on(s, status, entry)


def _node(s: Situation) -> NodeSeen | None:
    """The node as a live look showed it just now; one from before the end is no evidence about it."""
    node = s.observed.nodes.get(s.status.pod_uid or "")
    return node if node is not None and fresh(node.at, s.now, s.observed.paces) else None


def _go_on(s: Situation, status: TaskStatus, entry: Attempt) -> Decision:
    """The task goes on: at once in this very write, or after a wait that the condition explains."""
    severity, reason = wording.EVENTS[entry.outcome or Outcome.UNKNOWN]
    also = _news_of_a_stall(s, status)
    if s.spec.suspend:
        said = f"{wording.ended(entry)}; {suspend.HINT}"
        return s.write(suspend.suspended(s, status, said), said, TaskEvent(severity, reason, said[:1000]))
    status = suspend.change_of_mind(s, status)
    policy, since = s.spec.failure_policy, status.since_progress
    start = backoff.next_start(entry, since, policy.backoff, s.observed.uid)
    if s.now < start:
        said = wording.followed_later(entry, since, policy, start)
        why = ConditionReason.STORAGE_UNAVAILABLE if entry.outcome is Outcome.STORAGE_UNAVAILABLE else None
        why = why or ConditionReason.BACKING_OFF
        status = s.with_condition(status, ConditionType.PROGRESSING, False, why, said)
    elif s.in_the_way:
        said = wording.followed_when_gone(entry, s.in_the_way[0].name)
        status = s.with_condition(status, ConditionType.PROGRESSING, False, ConditionReason.WAITING_FOR_OLD_POD, said)
    else:
        status = launch.begin(s, status, completion.next_number(entry), wording.followed_at_once(entry))
        opened = status.condition(ConditionType.PROGRESSING)
        said = opened.message if opened else ""
    return s.write(status, said, TaskEvent(severity, reason, said[:1000]), *also)


def _storage(s: Situation, status: TaskStatus, verdict: Verdict) -> TaskStatus:
    """StorageAvailable is False after an attempt that couldn't use its store, and True once one could again."""
    kind = ConditionType.STORAGE_AVAILABLE
    if verdict.outcome is Outcome.STORAGE_UNAVAILABLE:
        return s.with_condition(status, kind, False, ConditionReason.STORAGE_UNAVAILABLE, verdict.evidence)
    reached = verdict.document is not None and verdict.document.fence is not None
    if reached and status.condition(kind) is not None:
        message = f"attempt {status.attempt} reached the store"
        return s.with_condition(status, kind, True, ConditionReason.STORAGE_REACHED, message)
    return status


def _stall(s: Situation, status: TaskStatus) -> TaskStatus:
    """Stalled is True once several attempts in a row made no progress, and False when one did."""
    kind, why = ConditionType.STALLED, stall.stalled(status)
    if why is not None:
        return s.with_condition(status, kind, True, ConditionReason.NO_PROGRESS, why)
    present = status.condition(kind)
    if present is None or present.status == "False":
        return status
    return s.with_condition(
        status, kind, False, ConditionReason.PROGRESS_MADE, "an attempt has committed something new"
    )


def _news_of_a_stall(s: Situation, status: TaskStatus) -> list[TaskEvent]:
    before, after = (each.condition(ConditionType.STALLED) for each in (s.status, status))
    if after is None or after.status != "True" or (before is not None and before.status == "True"):
        return []
    return [TaskEvent("Warning", EventReason.STALLED, after.message[:1000])]


def _filled(s: Situation, pod: Pod | None) -> Attempt:
    """The attempt's record with what is known about where and when it ran."""
    attempt = s.attempt
    if pod is None:
        return attempt
    started = timestamp(pod.started) if pod.started else attempt.started
    spot = attempt.spot if attempt.spot is not None else is_spot(s.observed.hosts.get(pod.uid))
    return attempt.model_copy(
        update={"pod": pod.name, "node": pod.node or attempt.node, "spot": spot, "started": started}
    )


def _finished(s: Situation, pod: Pod | None) -> datetime:
    """When the task container ended; when that is not known, now. Never in the future, whatever a node's clock says."""
    finished = pod.ended.finished if pod is not None and pod.ended else None
    return min(finished, s.now) if finished else s.now
