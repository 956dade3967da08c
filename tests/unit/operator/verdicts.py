"""What every captured end is: its outcome, the rule and the evidence that stand in status, and the budget it spends.

The rows are what docs/task.md and docs/disruptions.md promise, written out by hand for each captured pod, budgets
included: nothing of them is worked out by the code that they judge.
"""

from __future__ import annotations

import dataclasses

from waypost.contract import Outcome


@dataclasses.dataclass(frozen=True)
class Spent:
    """The one of `counts` and the one of `sinceProgress` that an end raises; None: none of them."""

    total: str | None
    since: str | None
    total_with_progress: str | None
    since_with_progress: str | None


NOTHING = Spent(None, None, None, None)
PREEMPTION = Spent("preemptions", "preemptions", "preemptions", None)
DELETION = Spent("freeRetries", "preemptions", "freeRetries", None)
FAILURE = Spent("failures", "failures", "failures", "failures")
RECOVERY = Spent("failures", "failures", "freeRetries", None)
UNKNOWN = Spent("freeRetries", "unknown", "freeRetries", None)
REJECTION = Spent("freeRetries", "refused", "freeRetries", None)


@dataclasses.dataclass(frozen=True)
class Row:
    """One captured end."""

    outcome: Outcome
    rule: str
    evidence: str
    spent: Spent


