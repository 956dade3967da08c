"""Bringing an attempt's pod into being: status first, then the pod, then its UID.

The number of an attempt is written before its pod is created, so that no number is ever used by two decisions.
Until the pod's UID stands in status, the same name is created again: a create whose answer was lost, and that
happened after all, then meets 409 and is recognised by its controller reference. Once the UID stands, the number
is spent. A pod is created only from a task that the API server confirmed moments ago: a cached one may be several
attempts old, and the name of an evicted pod is free again.
"""

from __future__ import annotations

from waypost import contract
from waypost.contract import ConditionReason, ConditionType, EventReason, Placement
from waypost_operator.model.decision import CreatePod, Decision, LookAtPod, LookAtTask, TaskEvent, Wait
from waypost_operator.model.observed import CreateRefusal
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import seconds, timestamp
from waypost_operator.model.status import MAX_ATTEMPT, Attempt, TaskStatus
from waypost_operator.policy import backoff, completion, placement
from waypost_operator.specs import pod as pod_spec
from waypost_operator.steps import unreachable
from waypost_operator.steps.situation import Situation

RETRY_INITIAL, RETRY_LIMIT = 1.0, 60.0
"""Seconds between creates that the API server refuses for now: doubled each time, up to the limit."""
LOOK_AT_PREDECESSOR, LOOK_AT_STRANGER = seconds(5), seconds(60)
"""How often a pod that holds our name is looked at, beside what the watch tells about it."""


def begin(s: Situation, status: TaskStatus, number: int, message: str) -> TaskStatus:
    """The status that opens attempt `number`: from the write of it on, this number is taken, and its place chosen."""
    why = completion.leave_template(status)
    choice = placement.choose(s.spec.preemption_policy, status, leave_template=why)
    message = f"{message}; on demand from now on, after {choice.why}" if choice.why else message
    entry = Attempt(attempt=number, pod=contract.pod_name(s.observed.name, number), placement=choice.placement)
    opened = status.model_copy(
        update={"attempt": number, "pod_uid": None, "attempts": [*status.attempts, entry]},
    )
    return s.with_condition(opened, ConditionType.PROGRESSING, True, ConditionReason.STARTING, message)


def first(s: Situation) -> Decision | None:
    """Open attempt 1 of a task that has none."""
    if s.status.attempt or not s.may_start:
        return None
    return s.write(begin(s, s.status, 1, "attempt 1 is starting"), "opening attempt 1")


def adopt(s: Situation) -> Decision | None:
    """Go on with a pod of ours whose attempt is higher than status knows: status was lost or put back."""
    ahead = [(s.number(pod), pod) for pod in s.owned if s.status.attempt < s.number(pod) <= MAX_ATTEMPT]
    if not ahead:
        return None
    number, pod = max(ahead, key=lambda pair: pair[0])
    message = f"found pod {pod.name}, which status didn't know: going on with attempt {number}"
    opened = begin(s, s.status, number, message)
    return s.write(opened.model_copy(update={"pod_uid": pod.uid}), message)


def following(s: Situation) -> Decision | None:
    """Open the attempt after one that has ended, when its wait is over and its pod has really ended."""
    if not s.attempt.finished or not s.may_start:
        return None
    for pod in s.in_the_way:
        return _wait_for_old_pod(s, pod)
    known = any(pod.uid == s.status.pod_uid for pod in s.alive)
    if s.status.pod_uid and not s.pod_over and not known:
        return Decision(LookAtPod(s.pod_name, s.status.pod_uid), f"is pod {s.pod_name} gone?")
    start = backoff.next_start(s.attempt, s.status.since_progress, s.spec.failure_policy.backoff, s.observed.uid)
    if s.now < start:
        return Decision(Wait(), f"backing off until {timestamp(start)}", (start - s.now).total_seconds())
    number = completion.next_number(s.attempt)
    return s.write(
        begin(s, s.status, number, f"attempt {number} is starting, it resumes from the newest checkpoint"),
        f"opening attempt {number}",
    )


def _wait_for_old_pod(s: Situation, pod: Pod) -> Decision:
    look = s.look_again(pod) or unreachable.look(s, pod) or unreachable.tell(s, pod)
    if look or unreachable.reason(s, pod):
        return look or Decision(Wait(), f"pod {pod.name} doesn't end", unreachable.look_in(s, pod))
    message = f"pod {pod.name} has not ended yet; the next attempt starts when it has"
    wait = Decision(Wait(), message, unreachable.look_in(s, pod))
    return s.waiting(ConditionReason.WAITING_FOR_OLD_POD, message) or wait


def pod(s: Situation) -> Decision | None:
    """Create the current attempt's pod, or recognise the one that stands there already."""
    if s.status.pod_uid or s.attempt.finished:
        return None
    ours = _ours(s)
    if ours is not None:
        return record(s, ours)
    if not s.may_start:
        return None
    there = s.observed.pod_named(s.pod_name)
    if there is not None:
        return _name_taken(s, there)
    for other in s.in_the_way:
        return _wait_for_old_pod(s, other)
    return _refused(s) or _create(s)


