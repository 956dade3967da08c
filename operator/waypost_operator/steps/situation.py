"""The situation a decision is taken in: what was observed, read as typed data, and the one way to write status."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from waypost import contract
from waypost.contract import ConditionReason, ConditionType, EventReason
from waypost_operator.model.decision import Decision, LookAtPod, TaskEvent, WriteStatus
from waypost_operator.model.observed import Observed
from waypost_operator.model.pace import Asked, may_be_as_old
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import seconds
from waypost_operator.model.spec import TaskSpec
from waypost_operator.model.status import HISTORY, Attempt, CheckpointStatus, TaskStatus
from waypost_operator.policy import completion
from waypost_operator.policy.conditions import with_condition
from waypost_operator.policy.unreachable import may_be_left

CONFIRMED_FOR = seconds(5)
"""How long an answer of the API server about the task is fresh enough to create a pod from, unless the server needs
longer to answer (`model.pace`)."""
OVERDUE = seconds(30)
"""A pod that should be gone by now is asked for again this often, since a watch may have missed its end."""


@dataclasses.dataclass(frozen=True)
class Situation:
    """One task, at one moment."""

    observed: Observed
    spec: TaskSpec
    status: TaskStatus

    @property
    def now(self) -> datetime:
        return self.observed.now

    @property
    def attempt(self) -> Attempt:
        """The record of the current attempt (made up if somebody took it out of status)."""
        return self.status.current or Attempt(attempt=self.status.attempt)

    @property
    def pod_name(self) -> str:
        """Name of the current attempt's pod."""
        return contract.pod_name(self.observed.name, self.status.attempt)

    @property
    def pod(self) -> Pod | None:
        """The current attempt's pod as last seen, once its UID is recorded."""
        return self.observed.pod_with_uid(self.status.pod_uid) if self.status.pod_uid else None

    @property
    def pod_over(self) -> bool:
        """Nothing of the current attempt's recorded pod runs or will run: known for ever, not just cached."""
        pod = self.pod
        return self.status.pod_uid in self.observed.gone or (pod is not None and pod.terminal)

    @property
    def between_attempts(self) -> bool:
        """No attempt runs: none was opened yet, the last one has ended, or its pod isn't known to exist."""
        return not self.status.pod_uid or self.attempt.finished is not None

    @property
    def may_start(self) -> bool:
        """Neither the user nor the time left says that nothing more is to be started."""
        return not self.spec.suspend and completion.out_of_time(self.spec, self.status, self.now) is None

    @property
    def owned(self) -> list[Pod]:
        """Existing pods controlled by this very task, whatever their labels say; its clean-up pod is no attempt's."""
        pods = (pod for pod in self.observed.pods if not self.observed.is_gone(pod))
        cleanup = contract.cleanup_pod_name(self.observed.name)
        return [pod for pod in pods if pod.owned_by(self.observed.uid) and pod.name != cleanup]

    def number(self, pod: Pod) -> int:
        """The attempt an owned pod belongs to, by its name: labels can be changed, names can't. 0: none of ours."""
        task, _, digits = pod.name.rpartition("-")
        return int(digits) if task == self.observed.name and digits.isascii() and digits.isdigit() else 0

    @property
    def alive(self) -> list[Pod]:
        """Owned pods that may still run something."""
        return [pod for pod in self.owned if not pod.terminal]

    @property
    def in_the_way(self) -> list[Pod]:
        """Owned pods that may still run something and may not be left behind: no other pod beside them."""
        after = self.spec.replace_unreachable_after_seconds
        nodes, paces = self.observed.nodes, self.observed.paces
        return [pod for pod in self.alive if not may_be_left(pod, nodes.get(pod.uid), self.now, after, paces)]

    @property
    def confirmed(self) -> bool:
        """The API server has shown us this very task a moment ago."""
        when, old = self.observed.task_confirmed_at, may_be_as_old(CONFIRMED_FOR, self.observed.paces, Asked.TASK)
        return when is not None and self.now <= when + old

    @property
    def deletes_checkpoints(self) -> bool:
        """The task's store goes with the task."""
        return self.spec.checkpoint.deletion_policy == "Delete"

    def look_again(self, pod: Pod) -> Decision | None:
        """A live look at a pod that isn't over although it should be, or of which we heard that it is gone."""
        if pod.uid in self.observed.missing:
            return Decision(LookAtPod(pod.name, pod.uid), f"pod {pod.name} is said to be gone")
        if pod.deletion and self.now > pod.deletion + OVERDUE and self.now > pod.seen_at + OVERDUE:
            return Decision(LookAtPod(pod.name, pod.uid), f"pod {pod.name} should be gone by now")
        return None

    def look_again_in(self, pod: Pod) -> float | None:
        """Seconds until `look_again` would want a look although nothing was heard."""
        if pod.deletion is None:
            return None
        return max((max(pod.deletion, pod.seen_at) + OVERDUE - self.now).total_seconds(), 0.0) + 1.0

    def with_condition(
        self, status: TaskStatus, kind: ConditionType, value: bool, reason: ConditionReason, message: str
    ) -> TaskStatus:
        return with_condition(
            status,
            kind,
            "True" if value else "False",
            reason,
            message,
            now=self.now,
            generation=self.observed.generation,
        )

    def waiting(self, reason: ConditionReason, message: str, *events: TaskEvent) -> Decision | None:
        """Write down what is waited for, once."""
        present = self.status.condition(ConditionType.PROGRESSING)
        if present is not None and (present.reason, present.message) == (reason, message):
            return None
        status = self.with_condition(self.status, ConditionType.PROGRESSING, False, reason, message)
        return self.write(status, message, *events)

    def over(self, status: TaskStatus, ending: completion.Ending) -> Decision:
        """The decision to end the task."""
        said = f"the task {'succeeded' if ending.succeeded else 'failed'}: {ending.message}"
        status = self.with_condition(status, ConditionType.SUCCEEDED, ending.succeeded, ending.reason, ending.message)
        status = self.with_condition(status, ConditionType.PROGRESSING, False, ConditionReason.ENDED, said)
        event = (
            TaskEvent("Normal", EventReason.SUCCEEDED, said[:1000])
            if ending.succeeded
            else TaskEvent("Warning", EventReason.FAILED, said[:1000])
        )
        return self.write(status, said, event)

    def write(self, status: TaskStatus, why: str, *events: TaskEvent) -> Decision:
        """The decision to write this status, with what is derived from it; the events follow once it stands."""
        store = contract.store_uri(
            self.spec.checkpoint.uri, self.observed.namespace, self.observed.name, self.observed.uid
        )
        starts = (entry.started for entry in status.attempts)
        progressing = status.condition(ConditionType.PROGRESSING)
        complete = status.model_copy(
            update={
                "first_started": status.first_started or next(filter(None, starts), None),
                "observed_generation": self.observed.generation,
                "checkpoint": CheckpointStatus(uri=store),
                "attempts": status.attempts[-HISTORY:],
                "state": state(status),
                "message": progressing.message[:1024] if progressing else None,
            }
        )
        return Decision(WriteStatus(complete.write(), self.observed.resource_version, events), why)


def state(status: TaskStatus) -> str:
    """One word for `kubectl get`; display only."""
    progressing = status.condition(ConditionType.PROGRESSING)
    if progressing is not None and progressing.reason == ConditionReason.CLEANING_UP:
        return "Deleting"
    verdict = status.condition(ConditionType.SUCCEEDED)
    if verdict is not None and status.finished:
        return "Succeeded" if verdict.status == "True" else "Failed"
    if status.suspended_since:
        return "Suspended"
    current = status.current
    if current is None:
        return "Pending"
    if current.finished:
        return "BackingOff"
    return "Running" if current.started else "Pending"