ROWS: dict[str, Row] = {
    # rejected at the node's door: the program never ran
    "admitcpu-a": Row(
        Outcome.REJECTED,
        "RejectedByNode",
        "OutOfcpu on node-3: Pod was rejected: Node didn't have enough resource: "
        "cpu, requested: 50000, used: 20, capacity: 2000",
        REJECTION,
    ),
    "admitmem-a": Row(
        Outcome.REJECTED,
        "RejectedByNode",
        "OutOfmemory on node-3: Pod was rejected: Node didn't have enough resource: "
        "memory, requested: 536870912000, used: 134217728, capacity: 25171644416",
        REJECTION,
    ),
    "admitpressure-a": Row(
        Outcome.REJECTED,
        "RejectedByNode",
        "Evicted on node-2: Pod was rejected: The node had condition: [MemoryPressure]. ",
        REJECTION,
    ),
    "admitsel-a": Row(
        Outcome.REJECTED,
        "RejectedByNode",
        "NodeAffinity on node-3: Pod was rejected: "
        "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        REJECTION,
    ),
    "gnsadmit-a": Row(
        Outcome.PREEMPTED,
        "RejectedByNodeShutdown",
        "NodeShutdown: node node-3 went down before the program could start",
        PREEMPTION,
    ),
    # the pod's own deadline is no free preemption
    "deadline-a": Row(
        Outcome.RECOVERABLE,
        "PodDeadline",
        "DeadlineExceeded: Pod was active on the node longer than the specified deadline",
        RECOVERY,
    ),
    "deadline-b": Row(
        Outcome.RECOVERABLE,
        "PodDeadline",
        "DeadlineExceeded: Pod was active on the node longer than the specified deadline",
        RECOVERY,
    ),
    "deadline-c": Row(
        Outcome.RECOVERABLE,
        "PodDeadline",
        "DeadlineExceeded: Pod was active on the node longer than the specified deadline",
        RECOVERY,
    ),
    # deleted by hand, on a healthy node
    "delete-a": Row(Outcome.DELETED, "PodDeleted", "the pod was deleted", DELETION),
    "delete-b": Row(Outcome.DELETED, "PodDeleted", "the pod was deleted", DELETION),
    "delete-c": Row(Outcome.DELETED, "PodDeleted", "the pod was deleted", DELETION),
    "forcefinalizer-a": Row(Outcome.DELETED, "PodDeleted", "the pod was deleted", DELETION),
    "forcefinalizer-b": Row(Outcome.DELETED, "PodDeleted", "the pod was deleted", DELETION),
    "force-a": Row(Outcome.UNKNOWN, "Vanished", "the pod vanished before its end was seen", UNKNOWN),
    "force-b": Row(Outcome.UNKNOWN, "Vanished", "the pod vanished before its end was seen", UNKNOWN),
    "force-c": Row(Outcome.UNKNOWN, "Vanished", "the pod vanished before its end was seen", UNKNOWN),
    # disruptions
    "evict-a": Row(Outcome.PREEMPTED, "Disruption", "EvictionByEvictionAPI on node-2", PREEMPTION),
    "evict-b": Row(Outcome.PREEMPTED, "Disruption", "EvictionByEvictionAPI on node-2", PREEMPTION),
    "evict-c": Row(Outcome.PREEMPTED, "Disruption", "EvictionByEvictionAPI on node-2", PREEMPTION),
    "jobevict-a": Row(Outcome.PREEMPTED, "Disruption", "EvictionByEvictionAPI on node-1", PREEMPTION),
    "jobevict-b": Row(Outcome.PREEMPTED, "Disruption", "EvictionByEvictionAPI on node-1", PREEMPTION),
    "gns-a": Row(Outcome.PREEMPTED, "Disruption", "TerminationByKubelet on node-3", PREEMPTION),
    "gns-b": Row(Outcome.PREEMPTED, "Disruption", "TerminationByKubelet on node-3", PREEMPTION),
    "gns-c": Row(Outcome.PREEMPTED, "Disruption", "TerminationByKubelet on node-3", PREEMPTION),
    "gns60-a": Row(Outcome.PREEMPTED, "Disruption", "TerminationByKubelet on node-3", PREEMPTION),
    "gns60-b": Row(Outcome.PREEMPTED, "Disruption", "TerminationByKubelet on node-3", PREEMPTION),
    "mempressure-a": Row(Outcome.PREEMPTED, "Disruption", "TerminationByKubelet on node-2", PREEMPTION),
    "mempressure-b": Row(Outcome.PREEMPTED, "Disruption", "TerminationByKubelet on node-2", PREEMPTION),
    "mempressure-c": Row(Outcome.PREEMPTED, "Disruption", "TerminationByKubelet on node-2", PREEMPTION),
    "nodedel-a": Row(Outcome.PREEMPTED, "Disruption", "DeletionByPodGC on node-2", PREEMPTION),
    "nodedel-b": Row(Outcome.PREEMPTED, "Disruption", "DeletionByPodGC on node-2", PREEMPTION),
    "nodedelalive-a": Row(Outcome.PREEMPTED, "Disruption", "DeletionByPodGC on node-2", PREEMPTION),
    "nodedelalive-b": Row(Outcome.PREEMPTED, "Disruption", "DeletionByPodGC on node-2", PREEMPTION),
    "nodedelalive-c": Row(Outcome.PREEMPTED, "Disruption", "DeletionByPodGC on node-2", PREEMPTION),
    "preempt-a": Row(Outcome.PREEMPTED, "Disruption", "PreemptionByScheduler on node-3", PREEMPTION),
    "preempt-b": Row(Outcome.PREEMPTED, "Disruption", "PreemptionByScheduler on node-3", PREEMPTION),
    "preempt-c": Row(Outcome.PREEMPTED, "Disruption", "PreemptionByScheduler on node-3", PREEMPTION),
    "taint-a": Row(Outcome.PREEMPTED, "Disruption", "DeletionByTaintManager on node-3", PREEMPTION),
    "taint-b": Row(Outcome.PREEMPTED, "Disruption", "DeletionByTaintManager on node-3", PREEMPTION),
    "taint-c": Row(Outcome.PREEMPTED, "Disruption", "DeletionByTaintManager on node-3", PREEMPTION),
    "zombieback-a": Row(Outcome.PREEMPTED, "Disruption", "DeletionByTaintManager on node-2", PREEMPTION),
    "zombieback-b": Row(Outcome.PREEMPTED, "Disruption", "DeletionByTaintManager on node-2", PREEMPTION),
    "zombieback-c": Row(Outcome.PREEMPTED, "Disruption", "DeletionByTaintManager on node-2", PREEMPTION),
    "zombieheal-a": Row(Outcome.PREEMPTED, "Disruption", "DeletionByTaintManager on node-2", PREEMPTION),
    "zombieheal-b": Row(Outcome.PREEMPTED, "Disruption", "DeletionByTaintManager on node-2", PREEMPTION),
    "zombieheal-c": Row(Outcome.PREEMPTED, "Disruption", "DeletionByTaintManager on node-2", PREEMPTION),
    # a machine that lost power and came back
    "hardreboot-a": Row(Outcome.UNKNOWN, "Vanished", "the container was lost", UNKNOWN),
    "hardreboot-b": Row(Outcome.UNKNOWN, "Vanished", "the container was lost", UNKNOWN),
    # an empty machine that came up under the name of one that was lost
    "replaced-a": Row(Outcome.UNKNOWN, "Vanished", "the container was lost", UNKNOWN),
    # the program's own ends; a pod collected long after its end is one of them
    "exit0-a": Row(Outcome.COMPLETED, "ExitCode", "exit code 0, and nothing told the program to stop", NOTHING),
    "nodedel-done": Row(Outcome.COMPLETED, "ExitCode", "exit code 0, and nothing told the program to stop", NOTHING),
    "exit1-a": Row(Outcome.FAILED, "ExitCode", "exit code 1", FAILURE),
    "exit137-a": Row(Outcome.FAILED, "ExitCode", "exit code 137", FAILURE),
    "exit75-a": Row(Outcome.RECOVERABLE, "ExitCode", "exit code 75", RECOVERY),
    "oom-a": Row(Outcome.FAILED, "ExitCode", "exit code 137 (OOMKilled: over its memory limit)", FAILURE),
    "oomchild-a": Row(Outcome.FAILED, "ExitCode", "exit code 1 (OOMKilled: over its memory limit)", FAILURE),
    # a limit of its own; `a` exits 0 and leaves no trace: one of the two gaps that docs/task.md names
    "sizelimit-a": Row(Outcome.COMPLETED, "ExitCode", "exit code 0, and nothing told the program to stop", NOTHING),
    "sizelimit-b": Row(
        Outcome.FAILED, "Evicted", 'Evicted: Usage of EmptyDir volume "s" exceeds the limit "4Mi". ', FAILURE
    ),
    "sizelimit-c": Row(
        Outcome.FAILED, "Evicted", 'Evicted: Usage of EmptyDir volume "s" exceeds the limit "4Mi". ', FAILURE
    ),
}
NEVER_END = {"kubeletrestart-a", "preemptor-a"}
"""Pods that lived on: a kubelet's restart isn't even seen, and who preempts another is harmed by nothing."""