def _ours(s: Situation) -> Pod | None:
    """The pod that was created for this attempt, even if it is gone by now: it may have run, so its number is spent."""
    named = [pod for pod in s.observed.pods if pod.name == s.pod_name and pod.owned_by(s.observed.uid)]
    return min(named, key=s.observed.is_gone, default=None)


def record(s: Situation, there: Pod) -> Decision:
    """Write down the UID of the current attempt's pod: from now on its end is judged and its number is spent."""
    where = ", on demand" if s.attempt.placement is Placement.ON_DEMAND else ""
    message = f"attempt {s.status.attempt} started as pod {there.name}{where}"
    status = s.status.model_copy(update={"pod_uid": there.uid})
    status = s.with_condition(status, ConditionType.POD_CREATED, True, ConditionReason.CREATED, message)
    status = s.with_condition(status, ConditionType.PROGRESSING, True, ConditionReason.STARTING, message)
    return s.write(status, message, TaskEvent("Normal", EventReason.ATTEMPT_STARTED, message))


def _name_taken(s: Situation, there: Pod) -> Decision:
    """Somebody else's pod has our name: a deleted namesake's will go, a stranger's is the user's to remove."""
    namesake = there.controller.get("kind") == contract.KIND and there.controller.get("name") == s.observed.name
    if namesake or there.deletion:
        reason, every = ConditionReason.WAITING_FOR_OLD_POD, LOOK_AT_PREDECESSOR
        message = f"pod {there.name} of a deleted task of the same name is still there; waiting until it is gone"
        events = []
    else:
        reason, every = ConditionReason.POD_NAME_TAKEN, LOOK_AT_STRANGER
        message = f"a pod {there.name} exists and doesn't belong to this task; delete it or rename the task"
        events = [TaskEvent("Warning", EventReason.POD_NAME_TAKEN, message)]
    if s.now >= there.seen_at + every or there.uid in s.observed.missing:
        return Decision(LookAtPod(there.name, there.uid), f"is pod {there.name} still there?")
    remaining = (there.seen_at + every - s.now).total_seconds()
    return s.waiting(reason, message, *events) or Decision(Wait(), message, remaining)


def _create(s: Situation) -> Decision:
    if not s.confirmed:
        return Decision(LookAtTask(), "before a create: what is cached may be old")
    try:
        on_demand = s.attempt.placement is Placement.ON_DEMAND
        body = pod_spec.build(s.observed.task, s.status.attempt, on_demand=on_demand)
    except pod_spec.TemplateError as error:
        return _not_created(s, ConditionReason.TEMPLATE_INVALID, f"{error}; waiting for a change of the spec") or (
            Decision(Wait(), str(error))
        )
    return Decision(CreatePod(s.pod_name, s.status.attempt, body), f"creating pod {s.pod_name}")


def _refused(s: Situation) -> Decision | None:
    """What to do about a create that the API server refused; None when it is time to (re)try."""
    refusal = s.observed.create_refusal
    if refusal is None or (refusal.attempt, refusal.generation) != (s.status.attempt, s.observed.generation):
        return _still_invalid(s)
    if refusal.permanent:
        message = f"the API server refuses the pod: {refusal.message}; waiting for a change of the spec"
        return _not_created(s, ConditionReason.TEMPLATE_INVALID, message) or Decision(Wait(), message)
    message = f"the API server refuses the pod for now: {refusal.message}; trying again, at most every minute"
    again = refusal.at + seconds(retry_delay(refusal))
    if s.now >= again:  # whatever stands in status: a rival leader may have said there what it was told
        return None
    written = _not_created(s, ConditionReason.POD_CREATE_REFUSED, message)
    return written or Decision(Wait(), message, (again - s.now).total_seconds())


def _still_invalid(s: Situation) -> Decision | None:
    """After a restart only the condition remembers that this very spec was refused for good."""
    present = s.status.condition(ConditionType.POD_CREATED)
    if present is None or present.reason != ConditionReason.TEMPLATE_INVALID or present.status != "False":
        return None
    if present.observed_generation != s.observed.generation:
        return None
    return Decision(Wait(), present.message)


def _not_created(s: Situation, reason: ConditionReason, message: str) -> Decision | None:
    """Write down why the pod can't be created, once per reason and message; other words only when they are news."""
    message = message[:4096]
    present, refusal = s.status.condition(ConditionType.POD_CREATED), s.observed.create_refusal
    said = present is not None and (present.status, present.reason) == ("False", reason)
    if said and present is not None and present.observed_generation == s.observed.generation:
        news = refusal is None or refusal.is_news(s.observed.resource_version)
        if present.message == message or not news:
            return None
    status = s.with_condition(s.status, ConditionType.POD_CREATED, False, reason, message)
    status = s.with_condition(status, ConditionType.PROGRESSING, False, reason, message)
    invalid = reason is ConditionReason.TEMPLATE_INVALID
    kind = EventReason.TEMPLATE_INVALID if invalid else EventReason.POD_CREATE_REFUSED
    return s.write(status, message, TaskEvent("Warning", kind, message[:1000]))


def retry_delay(refusal: CreateRefusal) -> float:
    return float(min(RETRY_INITIAL * 2.0 ** min(refusal.count - 1, 16), RETRY_LIMIT))
