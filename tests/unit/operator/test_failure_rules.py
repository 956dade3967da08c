"""The user's rules: each fits what it names, at its place in the order of judging, and does what its action says."""

from __future__ import annotations

import copy
import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.operator import captured
from tests.unit.operator.story import Story, document
from tests.unit.operator.tasks import task
from waypost.contract import ConditionReason, Document, Outcome
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import Json, timestamp
from waypost_operator.model.spec import FailureRule
from waypost_operator.policy.classify import End, NodeNeeded, Verdict, classify

TARGET = {"type": "DisruptionTarget"}
BY_SCHEDULER = {**TARGET, "reason": "PreemptionByScheduler"}


def rule(action: str, name: str = "mine", **looks_at: object) -> Json:
    return {"name": name, "action": action, **looks_at}


def judge(name: str, *rules: Json, record: Document | None = None, pod: Pod | None = None) -> Verdict:
    """The verdict on a captured end, under these rules."""
    seen = captured.history(name)[-1]
    pod = pod or (captured.with_document(seen.pod, record) if record else seen.pod)
    theirs = tuple(FailureRule.model_validate(one) for one in rules)
    end = End(attempt=3, pod=pod, gone=seen.type == "DELETED", rules=theirs)
    verdict = classify(end)
    if isinstance(verdict, NodeNeeded):
        verdict = classify(dataclasses.replace(end, node=captured.node_at(verdict.name, seen.at)))
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("name", "looks_at"),
    [
        ("exit1-a", {"onExitCodes": [7, 1]}),
        ("exit75-a", {"onExitCodes": [75]}),
        ("oom-a", {"onExitCodes": [137]}),
        ("oom-a", {"onReasons": ["OOMKilled"]}),
        ("oomchild-a", {"onReasons": ["OOMKilled"]}),
        ("deadline-a", {"onReasons": ["DeadlineExceeded"]}),
        ("sizelimit-b", {"onReasons": ["Evicted"]}),
        ("admitcpu-a", {"onReasons": ["OutOfmemory", "OutOfcpu"]}),
        ("gnsadmit-a", {"onReasons": ["NodeShutdown"]}),
        ("evict-a", {"onConditions": [TARGET]}),
        ("preempt-b", {"onConditions": [BY_SCHEDULER]}),
        ("gns-a", {"onConditions": [TARGET]}),
        ("exit1-a", {"onConditions": [{"type": "Ready", "status": "False", "reason": "PodFailed"}]}),
    ],
)
@pytest.mark.parametrize(
    ("action", "outcome"),
    [("Retry", Outcome.RECOVERABLE), ("RetryFree", Outcome.EXCUSED), ("Fail", Outcome.FAILED)],
)
def test_a_rule_judges_the_end_that_it_names(
    name: str, looks_at: dict[str, Any], action: str, outcome: Outcome
) -> None:
    verdict = judge(name, rule(action, **looks_at))
    assert (verdict.outcome, verdict.rule, verdict.fails_task) == (outcome, "mine", action == "Fail")
    assert f"by rule mine ({action})" in verdict.evidence


@pytest.mark.parametrize(
    ("name", "looks_at"),
    [
        ("exit1-a", {"onExitCodes": [2]}),
        ("exit0-a", {"onExitCodes": list(range(1, 256))}),
        ("evict-b", {"onConditions": [BY_SCHEDULER]}),
        ("evict-b", {"onConditions": [{**TARGET, "status": "False"}]}),
        ("exit1-a", {"onReasons": ["OOMKilled"]}),
        ("force-a", {"onConditions": [TARGET]}),
    ],
)
def test_a_rule_leaves_alone_what_it_does_not_name(name: str, looks_at: dict[str, Any]) -> None:
    with_rule, without = judge(name, rule("Fail", **looks_at)), judge(name)
    assert with_rule == without


@pytest.mark.parametrize("name", [name for name in captured.NAMES if name.endswith(("-b", "-c"))])
def test_a_rule_on_exit_codes_never_turns_an_order_to_stop_into_a_failure(name: str) -> None:
    assert judge(name, rule("Fail", onExitCodes=list(range(1, 256)))) == judge(name)


def test_what_the_program_exits_with_after_the_sdk_was_told_to_stop_is_no_matter_of_a_rule() -> None:
    told = Document(attempt=3, fence=9, stop_requested=True)
    assert judge("exit1-a", rule("Fail", onExitCodes=[1]), record=told).outcome is Outcome.PREEMPTED


@pytest.mark.parametrize("action", ["Retry", "RetryFree", "Fail"])
def test_no_rule_undoes_a_confirmed_completion(action: str) -> None:
    done = Document(attempt=3, fence=9, completed=True)
    for looks_at in ({"onExitCodes": [1]}, {"onConditions": [{"type": "Ready", "status": "False"}]}):
        assert judge("exit1-a", rule(action, **looks_at), record=done).outcome is Outcome.COMPLETED


