"""How the end of an attempt is judged: the first rule that matches wins.

The order is the point. What the store said comes first (a refused or fenced process did nothing). A completion
counts whatever the exit code says, because it was confirmed before. Then our own orders to stop (suspend, deadlines):
we know why that pod had to end. Then the ends that a pod's own limits brought about, which must not pass as
preemptions; then orders to stop, whatever the exit code, because a program told to
stop may exit with anything, 0 included; only then is the exit code the program's own word.

The user's rules stand in two places. Those on conditions and reasons speak of what ended the pod, so they come before
our own rules about that. Those on exit codes speak of the program's word, so they come after every order to stop.

Each rule is one small function with the name that stands in `status.attempts[].rule`. A rule that has to know
the node asks for it (`NodeNeeded`), so that the API server is asked only where the answer matters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from waypost import contract
from waypost.contract import DocumentReason, Outcome, StopReason
from waypost_operator.model.node import NodeSeen
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import NO_TIME
from waypost_operator.model.spec import FailureRule
from waypost_operator.model.status import Stopping
from waypost_operator.policy import evidence, failure_rules


@dataclasses.dataclass(frozen=True, kw_only=True)
class End:
    """All that a verdict may look at."""

    attempt: int
    pod: Pod | None
    """The attempt's pod as last seen, with what earlier states showed; None when this operator process never saw it."""
    gone: bool = False
    """The pod object no longer exists."""
    left_behind: str = ""
    """Why the task goes on although the pod may still run (its node is unreachable); empty: it has ended."""
    node: NodeSeen | None = None
    """Its node, if somebody has looked."""
    node_name: str = ""
    recoverable_exit_codes: frozenset[int] = frozenset()
    stopping: Stopping | None = None
    """Our own order to end this attempt."""
    rules: Sequence[FailureRule] = ()
    """The user's own, failurePolicy.rules."""

    @property
    def document(self) -> contract.Document | None:
        """The SDK's record, if it is this attempt's."""
        found = self.pod.document if self.pod else None
        return found if found is not None and found.attempt == self.attempt else None

    @property
    def exit_code(self) -> int | None:
        return self.pod.ended.exit_code if self.pod and self.pod.ended else None

    @property
    def never_ran(self) -> bool:
        """The kubelet never made a container of the pod."""
        statuses = self.pod.raw.get("status", {}) if self.pod else {}
        return not statuses.get("containerStatuses") and not statuses.get("initContainerStatuses")


@dataclasses.dataclass(frozen=True)
class NodeNeeded:
    """The verdict depends on the state of this node."""

    name: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a rule says: the outcome, and what it saw."""

    outcome: Outcome
    evidence: str
    by: str = ""
    """Name of the user's rule that says so."""
    fails_task: bool = False
    """No attempt follows, whatever the budgets say."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The judged end of an attempt."""

    outcome: Outcome
    rule: str
    evidence: str
    exit_code: int | None
    document: contract.Document | None
    fails_task: bool = False
    """A user's rule with action Fail: no attempt follows."""


Rule = Callable[[End, "Pod"], Finding | NodeNeeded | None]


def classify(end: End) -> Verdict | NodeNeeded:
    """Judge the end of an attempt. `end.pod` is terminal, gone or left behind, or its task container ended long ago."""
    for name, rule in RULES:
        finding = rule(end, end.pod or _NEVER_SEEN)
        if isinstance(finding, NodeNeeded):
            return finding
        if finding is not None:
            return Verdict(
                finding.outcome,
                finding.by or name,
                finding.evidence[:1024],
                end.exit_code,
                end.document,
                finding.fails_task,
            )
    raise AssertionError("the last rule judges everything")


# --- what the store said -------------------------------------------------------------------------------------
def _refused(end: End, _: Pod) -> Finding | None:
    document = end.document
    if document is None or document.reason != DocumentReason.ATTEMPT_REFUSED:
        return None
    return Finding(Outcome.REFUSED, document.message or f"the store already knows attempt {document.highest_attempt}")


def _fenced(end: End, _: Pod) -> Finding | None:
    document = end.document
    if document is None or document.reason != DocumentReason.FENCED:
        return None
    return Finding(Outcome.FENCED, document.message or "a newer attempt has taken the store over")


def _completed(end: End, _: Pod) -> Finding | None:
    if end.document is None or not end.document.completed:
        return None
    return Finding(Outcome.COMPLETED, "the program completed and its store says so")


