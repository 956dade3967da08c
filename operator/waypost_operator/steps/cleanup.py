"""A task that is being deleted with `deletionPolicy: Delete`: its pods end first, then a pod deletes its store.

All of it stands in status and on the API server, so any operator can go on with it at any point. Until the store is
deleted, or given up, the finalizer keeps the task. Nothing is deleted while a pod of the task may still write; one
that the task may leave behind on a machine that is cut off is refused by the deleted store (protocol, rule 14).
"""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from waypost import contract
from waypost.contract import ConditionReason, ConditionType, EventReason, Placement
from waypost_operator.model.decision import CreatePod, Decision, DeletePod, LookAtPod, LookAtTask, TaskEvent, Wait
from waypost_operator.model.observed import Observed
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import NO_TIME, mapping, seconds, timestamp
from waypost_operator.model.spec import TaskSpec
from waypost_operator.model.status import Cleanup, TaskStatus
from waypost_operator.policy import cleanup as policy
from waypost_operator.policy.waiting import NORMAL, waits_for
from waypost_operator.specs import cleanup as cleanup_pod
from waypost_operator.specs.pod import TemplateError
from waypost_operator.steps import finalizer, unreachable
from waypost_operator.steps.launch import LOOK_AT_STRANGER, retry_delay
from waypost_operator.steps.situation import Situation

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
"""Kubernetes' own finalizers: the garbage collector deletes the task's pods before it goes, or makes them nobody's."""
NO_ATTEMPT = 0
"""In a refused create: it was the clean-up pod's."""
REFUSED = "the API server refuses the clean-up pod for now: "
"""How a message begins that tells of a refused create."""


def remains(observed: Observed) -> Decision:
    """The next step for a task that is being deleted."""
    if contract.FINALIZER not in observed.finalizers:
        return Decision(Wait(), "the task is being deleted: nothing is created any more, its pods go with it")
    status = TaskStatus.read(observed.task.get("status"))
    try:
        spec = TaskSpec.model_validate(observed.task["spec"])
    except ValidationError:
        uri = mapping(observed.task, "status", "checkpoint").get("uri") or "no store"
        left = f"the task goes, its stored spec can't be used; its checkpoints are still in {uri}"
        return finalizer.release(observed, left, TaskEvent("Warning", EventReason.CLEANUP_GIVEN_UP, left))
    s = Situation(observed, spec, status)
    if not s.deletes_checkpoints:
        return finalizer.release(observed, "deletionPolicy is Retain: the task goes, its checkpoints stay")
    if not status.attempt and not s.owned:
        return finalizer.release(observed, "the task goes: it never started, so it has no checkpoints")
    if ORPHAN in observed.finalizers:
        return Decision(Wait(), "the task is being deleted without its pods: they are made nobody's first")
    return _end_of_pods(s) or _namespace_goes(s) or _foreground(s) or _store(s)


# --- first, nothing of the task may run any more ---------------------------------------------------------------
def _end_of_pods(s: Situation) -> Decision | None:
    """Stop what may still run, gracefully, and wait until it is known that it doesn't."""
    for pod in s.in_the_way:
        if pod.uid not in s.observed.missing and pod.deletion is None:
            return Decision(DeletePod(pod.name, pod.uid), f"the task is being deleted: pod {pod.name} has to end first")
    for pod in s.in_the_way:
        look = s.look_again(pod) or unreachable.look(s, pod) or unreachable.tell(s, pod)
        if look or unreachable.reason(s, pod):
            return look or Decision(Wait(), f"pod {pod.name} doesn't end", unreachable.look_in(s, pod))
        message = f"the task is being deleted: its checkpoints are deleted when pod {pod.name} has ended"
        wait = Decision(Wait(), message, unreachable.look_in(s, pod))
        return s.waiting(ConditionReason.CLEANING_UP, message) or wait
    if not s.status.pod_uid or s.pod_over:
        return None
    if s.pod is None or s.pod.uid in s.observed.missing:
        return Decision(LookAtPod(s.pod_name, s.status.pod_uid), f"is pod {s.pod_name} gone?")
    if not s.pod.owned_by(s.observed.uid):
        return _leave(s, f"pod {s.pod_name} was orphaned: it isn't the task's any more, and may still write")
    return None


def _namespace_goes(s: Situation) -> Decision | None:
    """No pod will ever be created here again: an attempt's was refused for that, or the clean-up pod."""
    refusal = s.observed.create_refusal
    if refusal is None or not refusal.namespace_terminating:
        return None
    return _leave(s, "the namespace is being deleted, so no pod can be created that would delete them")


