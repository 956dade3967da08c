"""The words that the operator, the pod and the user's tools share, and nothing else.

Every environment variable, label, annotation, exit code, condition type and reason stands here once; no other
module spells one out. The module is pure (standard library only, no I/O beyond one `os.pwrite`), so that the
operator may import it without pulling in the SDK.

The *document* is the one channel from a pod back to the operator: a JSON record in the container's termination
message file. The kubelet hands it over even when the container was killed with SIGKILL, so progress and verdict
need no server, no RBAC and no storage credentials in the operator. It is written as ONE `pwrite` of a
space-padded record at offset 0: the file is a bind mount, so it can't be replaced by rename, and
truncate-then-write was seen torn in 170 of 200 kills (padded pwrite: 0 of 200).
"""

from __future__ import annotations

import dataclasses
import enum
import json
import os
from typing import Any, Final

# --- API -----------------------------------------------------------------------------------------------------
GROUP: Final = "waypost.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "CheckpointedTask"
PLURAL: Final = "checkpointedtasks"
SINGULAR: Final = "checkpointedtask"
SHORT_NAME: Final = "ckt"
CATEGORY: Final = "waypost"

# --- Labels and annotations ----------------------------------------------------------------------------------
LABEL_TASK: Final = f"{GROUP}/task"
"""On every pod of a task: the task's name. The operator's watch of pods selects on its presence."""
LABEL_TASK_UID: Final = f"{GROUP}/task-uid"
"""On every pod of a task: the task's UID, so that pods of a deleted namesake are told apart."""
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
"""On every pod of a task: the attempt's number in decimal, also the last part of the pod's name."""
LABEL_CLEANUP: Final = f"{GROUP}/cleanup"
"""On the clean-up pod of a deleted task, in place of LABEL_ATTEMPT: it is no attempt."""
ANNOTATION_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
"""Kubernetes' own annotation; names the task container when `spec.container` doesn't."""
FIELD_MANAGER: Final = "waypost-operator"
FINALIZER: Final = f"{GROUP}/delete-checkpoints"
"""On a task while `spec.checkpoint.deletionPolicy` is Delete: it stays until its store is deleted, or given up."""
CLEANUP_CONTAINER: Final = "waypost-cleanup"
"""The container of a clean-up pod whose exit says whether the store is deleted."""

# --- Environment of the task container -----------------------------------------------------------------------
ENV_CHECKPOINT_DST: Final = "WAYPOST_CHECKPOINT_DST"
"""URI of the task's checkpoint store; the same on every attempt."""
ENV_CHECKPOINT_SRC: Final = "WAYPOST_CHECKPOINT_SRC"
"""URI to resume from: the same store, newest live checkpoint of ANY attempt."""
ENV_CHECKPOINT_FROM: Final = "WAYPOST_CHECKPOINT_FROM"
"""`spec.checkpoint.from`, on every attempt: where the task begins as long as its own store holds no checkpoint."""
ENV_ATTEMPT: Final = "WAYPOST_ATTEMPT"
"""1, 2, 3 ...; also the fencing epoch."""
ENV_TASK: Final = "WAYPOST_TASK"
ENV_NAMESPACE: Final = "WAYPOST_NAMESPACE"
ENV_TASK_UID: Final = "WAYPOST_TASK_UID"
ENV_POD_UID: Final = "WAYPOST_POD_UID"
"""By the downward API; a FENCE carries it, so a restarted container of the same pod is told from a second pod."""
ENV_RETENTION: Final = "WAYPOST_RETENTION"
"""Which checkpoints are kept, as JSON: `keepLast`, `keepEvery`, `keepBest`; without it every one."""
ENV_GRACE_SECONDS: Final = "WAYPOST_GRACE_SECONDS"
"""Seconds between SIGTERM and SIGKILL: what the last save may take."""
ENV_TERMINATION_LOG: Final = "WAYPOST_TERMINATION_LOG"
"""Path of the termination message file of the task container."""
ENV_GROUP: Final = "WAYPOST_GROUP"
"""For launchers that the SDK doesn't know, with the next two, set by the user: names one execution of all ranks."""
ENV_RANK: Final = "WAYPOST_RANK"
ENV_WORLD_SIZE: Final = "WAYPOST_WORLD_SIZE"
ENV_UPLOADER: Final = "WAYPOST_UPLOADER"
"""Set by the user: `thread` uploads in the program itself, `process` beside it wherever that is possible."""
ENV_FETCH: Final = "WAYPOST_FETCH"
"""Set by the user: `obstore` reads everything of s3:// by that library, large parts too."""
ENV_SEND: Final = "WAYPOST_SEND"
"""Set by the user: `obstore` writes everything to s3:// by that library, parts of files too."""
ENV_NAMES: Final = (
    ENV_CHECKPOINT_DST,
    ENV_CHECKPOINT_SRC,
    ENV_CHECKPOINT_FROM,
    ENV_ATTEMPT,
    ENV_TASK,
    ENV_NAMESPACE,
    ENV_TASK_UID,
    ENV_POD_UID,
    ENV_RETENTION,
    ENV_GRACE_SECONDS,
    ENV_TERMINATION_LOG,
)
"""Every name the operator injects (FROM only where the spec has one); a template that sets one is overruled."""