def test_of_several_rules_that_fit_the_first_wins() -> None:
    one, other = rule("Retry", "one", onExitCodes=[1]), rule("Fail", "other", onExitCodes=[1, 2])
    assert judge("exit1-a", one, other).rule == "one"
    assert judge("exit1-a", other, one).rule == "other"


def test_a_condition_set_long_after_the_program_had_ended_says_nothing_about_its_end() -> None:
    """A NoExecute taint also removes pods that have finished."""
    pod = captured.history("exit1-a")[-1].pod
    assert pod.ended is not None
    assert pod.ended.finished is not None
    for later, outcome in ((31, Outcome.FAILED), (29, Outcome.EXCUSED)):
        raw = copy.deepcopy(pod.raw)
        since = timestamp(pod.ended.finished + timedelta(seconds=later))
        target = {**TARGET, "status": "True", "reason": "DeletionByTaintManager", "lastTransitionTime": since}
        raw["status"]["conditions"].append(target)
        verdict = judge("exit1-a", rule("RetryFree", onConditions=[TARGET]), pod=Pod(raw, pod.seen_at))
        assert verdict.outcome is outcome


@pytest.mark.parametrize(
    ("name", "outcome", "judged_by"),
    [
        ("deadline-a", Outcome.RECOVERABLE, "PodDeadline"),
        ("deadline-b", Outcome.RECOVERABLE, "PodDeadline"),
        ("deadline-c", Outcome.RECOVERABLE, "PodDeadline"),
        ("sizelimit-b", Outcome.FAILED, "Evicted"),
        ("sizelimit-c", Outcome.FAILED, "Evicted"),
        ("oom-a", Outcome.FAILED, "ExitCode"),
        ("oomchild-a", Outcome.FAILED, "ExitCode"),
    ],
)
def test_a_limit_of_the_pod_s_own_is_no_free_preemption_though_the_sdk_was_told_to_stop(
    name: str, outcome: Outcome, judged_by: str
) -> None:
    verdict = judge(name, record=Document(attempt=3, fence=9, stop_requested=True))
    assert (verdict.outcome, verdict.rule) == (outcome, judged_by)


@pytest.mark.parametrize("code", [0, 75])
def test_a_program_that_obeyed_the_order_was_preempted_though_a_child_of_it_ran_out_of_memory(code: int) -> None:
    seen = captured.history("oomchild-a")[-1]
    raw = captured.with_document(seen.pod, Document(attempt=3, fence=9, stop_requested=True)).raw
    raw["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] = code
    assert judge("oomchild-a", pod=Pod(raw, seen.at)).outcome is Outcome.PREEMPTED


def test_fail_ends_the_task_at_once_and_says_which_rule_did() -> None:
    story = Story(task(max_failures=5, rules=(rule("Fail", "bad-data", onExitCodes=[3]),)))
    story.world.exit(story.running(), 3, document(1, step=8))
    story.settle()
    verdict = story.condition("Succeeded")
    assert (verdict["status"], verdict["reason"]) == ("False", ConditionReason.FAILURE_RULE)
    assert "rule bad-data" in verdict["message"]
    assert (story.last["outcome"], story.last["rule"]) == (Outcome.FAILED, "bad-data")
    assert story.status["counts"]["failures"] == 1
    assert len(story.world.created) == 1


def test_retry_is_free_with_progress_and_a_failure_without() -> None:
    story = Story(task(max_failures=0, rules=(rule("Retry", "flaky", onExitCodes=[3]),)))
    story.world.exit(story.running(), 3, document(1, step=8))
    story.settle()
    assert (story.status["counts"]["freeRetries"], story.status["counts"]["failures"]) == (1, 0)
    story.world.exit(story.running(2), 3, document(2, step=8, resumed=8))
    story.settle()
    assert story.condition("Succeeded")["reason"] == ConditionReason.FAILURES_EXCEEDED


def test_retry_free_never_uses_the_failure_budget_and_backs_off_without_progress() -> None:
    story = Story(task(max_failures=0, rules=(rule("RetryFree", "no-license", onExitCodes=[3]),)))
    waits = []
    for attempt in range(1, 6):
        story.world.exit(story.running(attempt), 3)
        story.settle()
        assert story.status["state"] == "BackingOff"
        assert "starts at" in story.condition("Progressing")["message"]
        assert story.operator.wake_at is not None
        waits.append((story.operator.wake_at - story.world.now).total_seconds())
        story.settle(seconds=waits[-1])
    for wait, longest in zip(waits, (10, 20, 40, 80, 160), strict=True):
        assert 0.9 * longest <= wait <= longest
    assert story.status["counts"]["failures"] == 0


def test_retry_free_is_relaunched_at_once_after_progress() -> None:
    story = Story(task(rules=(rule("RetryFree", "no-license", onExitCodes=[3]),)))
    for attempt in range(1, 4):
        story.world.exit(story.running(attempt), 3, document(attempt, step=attempt))
        story.settle()
        assert story.status["attempt"] == attempt + 1