def _foreground(s: Situation) -> Decision | None:
    """Whatever the task owns while its dependents are being deleted goes with them, so the clean-up pod comes after."""
    if FOREGROUND not in s.observed.finalizers:
        return None
    message = "the task is being deleted in the foreground: its checkpoints are deleted when its pods are gone"
    return s.waiting(ConditionReason.CLEANING_UP, message) or Decision(Wait(), message)


# --- then the store is deleted ---------------------------------------------------------------------------------
def _store(s: Situation) -> Decision:
    record = s.status.cleanup
    if record is None:
        return _begin(s)
    name = contract.cleanup_pod_name(s.observed.name)
    known = [pod for pod in s.observed.pods if pod.name == name and pod.owned_by(s.observed.uid)]
    if any(pod.ended is not None and pod.ended.exit_code == 0 for pod in known):
        done = f"the checkpoints of task {s.observed.name} in {_uri(s)} are deleted"
        return finalizer.release(s.observed, done, TaskEvent("Normal", EventReason.CHECKPOINTS_DELETED, done))
    last = max(known, key=lambda pod: pod.version, default=None)  # those before it were booked before it was created
    if last is not None and (s.observed.over(last) or last.ended) and last.uid != record.failed_pod_uid:
        return _failed(s, record, last)
    there = s.observed.pod_named(name)
    if there is not None and there.uid in s.observed.missing:
        return Decision(LookAtPod(there.name, there.uid), f"pod {there.name} is said to be gone")
    if there is not None and there in known and there.uid != record.failed_pod_uid:
        return _under_way(s, record, there)
    return _try_again(s, record, there)


def _begin(s: Situation) -> Decision:
    """From this write on the hour runs."""
    message = f"deleting the checkpoints of task {s.observed.name} in {_uri(s)}"
    record = Cleanup(started=timestamp(s.now), message=message)
    return _write(s, record, TaskEvent("Normal", EventReason.CLEANUP_STARTED, message))


def _under_way(s: Situation, record: Cleanup, pod: Pod) -> Decision:
    """Wait for the end of the clean-up pod; one that doesn't run is waited for as long as there are retries."""
    end = policy.retries_end(record)
    if pod.running and pod.deletion is None:
        return Decision(Wait(), f"pod {pod.name} is deleting {_uri(s)}")
    if s.now >= end:
        return _give_up(s, record)
    kind, why = waits_for(pod)
    message = f"clean-up pod {pod.name} can't start yet: {kind}: {why}"
    if kind not in NORMAL and kind not in record.message:
        return _tell(s, record, message)
    return s.look_again(pod) or Decision(Wait(), record.message, _until(s, end, s.look_again_in(pod)))


def _failed(s: Situation, record: Cleanup, pod: Pod) -> Decision:
    """Book the end of a clean-up pod that did not delete the store."""
    if pod.ended is not None:
        why = f"exit code {pod.ended.exit_code}: {pod.ended.message.strip()[-600:] or pod.ended.reason}"
    elif pod.terminal:
        why = f"{pod.reason or 'it failed'}: {pod.message or 'no message'}"
    else:
        why = "it vanished before it had ended"
    failed = record.model_copy(
        update={
            "failures": record.failures + 1,
            "last_failure": timestamp(s.now),
            "failed_pod_uid": pod.uid,
            "message": f"clean-up pod {pod.name} failed: {why}"[:1000],
        }
    )
    return _write(s, failed, TaskEvent("Warning", EventReason.CLEANUP_FAILED, failed.message))


def _try_again(s: Situation, record: Cleanup, there: Pod | None) -> Decision:
    """Create the clean-up pod when it is time to and its name is free; the last one stays for its log till then."""
    end = policy.retries_end(record)
    if s.now >= end:
        return _give_up(s, record)
    start = max(policy.next_try(record), _unrecorded_shows(s, record))
    if s.now < start:
        return Decision(Wait(), f"{record.message}; next try at {timestamp(start)}", _until(s, start))
    if _name_looked_at(s) < _unrecorded_shows(s, record):
        return Decision(LookAtPod(s.pod_name), f"was pod {s.pod_name} created before the task's deletion was seen?")
    if there is not None and there.owned_by(s.observed.uid):
        if there.deletion is None:
            return Decision(DeletePod(there.name, there.uid), f"pod {there.name} makes room for the next try")
        return s.look_again(there) or Decision(Wait(), "the last clean-up pod goes", s.look_again_in(there))
    if there is not None:
        return _name_taken(s, record, there, end)
    return _refused(s, record, end) or _create(s, record, end)


