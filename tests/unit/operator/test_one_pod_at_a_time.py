"""No pod is created while another of the task may still run."""

from __future__ import annotations

import copy
from datetime import timedelta

import pytest

from tests.unit.operator.story import Story, document
from tests.unit.operator.tasks import UID
from waypost.contract import ConditionReason, Document, Outcome
from waypost_operator.decide import decide
from waypost_operator.model.decision import (
    DeletePod,
    LookAtPod,
)
from waypost_operator.model.pod import Pod


def test_absence_is_believed_only_after_a_live_look() -> None:
    story = Story()
    name = story.running()
    story.operator.missing.add(story.status["podUID"])
    story.settle()
    assert isinstance(story.operator.decisions[-2].step, LookAtPod)
    assert story.status["attempt"] == 1
    assert story.world.alive(UID) == [name]


def test_a_restarted_operator_looks_before_it_replaces_a_pod_that_its_list_did_not_show() -> None:
    story = Story()
    story.running()
    story.restart()
    story.operator.pods.clear()
    assert isinstance(story.operator.step().step, LookAtPod)
    story.operator.settle()
    assert len(story.world.created) == 1


def test_a_pod_whose_other_containers_never_end_is_judged_after_30_seconds_and_then_deleted() -> None:
    story = Story()
    name = story.running()
    story.world.exit(name, 0, Document(attempt=1, fence=2, completed=True), phase="Running")
    story.settle()
    assert "Succeeded" not in story.status["state"]
    assert story.operator.wake_at == story.world.now + timedelta(seconds=30)
    story.operator.decisions.clear()
    story.settle(seconds=30)
    assert story.steps()[:3] == ["LookAtPod", "WriteStatus", "DeletePod"]
    assert story.status["state"] == "Succeeded"


def test_a_container_s_end_is_no_verdict_while_a_lagging_watch_may_hide_the_pod_s() -> None:
    story = Story()
    name = story.running()
    story.world.shut_down(name)
    story.settle()
    story.world.end_shutdown(name)
    story.world.now += timedelta(seconds=40)
    story.operator.settle()
    assert story.attempt(1)["outcome"] == Outcome.PREEMPTED


@pytest.mark.parametrize(
    ("state", "code", "outcome", "rule"),
    [
        ("not ready", 137, Outcome.PREEMPTED, "NodeInTrouble"),
        ("unknown", 0, Outcome.PREEMPTED, "NodeInTrouble"),
        ("ready", 137, Outcome.FAILED, "ExitCode"),
        ("ready", 0, Outcome.COMPLETED, "ExitCode"),
        ("forbidden", 137, Outcome.FAILED, "ExitCode"),
    ],
)
def test_a_kubelet_that_died_before_it_could_say_why_it_ended_the_container_was_losing_its_machine(
    state: str, code: int, outcome: Outcome, rule: str
) -> None:
    """A snapshot with the container's end and without the pod's is all that such a machine leaves behind."""
    story = Story()
    name = story.running()
    story.world.exit(name, code, phase="Running")
    story.settle(seconds=5)
    story.world.nodes["node-1"] = state
    story.settle(seconds=26)
    ended = story.attempt(1)
    assert (ended["outcome"], ended["rule"]) == (outcome, rule)


def test_the_node_is_asked_again_when_the_end_is_judged_long_after_the_last_look() -> None:
    story = Story()
    name = story.running()
    story.world.disrupt(name)
    story.world.pods[name]["status"].pop("conditions")
    story.pass_time(seconds=135)
    assert story.operator.nodes, "the node of a pod that should have ended was looked at, and is ready"
    del story.world.nodes["node-1"]
    story.world.remove(name)
    story.pass_time(seconds=20)
    assert story.attempt(1)["evidence"].endswith("node node-1 is gone")


def test_the_next_attempt_waits_until_the_straggling_pod_has_really_ended() -> None:
    story = Story()
    name = story.running()
    story.world.exit(name, 75, document(1, step=3), phase="Running")
    story.settle(seconds=30)
    assert story.attempt(1)["outcome"] == Outcome.RECOVERABLE
    assert story.condition("Progressing")["reason"] == ConditionReason.WAITING_FOR_OLD_POD
    assert story.pods == [name]
    story.world.remove(name)
    story.settle(seconds=1)
    assert story.pods == ["train-2"]


@pytest.mark.parametrize("phase", ["before its deletion", "while it terminates"])
def test_a_straggling_pod_is_waited_for_even_by_an_operator_whose_list_is_too_old_to_show_it(phase: str) -> None:
    story = Story()
    name = story.running()
    story.world.exit(name, 75, document(1, step=3), phase="Running")
    story.world.now += timedelta(seconds=30)
    story.operator.watch()
    if phase == "before its deletion":
        while "finished" not in story.last:
            story.operator.step()
    else:
        story.operator.settle()
    story.restart(behind=len(story.world.log))
    assert not story.operator.pods
    story.operator.settle()
    assert story.world.alive(UID) == [name]
    assert len(story.world.created) == 1


def test_a_pod_of_an_earlier_attempt_that_may_still_run_is_deleted_at_sight() -> None:
    story = Story()
    name = story.running()
    late = copy.deepcopy(story.world.pods[name])
    story.world.disrupt(name)
    story.world.exit(name, 143, document(1, step=3))
    story.world.remove(name)
    story.running(2)
    late["metadata"] = {key: value for key, value in late["metadata"].items() if key != "resourceVersion"}
    story.world.create_pod(late)
    story.world.bind(name, "node-2")
    story.settle()
    deleted = [decision.step for decision in story.operator.decisions if isinstance(decision.step, DeletePod)]
    assert [step.name for step in deleted] == [name]
    assert story.world.pods[name]["metadata"]["deletionTimestamp"]


def test_a_second_pod_of_the_current_number_is_deleted_at_sight() -> None:
    story = Story()
    name = story.running()
    twin = Pod({**copy.deepcopy(story.world.pods[name])}, story.world.now)
    twin.raw["metadata"] |= {"uid": "twin", "resourceVersion": "999"}
    story.operator.pods["twin"] = twin
    step = decide(story.operator.observe()).step
    assert step == DeletePod(name, "twin")


def test_a_terminating_pod_that_should_be_gone_is_looked_at_although_the_watch_is_silent() -> None:
    story = Story()
    name = story.running()
    story.world.disrupt(name)
    story.settle()
    story.world.remove(name)
    story.operator.skip_events()
    assert story.operator.wake_at is not None
    story.world.now = story.operator.wake_at
    story.operator.settle()
    assert story.attempt(1)["outcome"] == Outcome.PREEMPTED


def test_status_put_back_by_a_restored_backup_goes_on_with_the_pod_that_runs() -> None:
    story = Story()
    for attempt in (1, 2):
        story.world.exit(story.running(attempt), 75, document(attempt, step=attempt))
        story.settle()
    story.running(3)
    story.world.put_status_back({})
    story.restart()
    story.operator.settle()
    assert story.status["attempt"] == 3
    assert story.world.alive(UID) == ["train-3"]
    assert len(story.world.created) == 3