TERMINATION_LOG_PATH: Final = "/dev/termination-log"
DEFAULT_GRACE_SECONDS: Final = 110
"""terminationGracePeriodSeconds when the template has none: an EC2 notice comes 120 s ahead, GKE cuts at 15 s."""
DEFAULT_NODE_LOSS_TOLERATION_SECONDS: Final = 30
"""For the not-ready and unreachable taints unless the template says otherwise (Kubernetes' 300 s idle away)."""
DEFAULT_KEEP_LAST: Final = 3
"""Checkpoints kept unless retention says otherwise."""
MAX_TASK_NAME_LENGTH: Final = 52
"""`<name>-<attempt>` has to be a label value of at most 63 characters with room for a ten-digit attempt."""
SHORT_UID_LENGTH: Final = 8

# --- Exit codes ----------------------------------------------------------------------------------------------
EXIT_COMPLETE: Final = 0
EXIT_CORRUPT: Final = 65
"""EX_DATAERR: no checkpoint left that verifies, unknown URI scheme, store deleted. Fails the task at once."""
EXIT_STORAGE: Final = 74
"""EX_IOERR: storage can't be reached, or says denied or not found. Retried with backoff, no budget used."""
EXIT_RECOVERABLE: Final = 75
"""EX_TEMPFAIL: relaunch me."""


class ConditionType(enum.StrEnum):
    """Types of `status.conditions`: observations, each with a reason and a message; absent means unknown."""

    SUCCEEDED = "Succeeded"
    """True: the program ran to its end. False: it never will (reason says why). Absent while undecided."""
    POD_CREATED = "PodCreated"
    """False while the pod of the current attempt can't be created; message is the API server's own."""
    PROGRESSING = "Progressing"
    """False while the task waits: backoff, unreachable storage, a name that is taken."""
    STORAGE_AVAILABLE = "StorageAvailable"
    """False after an attempt ended with exit 74; the message is the SDK's, naming URI, operation and cause."""
    STALLED = "Stalled"
    """True: several attempts in a row made no progress; message tells what they ended of. False: progress was made
    since. Absent while it never was a matter."""


