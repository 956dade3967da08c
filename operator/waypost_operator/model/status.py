"""`CheckpointedTask.status` as typed data: all the operator's memory of a task, and the only one.

Everything a decision needs after a crash stands here. Counts change only in the one write that sets `finished` of
the attempt they speak of, so that no end is counted twice. `state` and `message` are for people: derived at each
write, never read by code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from waypost import contract
from waypost_operator.model.raw import Json
from waypost_operator.model.spec import Typed

HISTORY = 20
"""Attempts kept in `status.attempts`."""
MAX_ATTEMPT = 2**31 - 1
"""int32, and ten digits: what `<name>-<attempt>` has room for."""

Number = Annotated[int, Field(ge=0, le=MAX_ATTEMPT, json_schema_extra={"format": "int32"})]
Big = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
"""Bounded by its format. A maximum of 2**63 - 1 in the schema is read as a float, 2**63, and refuses every write."""
Moment = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
Text = Annotated[str, Field(max_length=1024)]
Name = Annotated[str, Field(max_length=253)]


class Position(Typed):
    """A committed checkpoint."""

    sequence: Big
    """Its number in the store's log."""
    step: Big | None = None
    """The program's own step, if it counts steps."""

    @classmethod
    def of(cls, position: contract.Position | None) -> Position | None:
        return None if position is None else cls(sequence=position.sequence, step=position.step)


class Transfer(Typed):
    """What it took to restore or to save a checkpoint."""

    size_bytes: Big
    """Of all files of the checkpoint."""
    moved_bytes: Big
    """What was fetched from the store or sent to it: less where files have holes, where only a part was restored, and
    where a save found parts of itself in the store already."""
    milliseconds: Big
    """A restore's until it was whole and verified; a save's from the beginning of its upload until it stood."""

    @classmethod
    def of(cls, moved: contract.Transfer | None) -> Transfer | None:
        return None if moved is None else cls(**dataclasses.asdict(moved))


class Checkpoint(Position):
    """A committed checkpoint and who committed it."""

    attempt: Number
    """The attempt that committed it."""


class Stopping(Typed):
    """The operator's own order to end an attempt, written down before its pod is deleted."""

    reason: contract.StopReason
    """Why."""
    since: Moment
    """When it was given."""
    message: Text
    """Why, in a sentence."""


class Attempt(Typed):
    """One attempt: one pod, from its creation to its verdict."""

    attempt: Number
    """Its number."""
    pod: Name | None = None
    """Name of its pod."""
    node: Name | None = None
    """The node it ran on."""
    placement: contract.Placement | None = None
    """What its pod was made from: Template, or OnDemand for the template with preemptionPolicy.onDemand."""
    spot: bool | None = None
    """Whether its node can be taken away at short notice, by the node's labels; absent if they don't tell."""
    started: Moment | None = None
    """When its task container began to run."""
    stopping: Stopping | None = None
    """The operator's own order to end it, if there was one."""
    finished: Moment | None = None
    """When it ended; absent while it hasn't been judged."""
    outcome: contract.Outcome | None = None
    """How it ended."""
    rule: Name | None = None
    """Which rule judged its end (docs/task.md has the table), or the name of a rule of failurePolicy.rules."""
    evidence: Text | None = None
    """What that rule saw."""
    exit_code: Annotated[int, Field(ge=-1, le=2**31 - 1, json_schema_extra={"format": "int32"})] | None = None
    """Exit code of the task container."""
    progressed: bool | None = None
    """Whether it made progress: a committed step above every earlier attempt's, or, for a program that counts no
    steps, a new checkpoint and at least backoff.initialSeconds of run time."""
    resumed_from: Position | None = None
    """The checkpoint it started from; absent when it started from nothing."""
    committed: Position | None = None
    """The last checkpoint it committed."""
    restore: Transfer | None = None
    """What its last restore before its first save took."""
    last_save: Transfer | None = None
    """What the save of its last checkpoint took."""
    highest_attempt: Big | None = None
    """The highest attempt its store knew, if the store refused it: the next one goes above."""


class Counts(Typed):
    """Totals since the task was created."""

    attempts: Number = 0
    """Attempts that have ended."""
    preemptions: Number = 0
    """Attempts that ended because the machine was needed or lost."""
    failures: Number = 0
    """Attempts that ended as a failure of the program."""
    free_retries: Number = 0
    """Attempts that ended for another reason that uses no budget."""


