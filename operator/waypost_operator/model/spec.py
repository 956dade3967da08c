"""`CheckpointedTask.spec` as typed data; the CRD's schema is generated from these classes (`model.crd`).

Docstrings are what `kubectl explain` shows, defaults are what a stored object shows, bounds are what the API
server enforces: there is no second place. A rule in CEL carries the sentence its offender reads. The pod template
stays as the user wrote it: only what Waypost itself relies on is typed, everything else is kept and judged by the
API server when the pod is created.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from waypost import contract

START_POINT_LENGTH = 700
"""A store's URI is its base of at most 512 characters, a namespace, a name and a UID; and then `#<number>`."""
SECOND_LIMIT = 86_400
"""No wait of a backoff is longer than a day."""
INT32_LIMIT = 2**31 - 1


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Schema extension: CEL rules, each with the message of who breaks it."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


class Typed(BaseModel):
    """A part of the object: camelCase outside, unknown fields ignored (the API server has pruned or kept them)."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True, extra="ignore", frozen=True
    )


class Open(Typed):
    """A part whose undeclared fields are kept, by the API server and here."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})


class SecretReference(Typed):
    """A secret in the task's own namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the secret."""


StartPoint = Annotated[
    str,
    Field(
        min_length=1,
        max_length=START_POINT_LENGTH,
        json_schema_extra=rules(
            (
                r"self.matches('^[A-Za-z][A-Za-z0-9+.-]*://[^\\s#]+(#[1-9][0-9]*)?$')",
                "checkpoint.from must be a store's URI, without spaces: <uri>, or <uri>#<number of a checkpoint>",
            ),
            ("!self.contains('?') && !self.contains('::')", "checkpoint.from can't contain ? or ::"),
            (
                "!self.matches('^[^/]*://[^/]*@')",
                "checkpoint.from can't carry a user or password: they belong into checkpoint.credentialsSecretRef",
            ),
        ),
    ),
]


class KeepEvery(Typed):
    """The oldest checkpoint of every stretch of so many steps, or of so many seconds."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.steps) != has(self.seconds)", "retention.keepEvery needs either steps or seconds")
        )
    )

    steps: Annotated[int, Field(ge=1, le=INT32_LIMIT)] | None = None
    """One checkpoint in so many steps."""
    seconds: Annotated[int, Field(ge=1, le=INT32_LIMIT)] | None = None
    """One checkpoint in so many seconds, by the clocks of the machines that saved them."""


class KeepBest(Typed):
    """The checkpoints with the best values of a metric that the program gives to its saves."""

    metric: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the metric."""
    mode: Literal["min", "max"]
    """min if a lower value is better, max if a higher one is."""
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many are kept."""


class Retention(Typed):
    """Which checkpoints are kept: what one of the rules keeps is kept. The newest one, the one that an attempt resumed
    from and pinned ones are never pruned."""

    keep_last: Annotated[int, Field(ge=1, le=1000)] = contract.DEFAULT_KEEP_LAST
    """The newest so many."""
    keep_every: KeepEvery | None = None
    """In addition, one in every stretch of steps or seconds."""
    keep_best: KeepBest | None = None
    """In addition, the best ones by a metric."""


class CheckpointSpec(Typed):
    """Where checkpoints live."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.from) == has(oldSelf.from) && (!has(self.from) || self.from == oldSelf.from)",
                "checkpoint.from can't change, nor come or go later: attempts of one task would have begun differently",
            )
        )
    )

    uri: Annotated[
        str,
        Field(
            min_length=1,
            max_length=512,
            json_schema_extra=rules(
                ("self == oldSelf", "checkpoint.uri can't change: another store knows nothing of this task's progress"),
                (
                    r"self.matches('^[A-Za-z][A-Za-z0-9+.-]*://[^\\s]+$')",
                    "checkpoint.uri must be a URI such as s3://bucket/prefix or file:///shared/folder, without spaces",
                ),
                (
                    "!self.contains('?') && !self.contains('#') && !self.contains('::')",
                    "checkpoint.uri can't contain ?, # or ::",
                ),
                (
                    "!self.matches('^[^/]*://[^/]*@')",
                    "checkpoint.uri can't carry a user or password: they belong into checkpoint.credentialsSecretRef",
                ),
            ),
        ),
    ]
    """Folder of the checkpoint stores, a URI of any fsspec scheme. The task's own store is
    `<uri>/<namespace>/<name>-<first 8 characters of the UID>`, shown in status.checkpoint.uri. Can't change."""
    from_: StartPoint | None = Field(default=None, alias="from")
    """Where the task begins while it has no checkpoint of its own: another task's store (its status.checkpoint.uri),
    or `<store>#<number>` for one checkpoint of it. Only read, with the same credentials. Pin it there if that task
    still runs. Can't change."""
    credentials_secret_ref: SecretReference | None = None
    """Secret whose keys become environment variables of the task container (AWS_ACCESS_KEY_ID ...). Leave it out
    where the pod's service account has access. The operator itself never reads it."""
    retention: Retention = Retention()
    """Which checkpoints are kept; a change applies at the next attempt."""
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    """What becomes of the task's own store when the task is deleted. Retain: it stays, and an Event names it. Delete: a
    clean-up pod deletes it before the task goes (finalizer waypost.dev/delete-checkpoints). Can change at any time."""