class ConditionReason(enum.StrEnum):
    """Reasons of conditions."""

    COMPLETED = "Completed"
    FAILURES_EXCEEDED = "MaxFailuresExceeded"
    CHECKPOINT_CORRUPT = "CheckpointCorrupt"
    PREEMPTIONS_EXCEEDED = "MaxPreemptionsExceeded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """activeDeadlineSeconds passed."""
    PENDING_DEADLINE_EXCEEDED = "PendingDeadlineExceeded"
    """A pod did not start within pendingDeadlineSeconds; the message is the scheduler's or the kubelet's."""
    FAILURE_RULE = "FailureRule"
    """A rule of failurePolicy.rules with action Fail; the message names it."""
    RUNNING = "Running"
    CREATED = "Created"
    STARTING = "Starting"
    BACKING_OFF = "BackingOff"
    SUSPENDED = "Suspended"
    """spec.suspend is true, and nothing runs."""
    STOPPING = "Stopping"
    """The operator has told the attempt's pod to end; the message says why."""
    TEMPLATE_INVALID = "TemplateInvalid"
    """The API server refuses the pod for good (400, 422): waits for a change of the spec."""
    POD_CREATE_REFUSED = "PodCreateRefused"
    """The API server refuses the pod for now (403, 429, 5xx: quota, PodSecurity, missing ServiceAccount)."""
    POD_NAME_TAKEN = "PodNameTaken"
    """A pod of that name exists and belongs to somebody else."""
    WAITING_FOR_OLD_POD = "WaitingForOldPod"
    """An earlier pod has not ended yet; the next attempt starts when it has."""
    NODE_UNREACHABLE = "NodeUnreachable"
    """A pod should have ended, but its node says nothing; message says when the task goes on without it."""
    NODE_UNREADABLE = "NodeUnreadable"
    """A pod should have ended, and the operator may not ask for its node: it waits for the pod's end."""
    POD_WAITING = "PodWaiting"
    """The pod exists but can't start: no node has room, no such image or secret; message says which."""
    SPEC_UNREADABLE = "SpecUnreadable"
    """The stored spec breaks a rule that came after it was stored; waits for a change of the spec."""
    CLEANING_UP = "CleaningUp"
    """The task is being deleted, and its checkpoints with it (deletionPolicy Delete); message says how far it is."""
    ENDED = "Ended"
    """The task is over: nothing is left to progress."""
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    STORAGE_REACHED = "StorageReached"
    NO_PROGRESS = "NoProgress"
    PROGRESS_MADE = "ProgressMade"


class EventReason(enum.StrEnum):
    """Reasons of the Kubernetes Events that the operator writes on a task."""

    ATTEMPT_STARTED = "AttemptStarted"
    ATTEMPT_ENDED = "AttemptEnded"
    PREEMPTED = "Preempted"
    STALLED = "Stalled"
    STOPPING = "Stopping"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TEMPLATE_INVALID = "TemplateInvalid"
    POD_CREATE_REFUSED = "PodCreateRefused"
    POD_NAME_TAKEN = "PodNameTaken"
    POD_WAITING = "PodWaiting"
    NODE_UNREACHABLE = "NodeUnreachable"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    EXPIRED = "Expired"
    """The task was deleted ttlSecondsAfterFinished after its end."""
    CHECKPOINTS_RETAINED = "CheckpointsRetained"
    CLEANUP_STARTED = "CleanupStarted"
    CLEANUP_FAILED = "CleanupFailed"
    """A clean-up pod failed, or can't be made or started; it is tried again."""
    CHECKPOINTS_DELETED = "CheckpointsDeleted"
    CLEANUP_GIVEN_UP = "CleanupGivenUp"
    """The task goes although its store could not be deleted; the message names the store and the reason."""


class Outcome(enum.StrEnum):
    """How an attempt ended, as `status.attempts[].outcome`."""

    COMPLETED = "Completed"
    PREEMPTED = "Preempted"
    RECOVERABLE = "Recoverable"
    FAILED = "Failed"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    CHECKPOINT_CORRUPT = "CheckpointCorrupt"
    FENCED = "Fenced"
    REFUSED = "Refused"
    DELETED = "Deleted"
    SUSPENDED = "Suspended"
    """The operator stopped it because of spec.suspend; counts nothing."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """The operator stopped it because of activeDeadlineSeconds or pendingDeadlineSeconds; counts nothing."""
    EXCUSED = "Excused"
    """A rule of failurePolicy.rules with action RetryFree says that it doesn't count."""
    REJECTED = "Rejected"
    """The node refused the pod at its door (OutOfcpu, NodeAffinity ...): the program never ran."""
    UNKNOWN = "Unknown"
    """The pod vanished, or its container did, without leaving a verdict."""