class SinceProgress(Typed):
    """Ends since the last progress, those that made progress themselves left out (a failure always counts).

    failures is held against failurePolicy.maxFailures; the others only make the next wait longer.
    """

    failures: Number = 0
    """Failures since the last progress."""
    preemptions: Number = 0
    """Preemptions and deletions without progress."""
    unknown: Number = 0
    """Pods that vanished without a verdict."""
    storage: Number = 0
    """Ends with unreachable storage."""
    refused: Number = 0
    """Attempts refused by the store, fenced, or never let in by a node."""
    excused: Number = 0
    """Ends that a rule with action RetryFree excused, without progress."""
    attempts: Number = 0
    """Attempts in a row without progress, whatever they ended of; those that the operator stopped left out."""


class CheckpointStatus(Typed):
    """The task's own store."""

    uri: Annotated[str, Field(max_length=1024)]
    """URI of the store, the same for every attempt."""


class Cleanup(Typed):
    """How far the deletion of a deleted task's checkpoints is."""

    started: Moment
    """When it began: no pod of the task ran any more. It is given up an hour later, unless its pod runs then."""
    failures: Number = 0
    """Clean-up pods that failed."""
    last_failure: Moment | None = None
    """When the last of them was seen to have failed."""
    failed_pod_uid: Annotated[str | None, Field(max_length=64, alias="failedPodUID")] = None
    """UID of the last of them."""
    message: Text
    """What it waits for, or why it failed, in a sentence."""


class Condition(Typed):
    """An observation about the task, with its reason."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What is observed."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, in one word."""
    message: Annotated[str, Field(max_length=32_768)]
    """Why, in a sentence."""
    last_transition_time: Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
    """When status last changed."""
    observed_generation: Big | None = None
    """metadata.generation that the observation is about."""


class TaskStatus(Typed):
    """What has become of the task."""

    conditions: Annotated[
        list[Condition],
        Field(
            max_length=32,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []
    """Succeeded: how the task ended. Progressing: whether an attempt runs or why not. PodCreated: whether the API
    server accepts the pod. StorageAvailable: False after an attempt couldn't reach its store. Stalled:
    True after three attempts in a row without progress."""
    observed_generation: Big | None = None
    """metadata.generation of the spec that this status speaks about."""
    state: Annotated[str, Field(max_length=32)] | None = None
    """Pending, Running, BackingOff, Suspended, Deleting, Succeeded or Failed; for display only."""
    message: Text | None = None
    """What is going on, in a sentence; for display only."""
    attempt: Number = 0
    """Number of the current attempt; 0 before the first."""
    pod_uid: Annotated[str | None, Field(max_length=64, alias="podUID")] = None
    """UID of the current attempt's pod; absent until the pod is known to exist."""
    first_started: Moment | None = None
    """When the first attempt's task container began to run; activeDeadlineSeconds counts from here."""
    suspended_since: Moment | None = None
    """Since when the task is suspended; absent while it isn't."""
    suspended_seconds: Big = 0
    """How long it was suspended before, since its first attempt began to run."""
    counts: Counts = Counts()
    """Totals since the task was created."""
    since_progress: SinceProgress = SinceProgress()
    """Ends since the last progress."""
    progress: Position | None = None
    """The highest step and checkpoint number ever committed."""
    checkpoint: CheckpointStatus | None = None
    """The task's own store."""
    cleanup: Cleanup | None = None
    """How far the deletion of the checkpoints is, while the task is being deleted with deletionPolicy Delete."""
    last_checkpoint: Checkpoint | None = None
    """The last committed checkpoint known: that of the last attempt that has ended."""
    result: Text | None = None
    """What the program returned or left, once the task has succeeded: the value of its @waypost.task function as JSON,
    or, of a program without the SDK, what it wrote into its termination message; cut to 1024 characters."""
    attempts: Annotated[
        list[Attempt],
        Field(
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["attempt"]},
        ),
    ] = []
    """The last attempts, oldest first."""

    @classmethod
    def read(cls, raw: Mapping[str, Any] | None) -> TaskStatus:
        """The status of a stored object; an absent one is that of a task not yet seen."""
        return cls.model_validate(raw or {})

    def write(self) -> Json:
        """As the API server stores it: absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @property
    def current(self) -> Attempt | None:
        """The record of the current attempt."""
        return self.attempts[-1] if self.attempts and self.attempts[-1].attempt == self.attempt else None

    def condition(self, kind: contract.ConditionType) -> Condition | None:
        return next((entry for entry in self.conditions if entry.type == kind), None)

    @property
    def finished(self) -> bool:
        """The task is over: it succeeded, or it failed for good."""
        verdict = self.condition(contract.ConditionType.SUCCEEDED)
        return verdict is not None and verdict.status in ("True", "False")