# --- our own order to stop -----------------------------------------------------------------------------------
STOPPED = {
    StopReason.SUSPENDED: Outcome.SUSPENDED,
    StopReason.ACTIVE_DEADLINE: Outcome.DEADLINE_EXCEEDED,
    StopReason.ATTEMPT_DEADLINE: Outcome.RECOVERABLE,
    StopReason.PENDING_DEADLINE: Outcome.DEADLINE_EXCEEDED,
}


def _own_stop(end: End, pod: Pod) -> Finding | None:
    """Not where the program had ended before the pod was deleted: then the order came too late to be the reason."""
    order = end.stopping
    vanished = end.gone and not pod.terminal
    if order is None or not (vanished or evidence.deleted(pod)):
        return None
    return Finding(STOPPED[order.reason], order.message, by=order.reason)


# --- a machine that is cut off -------------------------------------------------------------------------------
def _unreachable(end: End, _: Pod) -> Finding | None:
    return Finding(Outcome.PREEMPTED, end.left_behind) if end.left_behind else None


# --- the user's rules ----------------------------------------------------------------------------------------
ACTIONS = {"Retry": Outcome.RECOVERABLE, "RetryFree": Outcome.EXCUSED, "Fail": Outcome.FAILED}


def _rule_on_the_pod(end: End, pod: Pod) -> Finding | None:
    return _by_rule(failure_rules.on_the_pod(end.rules, pod))


def _rule_on_the_exit_code(end: End, _: Pod) -> Finding | None:
    return _by_rule(failure_rules.on_the_exit_code(end.rules, end.exit_code))


def _by_rule(match: failure_rules.Match | None) -> Finding | None:
    if match is None:
        return None
    action = match.rule.action
    evidence = f"{match.what}, by rule {match.rule.name} ({action})"
    return Finding(ACTIONS[action], evidence, by=match.rule.name, fails_task=action == "Fail")


# --- ends that the pod's own limits, or its node's door, brought about ---------------------------------------
def _pod_deadline(_: End, pod: Pod) -> Finding | None:
    if pod.reason != "DeadlineExceeded":
        return None
    return Finding(Outcome.RECOVERABLE, f"DeadlineExceeded: {pod.message or 'activeDeadlineSeconds of the pod passed'}")


def _rejected_by_shutdown(end: End, pod: Pod) -> Finding | None:
    if not (pod.phase == "Failed" and pod.reason == "NodeShutdown" and end.never_ran):
        return None
    return Finding(Outcome.PREEMPTED, f"NodeShutdown: node {pod.node} went down before the program could start")


def _rejected(end: End, pod: Pod) -> Finding | None:
    if pod.phase != "Failed" or not end.never_ran or not pod.reason or evidence.stopped(pod):
        return None
    return Finding(Outcome.REJECTED, f"{pod.reason} on {pod.node}: {pod.message}")


def _evicted(_: End, pod: Pod) -> Finding | None:
    """Evicted without DisruptionTarget: the pod broke a limit of its own, unless the kubelet blames the node."""
    if pod.reason != "Evicted" or pod.disruption is not None:
        return None
    blames_the_node = "node had condition" in pod.message or "node was low on" in pod.message
    return Finding(Outcome.PREEMPTED if blames_the_node else Outcome.FAILED, f"Evicted: {pod.message}")


# --- orders to stop ------------------------------------------------------------------------------------------
def _disrupted(_: End, pod: Pod) -> Finding | None:
    reason = evidence.disruption(pod)
    return Finding(Outcome.PREEMPTED, f"{reason}{_on(pod)}") if reason else None


def _vanished(end: End, pod: Pod) -> Finding | NodeNeeded | None:
    """No verdict was left behind: the object vanished before its end, or the runtime lost the container."""
    vanished = end.gone and not pod.terminal  # an exit code seen before the terminal phase is no verdict yet
    over_without_a_word = pod.terminal and pod.running
    if not (pod.lost or vanished or over_without_a_word):
        return None
    what = "the container was lost" if pod.lost else "the pod vanished before its end was seen"
    return _by_node(end, pod, otherwise=Outcome.UNKNOWN, what=what)


def _straggling(end: End, pod: Pod) -> Finding | NodeNeeded | None:
    """The pod outlives its task container. On a healthy node other containers keep it; on one that goes down its
    kubelet has ended the container and died before it could say why, so the exit code is no word of the program.
    """
    if pod.terminal or end.gone or pod.ended is None:
        return None
    judged = _by_node(end, pod, otherwise=Outcome.UNKNOWN, what="the container ended and the pod did not")
    return judged if isinstance(judged, NodeNeeded) or judged.outcome is Outcome.PREEMPTED else None