class Backoff(Typed):
    """How long to wait before a relaunch: initialSeconds, doubled each time without progress, up to maxSeconds."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.initialSeconds <= self.maxSeconds",
                "backoff.initialSeconds can't be greater than backoff.maxSeconds",
            )
        )
    )

    initial_seconds: Annotated[int, Field(ge=1, le=SECOND_LIMIT)] = 10
    """The first wait, in seconds. A program that reports no steps makes progress only if it saved something and
    ran at least this long."""
    max_seconds: Annotated[int, Field(ge=1, le=SECOND_LIMIT)] = 600
    """The longest wait, in seconds."""


class PodConditionPattern(Typed):
    """A condition of the pod, by type, status and, if given, reason."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """Its type, such as DisruptionTarget."""
    status: Literal["True", "False", "Unknown"] = "True"
    """Its status."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Its reason, such as PreemptionByScheduler; any if left out."""


class FailureRule(Typed):
    """How one kind of end is judged, instead of by Waypost's own rules."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.onExitCodes), has(self.onConditions), has(self.onReasons)].filter(given, given).size() == 1",
                "a rule of failurePolicy.rules needs exactly one of onExitCodes, onConditions and onReasons",
            )
        )
    )

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=63,
            json_schema_extra=rules(
                (
                    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
                    "the name of a failure rule consists of lower-case letters, digits and inner dashes",
                )
            ),
        ),
    ]
    """Its name, shown in status.attempts[].rule. Waypost's own rules begin with a capital letter."""
    action: Literal["Retry", "RetryFree", "Fail"]
    """Retry: as after exit code 75, free with progress and a failure without. RetryFree: never counted; without
    progress it backs off. Fail: the task fails at once."""
    on_exit_codes: (
        Annotated[
            list[Annotated[int, Field(ge=1, le=255)]],
            Field(min_length=1, max_length=255, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Exit codes of the task container. Such a rule is asked only when nothing told the program to stop: what it
    exits with after that says nothing."""
    on_conditions: Annotated[list[PodConditionPattern], Field(min_length=1, max_length=20)] | None = None
    """Conditions of the pod; one that fits is enough. One set long after the program's end says nothing about it."""
    on_reasons: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=253)]],
            Field(
                min_length=1,
                max_length=20,
                json_schema_extra={
                    "x-kubernetes-list-type": "set",
                    **rules(
                        (
                            "self.all(reason, reason != 'Error' && reason != 'Completed')",
                            "onReasons can't name Error or Completed: they say no more than the exit code does",
                        )
                    ),
                },
            ),
        ]
        | None
    ) = None
    """Reasons, of the pod (status.reason, such as Evicted or DeadlineExceeded) or of the task container's end
    (state.terminated.reason, such as OOMKilled)."""


class FailurePolicy(Typed):
    """What counts as a failure, and how many are borne. Preemptions never count here."""

    max_failures: Annotated[int, Field(ge=0, le=1_000_000)] = 3
    """The task fails when its failures since the last progress exceed this number; 0 allows none."""
    recoverable_exit_codes: Annotated[
        list[Annotated[int, Field(ge=1, le=255)]],
        Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = []
    """Exit codes of the task container that ask for a relaunch, in addition to 75: free with progress, a failure
    without."""
    rules: Annotated[
        list[FailureRule],
        Field(
            max_length=20,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """Rules for ends that this task knows better; the first that fits wins. Those on conditions and reasons come
    before Waypost's own, those on exit codes after an order to stop and before recoverableExitCodes."""
    backoff: Backoff = Backoff()
    """Waits between attempts that make no progress."""


class Toleration(Typed):
    """A toleration, as in a pod."""

    key: Annotated[str, Field(max_length=316)] | None = None
    """Key of the taint; any if left out."""
    operator: Annotated[str, Field(max_length=16)] | None = None
    """Exists or Equal, the default."""
    value: Annotated[str, Field(max_length=253)] | None = None
    """Value of the taint."""
    effect: Annotated[str, Field(max_length=32)] | None = None
    """Effect of the taint; any if left out."""
    toleration_seconds: Annotated[int, Field(ge=0, le=INT32_LIMIT)] | None = None
    """How long a NoExecute taint is borne; for ever if left out."""


class Affinity(Open):
    """An affinity, as in a pod; judged when a pod with it is created."""


class OnDemand(Typed):
    """What the pods of attempts on demand have in place of the template's: a field given here replaces the whole
    field there, one that is left out stays as it is there."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.nodeSelector) || has(self.affinity) || has(self.tolerations) || has(self.priorityClassName)",
                "onDemand needs at least one of nodeSelector, affinity, tolerations and priorityClassName",
            )
        )
    )

    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]] | None, Field(max_length=64)] = None
    """Replaces the template's nodeSelector."""
    affinity: Affinity | None = None
    """Replaces the template's affinity."""
    tolerations: Annotated[list[Toleration], Field(max_length=64)] | None = None
    """Replaces the template's tolerations; those for lost nodes are added as they are there."""
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    """Replaces the template's priorityClassName."""


class PreemptionPolicy(Typed):
    """How many preemptions are borne, and when to leave machines that can be taken away."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.onDemandAfter) || has(self.onDemand)",
                "preemptionPolicy.onDemandAfter needs preemptionPolicy.onDemand: what the pods are to have then",
            ),
            (
                "!has(self.onDemandAfter) || !has(self.maxPreemptions) || self.onDemandAfter <= self.maxPreemptions",
                "preemptionPolicy.onDemandAfter can't be greater than maxPreemptions: the task would fail before",
            ),
        )
    )

    max_preemptions: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """The task fails when its preemptions, all of them, exceed this number. No limit by default."""
    on_demand_after: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """After so many preemptions, all of them, attempts run on demand, and stay there."""
    on_demand: OnDemand | None = None
    """What pods on demand have in place of the template's."""


class TemplateMetadata(Open):
    """Labels and annotations reach the pod; Waypost adds its own labels."""

    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]] | None, Field(max_length=256)] = None
    """Labels of every pod of the task."""
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=262_144)]] | None, Field(max_length=256)] = None
    """Annotations of every pod of the task."""