class StopReason(enum.StrEnum):
    """Why the operator itself told an attempt's pod to end, as `status.attempts[].stopping.reason`."""

    SUSPENDED = "Suspended"
    ACTIVE_DEADLINE = "ActiveDeadline"
    ATTEMPT_DEADLINE = "AttemptDeadline"
    PENDING_DEADLINE = "PendingDeadline"


class Placement(enum.StrEnum):
    """What the pod of an attempt was made from, as `status.attempts[].placement`."""

    TEMPLATE = "Template"
    ON_DEMAND = "OnDemand"
    """The template with the fields of preemptionPolicy.onDemand in place of its own."""


class DocumentReason(enum.StrEnum):
    """Why an attempt ended, in the SDK's own words (`Document.reason`)."""

    COMPLETED = "Completed"
    STOP_REQUESTED = "StopRequested"
    RECOVERABLE_ERROR = "RecoverableError"
    ERROR = "Error"
    STORAGE_ERROR = "StorageError"
    CORRUPT = "CorruptCheckpoint"
    FENCED = "Fenced"
    ATTEMPT_REFUSED = "AttemptRefused"


# --- The document --------------------------------------------------------------------------------------------
DOCUMENT_SIZE: Final = 1024
"""Bytes of one record, padding included; the operator parses no more than these."""