def _deleted(end: End, pod: Pod) -> Finding | NodeNeeded | None:
    if not evidence.deleted(pod):
        return None
    return _by_node(end, pod, otherwise=Outcome.DELETED, what="the pod was deleted")


def _stop_requested(end: End, pod: Pod) -> Finding | None:
    """Not where its memory limit killed it: then the order may be old, and an exit code of its own was not to be."""
    if end.document is None or not end.document.stop_requested or _out_of_memory(end, pod):
        return None
    return Finding(Outcome.PREEMPTED, f"the program was told to stop{_on(pod)}")


# --- the program's own word ----------------------------------------------------------------------------------
def _out_of_memory(end: End, pod: Pod) -> bool:
    """Killed at its memory limit; exit code 0 or 75 says that the program went on to obey the order."""
    obeyed = end.exit_code in (contract.EXIT_COMPLETE, contract.EXIT_RECOVERABLE)
    return pod.ended is not None and pod.ended.reason == "OOMKilled" and not obeyed


def _init_failed(end: End, pod: Pod) -> Finding | None:
    failed = pod.failed_init_container
    if failed is None or end.exit_code is not None:
        return None
    return Finding(Outcome.FAILED, f"init container {failed[0]} exited with {failed[1]}: the program never ran")


def _user_exit_code(end: End, _: Pod) -> Finding | None:
    if end.exit_code not in end.recoverable_exit_codes:
        return None
    return Finding(Outcome.RECOVERABLE, f"exit code {end.exit_code}, one of failurePolicy.recoverableExitCodes")


def _exit_code(end: End, pod: Pod) -> Finding | None:
    if end.exit_code is None:
        return None
    said = f": {end.document.message}" if end.document and end.document.message else ""
    match end.exit_code:
        case contract.EXIT_COMPLETE:
            return Finding(Outcome.COMPLETED, "exit code 0, and nothing told the program to stop")
        case contract.EXIT_RECOVERABLE:
            return Finding(Outcome.RECOVERABLE, f"exit code 75{said}")
        case contract.EXIT_STORAGE:
            return Finding(Outcome.STORAGE_UNAVAILABLE, f"exit code 74{said}")
        case contract.EXIT_CORRUPT:
            return Finding(Outcome.CHECKPOINT_CORRUPT, f"exit code 65{said}")
    killed = " (OOMKilled: over its memory limit)" if pod.ended and pod.ended.reason == "OOMKilled" else ""
    return Finding(Outcome.FAILED, f"exit code {end.exit_code}{killed}{said}")


def _no_trace(end: End, pod: Pod) -> Finding:
    """Terminal without an exit code of the task container and without a reason known to any rule above."""
    return Finding(Outcome.UNKNOWN, f"the pod ended as {pod.phase} {pod.reason} without a word of its task container")


RULES: tuple[tuple[str, Rule], ...] = (
    ("AttemptRefused", _refused),
    ("Fenced", _fenced),
    ("CompletedInDocument", _completed),
    ("(our own stop)", _own_stop),
    ("NodeUnreachable", _unreachable),
    ("(a rule on conditions or reasons)", _rule_on_the_pod),
    ("PodDeadline", _pod_deadline),
    ("RejectedByNodeShutdown", _rejected_by_shutdown),
    ("RejectedByNode", _rejected),
    ("Evicted", _evicted),
    ("Disruption", _disrupted),
    ("Vanished", _vanished),
    ("PodDeleted", _deleted),
    ("NodeInTrouble", _straggling),
    ("StopRequested", _stop_requested),
    ("InitContainerFailed", _init_failed),
    ("(a rule on exit codes)", _rule_on_the_exit_code),
    ("RecoverableExitCode", _user_exit_code),
    ("ExitCode", _exit_code),
    ("NoTrace", _no_trace),
)

_NEVER_SEEN = Pod({}, NO_TIME)


def _by_node(end: End, pod: Pod, *, otherwise: Outcome, what: str) -> Finding | NodeNeeded:
    """A preemption when the node is in trouble; else `otherwise`."""
    name = pod.node or end.node_name
    if name and end.node is None:
        return NodeNeeded(name)
    trouble = evidence.node_trouble(end.node, end.pod)
    return Finding(Outcome.PREEMPTED if trouble else otherwise, f"{what}; {trouble}" if trouble else what)


def _on(pod: Pod) -> str:
    return f" on {pod.node}" if pod.node else ""