class Container(Open):
    """A container, as in a pod."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the container."""


class PodSpec(Open):
    """A pod's spec, as in a pod; fields not listed here are kept and judged when the pod is created."""

    restart_policy: Annotated[
        str,
        Field(
            max_length=16,
            json_schema_extra=rules(
                (
                    "self == 'Never'",
                    "restartPolicy must be Never (or left out): Waypost starts every attempt as a new pod",
                )
            ),
        ),
    ] = "Never"
    """Never: Waypost starts every attempt as a new pod."""
    containers: Annotated[
        list[Container],
        Field(
            min_length=1,
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    """The pod's containers. One of them, the task container, decides how an attempt ended."""


class PodTemplate(Open):
    """What every pod of the task is made from; a change applies at the next attempt."""

    metadata: TemplateMetadata | None = None
    """Labels and annotations of the pods."""
    spec: PodSpec
    """The pods' spec."""


Deadline = Annotated[int, Field(ge=1, le=INT32_LIMIT)]


class TaskSpec(Typed):
    """A long task that survives losing its machine."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.container) || self.template.spec.containers.exists(c, c.name == self.container)",
                "container must be the name of a container in template.spec.containers",
            )
        )
    )

    container: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """The task container: it gets the WAYPOST_* variables, and its exit decides. By default the one named by the
    template's annotation kubectl.kubernetes.io/default-container, else the first."""
    checkpoint: CheckpointSpec
    """Where checkpoints live."""
    failure_policy: FailurePolicy = FailurePolicy()
    """What counts as a failure, and how many are borne."""
    preemption_policy: PreemptionPolicy = PreemptionPolicy()
    """How many preemptions are borne, and when to leave machines that can be taken away."""
    replace_unreachable_after_seconds: Annotated[int, Field(ge=1, le=INT32_LIMIT)] = 120
    """A pod that should have ended is left behind when nothing has been heard of its node (Ready is Unknown) for so
    long: the next attempt starts beside it. Needs the right to read nodes."""
    suspend: bool = False
    """True stops the running attempt gracefully and starts none; false goes on from the newest checkpoint. Nothing is
    counted, and the time suspended doesn't count for activeDeadlineSeconds."""
    active_deadline_seconds: Deadline | None = None
    """The task fails when so many seconds have passed since its first attempt began to run, time suspended left out.
    The running attempt is stopped gracefully; if it completes all the same, the task succeeds. No limit by default."""
    attempt_deadline_seconds: Deadline | None = None
    """An attempt that has run for so many seconds is stopped gracefully and judged like a recoverable exit: free with
    progress, a failure without. No limit by default."""
    pending_deadline_seconds: Deadline | None = None
    """When the task container has not begun to run so many seconds after its pod was created, the pod is deleted: the
    next attempt runs on demand, if preemptionPolicy.onDemand is set and this one didn't; else the task fails. No limit
    by default: waiting for spot machines is normal."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=INT32_LIMIT)] | None = None
    """The task is deleted so many seconds after it succeeded or failed, as if by hand: what becomes of its checkpoints
    is checkpoint.deletionPolicy's. A change until then is heeded. Kept for ever by default."""
    template: PodTemplate
    """What every pod of the task is made from."""


TASK_RULES = rules(
    (
        f"size(self.metadata.name) <= {contract.MAX_TASK_NAME_LENGTH}",
        f"metadata.name can't exceed {contract.MAX_TASK_NAME_LENGTH} characters: pods are called <name>-<attempt>",
    )
)
"""Rules about the whole object."""
