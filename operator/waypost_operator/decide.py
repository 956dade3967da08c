"""The operator's whole behaviour as one pure function: `decide(observed) -> Decision`, exactly one next step.

Level-based: a decision follows from what is observed now, never from what was decided before, so the operator may
be killed between any two steps, may see events twice, late or not at all, and goes on rightly from a fresh list.

The runtime's loop, per task: observe -> decide -> carry the step out -> put the API server's answer into the
cache -> decide again *at once*, until the step is Wait or Forget (no waiting for the watch's echo). A chain of
more than 50 steps is a bug: log it and requeue after a few seconds. What each step asks of the runtime:

**WriteStatus**     PUT <task>/status: the object as observed with `status` replaced, and its resourceVersion.
    200             the answer is the new `task`, `task_confirmed_at` = now; emit `events`; decide again.
    409             somebody wrote in between: as LookAtTask, no events, decide again.
    404             the task is gone: `task_gone` = True.
**WriteFinalizers** PATCH <task>: its finalizers, all of them, if it still has this resourceVersion. Answers as above.
**DeleteTask**      DELETE with preconditions.uid and preconditions.resourceVersion, in the background.
    200             emit `events`. If the answer is the task (somebody's finalizer keeps it), it is the new `task`; if
                    not, as LookAtTask; decide again.
    404, 409        as LookAtTask, no events, decide again.
**CreatePod**       POST the body with fieldValidation=Strict, if (checked right before) this process is the leader.
    201             put the answer into the cache; `create_refusal` = None; decide again.
    409 with reason AlreadyExists     as LookAtPod(name); decide again.
    any other answer >= 400           `create_refusal` = CreateRefusal.after(previous, ..., code, message and
                                      causes of the Status object); decide again. (409 with another reason is quota
                                      contention.)
    no answer       not known whether it exists: requeue with the runtime's short backoff, nothing else to do.
**DeletePod**       DELETE with preconditions.uid and no grace of our own.
    200             put the answer into the cache when it is a Pod (it carries deletionTimestamp); decide again.
    404, 409        as LookAtPod(name, uid); decide again.
**LookAtTask**      GET (quorum, no resourceVersion parameter): `task` and `task_confirmed_at` = now; 404 or another
                    UID: `task_gone` = True. Another UID is another task under the same key: after the Forget of
                    the old one, observe the new one from scratch.
**LookAtPod**       GET (quorum). Found: put it into this task's pods with `seen_at` = `looked_at` = now, whoever owns
                    it (`looked_at` stays as long as this version is the newest known), and take its UID out of
                    `missing`; `uid` (if not '') and every cached pod of that name with another UID join `gone`.
                    404: `uid` and every cached pod of that name join `gone`; `absent[name]` = when it was asked.
**LookAtNode**      GET: `nodes[pod_uid]`, or `hosts[pod_uid]` if `at_bind`, = NodeSeen(PRESENT with raw, GONE on 404,
                    UNREADABLE on 403) with `at` = now.
**Forget**          emit the events, drop the entry.
**Wait**            put the key back after `requeue_after` (None: only when something changes).

"Now" of a look is when it was asked for; what the answers to looks took goes into `paces`, by what was asked.

No answer, 429 and 5xx of anything but CreatePod: requeue with the runtime's own capped backoff; the next decide
sees the world as it is then. A watch event replaces a cached object only if it is newer (resourceVersions of one
object compared as integers); one of the same version changes nothing, `task_confirmed_at` stays. A pod's DELETED
event puts its last state into the cache and its UID into `missing`; so does a sweep that doesn't find it. A task's
DELETED event sets `task_gone`. After each step the runtime may drop what `forgettable` names.
"""

from __future__ import annotations

from pydantic import ValidationError

from waypost.contract import ConditionReason, ConditionType, EventReason
from waypost_operator.model.decision import Decision, TaskEvent, Wait, WriteStatus
from waypost_operator.model.observed import Observed
from waypost_operator.model.spec import TaskSpec
from waypost_operator.model.status import TaskStatus
from waypost_operator.policy.conditions import with_condition
from waypost_operator.steps import cleanup, expire, finalizer, judge, launch, stop, suspend, upkeep, watch
from waypost_operator.steps.situation import Situation


def decide(observed: Observed) -> Decision:
    """The next step for one task."""
    if observed.task_gone:
        return upkeep.gone(observed)
    if observed.deleting:
        return cleanup.remains(observed)
    status = TaskStatus.read(observed.task.get("status"))
    try:
        spec = TaskSpec.model_validate(observed.task["spec"])
    except ValidationError as error:
        return _unreadable(observed, status, error)
    situation = Situation(observed, spec, status)
    kept = finalizer.keep(situation)
    if kept:
        return kept
    if status.finished:
        return (
            upkeep.strays(situation)
            or upkeep.old_pods(situation)
            or expire.task(situation)
            or upkeep.nothing(situation)
        )
    decision = (
        # One pod at a time: whatever may still run and isn't the current attempt's is removed at sight.
        upkeep.strays(situation)
        # A number is written before its pod is created, and a pod's UID before its end is judged ...
        or launch.adopt(situation)
        or suspend.resume(situation)
        or launch.first(situation)
        or launch.pod(situation)
        # ... an end is booked once, in one write, which opens the next attempt if nothing has to be waited for ...
        or judge.end(situation)
        # ... an order of ours to end it is written before it is carried out ...
        or stop.attempt(situation)
        or suspend.hold(situation)
        or stop.task(situation)
        or launch.following(situation)
        # ... and only when nothing of this is left to do, the small things.
        or upkeep.old_pods(situation)
        or upkeep.spec_seen(situation)
        or watch.progress(situation)
        or upkeep.nothing(situation)
    )
    return stop.in_time(situation, decision)


def forgettable(observed: Observed) -> frozenset[str]:
    """UIDs of pods whose last state nobody will ask for again: the runtime drops pod, UID and node."""
    return upkeep.forgettable(observed)


def _unreadable(observed: Observed, status: TaskStatus, error: ValidationError) -> Decision:
    """A stored spec that breaks a rule younger than itself: say so once, wait for the user."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = f"the stored spec can't be used: {where}: {first['msg']}; waiting for a change of the spec"
    present = status.condition(ConditionType.PROGRESSING)
    if present is not None and (present.reason, present.message) == (ConditionReason.SPEC_UNREADABLE, message):
        return Decision(Wait(), message)
    status = with_condition(
        status,
        ConditionType.PROGRESSING,
        "False",
        ConditionReason.SPEC_UNREADABLE,
        message,
        now=observed.now,
        generation=observed.generation,
    )
    event = TaskEvent("Warning", EventReason.TEMPLATE_INVALID, message[:1000])
    return Decision(WriteStatus(status.write(), observed.resource_version, (event,)), message)