def _unrecorded_shows(s: Situation, record: Cleanup) -> datetime:
    """When it can be told for sure whether the current attempt has a pod, although status knows of none."""
    recorded = not s.status.attempt or s.status.pod_uid or s.attempt.finished
    return NO_TIME if recorded else policy.settled(record)


def _name_looked_at(s: Situation) -> datetime:
    """When a live look last told what stands under the name of the current attempt's pod. One that has ended, or is
    somebody else's, tells as much as none: beside it ours can't be."""
    there = s.observed.pod_named(s.pod_name)
    return s.observed.absent.get(s.pod_name, NO_TIME) if there is None else there.looked_at or NO_TIME


def _name_taken(s: Situation, record: Cleanup, there: Pod, end: datetime) -> Decision:
    if s.now >= there.seen_at + LOOK_AT_STRANGER:
        return Decision(LookAtPod(there.name, there.uid), f"is pod {there.name} still there?")
    message = (
        f"a pod {there.name} exists and doesn't belong to this task: the checkpoints can't be deleted before it goes"
    )
    return _told(s, record, message) or Decision(Wait(), message, _until(s, min(there.seen_at + LOOK_AT_STRANGER, end)))


def _refused(s: Situation, record: Cleanup, end: datetime) -> Decision | None:
    """What to do about a create that the API server refused; None when it is time to (re)try."""
    refusal = s.observed.create_refusal
    if refusal is None or refusal.attempt != NO_ATTEMPT:
        return None
    message = f"{REFUSED}{refusal.message}"
    again = refusal.at + seconds(retry_delay(refusal))
    if s.now >= again:  # whatever stands in status: a rival leader may have said there what it was told
        return None
    wait = Decision(Wait(), message, _until(s, min(again, end)))
    if record.message.startswith(REFUSED) and not refusal.is_news(s.observed.resource_version):
        return wait
    return _told(s, record, message) or wait


def _create(s: Situation, record: Cleanup, end: datetime) -> Decision:
    """Only for a task that was seen to be under deletion, with this policy, a moment ago."""
    if not s.confirmed:
        return Decision(LookAtTask(), "before the clean-up pod is created: what is cached may be old")
    image, name = s.observed.cleanup_image, contract.cleanup_pod_name(s.observed.name)
    if image is None:
        message = "the operator was started without --cleanup-image, so there is nothing to delete checkpoints with"
        return _told(s, record, message) or Decision(Wait(), message, _until(s, end))
    try:
        body = cleanup_pod.build(s.observed.task, image, on_demand=s.attempt.placement is Placement.ON_DEMAND)
    except TemplateError as error:
        return _told(s, record, str(error)) or Decision(Wait(), str(error), _until(s, end))
    return Decision(CreatePod(name, NO_ATTEMPT, body), f"creating pod {name}, which deletes {_uri(s)}")


def _give_up(s: Situation, record: Cleanup) -> Decision:
    return _leave(s, f"it was tried since {record.started}; {record.message}")


def _leave(s: Situation, reason: str) -> Decision:
    """Let the task go without its store, and say so where a person or a log search finds it."""
    uri = _uri(s)
    left = (
        f"task {s.observed.name} is deleted, but its checkpoints are not: they are still in {uri}. To delete them: "
        f"waypost checkpoints delete {uri} --yes. Reason: {reason}"
    )
    return finalizer.release(s.observed, left, TaskEvent("Warning", EventReason.CLEANUP_GIVEN_UP, left[:1000]))


def _told(s: Situation, record: Cleanup, message: str) -> Decision | None:
    """Say what stands in the way, once."""
    return None if record.message == message[:1000] else _tell(s, record, message)


def _tell(s: Situation, record: Cleanup, message: str) -> Decision:
    said = message[:1000]
    told = record.model_copy(update={"message": said})
    return _write(s, told, TaskEvent("Warning", EventReason.CLEANUP_FAILED, said))


def _write(s: Situation, record: Cleanup, *events: TaskEvent) -> Decision:
    status = s.status.model_copy(update={"cleanup": record})
    reason = ConditionReason.CLEANING_UP
    status = s.with_condition(status, ConditionType.PROGRESSING, False, reason, record.message)
    return s.write(status, record.message, *events)


def _until(s: Situation, moment: datetime, sooner: float | None = None) -> float:
    wait = max((moment - s.now).total_seconds(), 0.0)
    return wait if sooner is None else min(wait, sooner)


def _uri(s: Situation) -> str:
    return contract.store_uri(s.spec.checkpoint.uri, s.observed.namespace, s.observed.name, s.observed.uid)