@dataclasses.dataclass(frozen=True)
class Position:
    """A committed checkpoint: its sequence number in the store's log and the program's own step, if it has steps."""

    sequence: int
    step: int | None = None


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What it took to restore or to save one checkpoint."""

    size_bytes: int
    """Of all files of the checkpoint."""
    moved_bytes: int
    """What was fetched from the store or sent to it: less where files have holes, where only a part was restored, and
    where a save found parts of itself in the store already."""
    milliseconds: int
    """A restore's until it was whole and verified; a save's from the beginning of its upload until it stood."""


@dataclasses.dataclass(frozen=True)
class Document:
    """What one attempt tells the operator; written at start, after the restore, at every commit and at the end.

    `fence` is the sequence number of this process's FENCE, null before it stands. A record is never replaced by
    one of a lower or null fence: a fenced process that wakes up must not overwrite its successor's verdict.
    """

    attempt: int
    fence: int | None = None
    resumed_from: Position | None = None
    started_from: Position | None = None
    """In place of `resumed_from`: the checkpoint of WAYPOST_CHECKPOINT_FROM. Its numbers are another store's, so they
    are for people, and say nothing about this task's progress."""
    committed: Position | None = None
    restore: Transfer | None = None
    """The last restore before the first save of this attempt."""
    last_save: Transfer | None = None
    """That of `committed`."""
    stop_requested: bool = False
    completed: bool = False
    highest_attempt: int | None = None
    """With reason AttemptRefused: the highest attempt the log knows; the operator goes on with one more."""
    result: str | None = None
    reason: str | None = None
    message: str | None = None

    def encode(self) -> bytes:
        """Return the record: exactly DOCUMENT_SIZE bytes, JSON in ASCII padded with spaces.

        `message` and `result` are cut until the record fits; everything else has bounded size.
        """
        message, result = self.message, self.result
        while True:
            payload = json.dumps(self._as_json(message, result), separators=(",", ":")).encode("ascii")
            if len(payload) <= DOCUMENT_SIZE:
                return payload.ljust(DOCUMENT_SIZE)
            excess = len(payload) - DOCUMENT_SIZE
            if message:
                message = _shorten(message, excess)
            elif result:
                result = _shorten(result, excess)
            else:
                raise ValueError(f"a document of {len(payload)} bytes can't be cut to {DOCUMENT_SIZE}")

    def _as_json(self, message: str | None, result: str | None) -> dict[str, Any]:
        record: dict[str, Any] = {"waypost": 1, "attempt": self.attempt, "fence": self.fence}
        for key, position in (
            ("resumedFrom", self.resumed_from),
            ("startedFrom", self.started_from),
            ("committed", self.committed),
        ):
            if position is not None:
                record[key] = {"sequence": position.sequence, "step": position.step}
        for key, moved in (("restore", self.restore), ("lastSave", self.last_save)):
            if moved is not None:
                record[key] = {
                    "sizeBytes": moved.size_bytes,
                    "movedBytes": moved.moved_bytes,
                    "milliseconds": moved.milliseconds,
                }
        if self.stop_requested:
            record["stopRequested"] = True
        if self.completed:
            record["completed"] = True
        for key, value in (
            ("highestAttempt", self.highest_attempt),
            ("reason", self.reason),
            ("message", message),
            ("result", result),
        ):
            if value is not None:
                record[key] = value
        return record

    @classmethod
    def parse(cls, raw: str | bytes | None) -> Document | None:
        """Read a termination message; anything that is not a whole, well-typed record is None, never an error.

        The message may come from a program that knows nothing of Waypost, and at most the first DOCUMENT_SIZE
        bytes are looked at.
        """
        if not raw:
            return None
        if isinstance(raw, str):
            raw = raw.encode("utf-8", "replace")
        try:
            record = json.loads(raw[:DOCUMENT_SIZE])
        except (ValueError, RecursionError):
            return None
        if not isinstance(record, dict) or record.get("waypost") != 1:
            return None
        attempt, fence = _integer(record.get("attempt")), _integer(record.get("fence"))
        if attempt is None:
            return None
        return cls(
            attempt=attempt,
            fence=fence,
            resumed_from=_position(record.get("resumedFrom")),
            started_from=_position(record.get("startedFrom")),
            committed=_position(record.get("committed")),
            restore=_transfer(record.get("restore")),
            last_save=_transfer(record.get("lastSave")),
            stop_requested=record.get("stopRequested") is True,
            completed=record.get("completed") is True,
            highest_attempt=_integer(record.get("highestAttempt")),
            result=_text(record.get("result")),
            reason=_text(record.get("reason")),
            message=_text(record.get("message")),
        )

    def write(self, path: str) -> bool:
        """Put the record into the termination message file, in place, by one pwrite.

        Returns False, and leaves the file alone, when it already holds the record of a higher fence, or one with
        a fence while ours has none. Raises OSError when the file can't be written.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            present = Document.parse(os.pread(descriptor, DOCUMENT_SIZE, 0))
            if present is not None and (present.fence or 0) > (self.fence or 0):
                return False
            record = self.encode()
            written = os.pwrite(descriptor, record, 0)
            if written != len(record):
                raise OSError(f"wrote {written} of {len(record)} bytes of the termination message {path}")
            return True
        finally:
            os.close(descriptor)


def _shorten(text: str, excess: int) -> str | None:
    """Drop at least `excess` JSON bytes from the end of `text` and mark the cut; None when nothing is left."""
    kept = text
    target = len(json.dumps(text)) - excess - 3
    while kept and len(json.dumps(kept)) > target:
        kept = kept[: -max(1, (len(json.dumps(kept)) - target) // 6)]
    return f"{kept}..." if kept else None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _position(value: object) -> Position | None:
    if not isinstance(value, dict):
        return None
    sequence = _integer(value.get("sequence"))
    return None if sequence is None else Position(sequence, _integer(value.get("step")))


def _transfer(value: object) -> Transfer | None:
    if not isinstance(value, dict):
        return None
    size, moved = _integer(value.get("sizeBytes")), _integer(value.get("movedBytes"))
    milliseconds = _integer(value.get("milliseconds"))
    if size is None or moved is None or milliseconds is None:
        return None
    return Transfer(size, moved, milliseconds)


def store_uri(base_uri: str, namespace: str, name: str, uid: str) -> str:
    """URI of a task's store: `<base>/<namespace>/<name>-<short uid>`, trailing slashes of the base stripped."""
    return f"{base_uri.rstrip('/')}/{namespace}/{name}-{uid[:SHORT_UID_LENGTH]}"


def pod_name(task: str, attempt: int) -> str:
    """Name of the pod of one attempt: `<task>-<attempt>`."""
    return f"{task}-{attempt}"


def cleanup_pod_name(task: str) -> str:
    """Name of the pod that deletes a deleted task's store; no attempt of any task can have it."""
    return f"{task}-cleanup"
