"""A pod that should have ended on a node of which nothing is heard: waited for, said so, and left behind in the end."""

from __future__ import annotations

import copy
from datetime import timedelta

import pytest

from tests.unit.operator.story import Story, document
from tests.unit.operator.tasks import UID, task
from waypost.contract import ConditionReason, Document, Outcome
from waypost_operator.model.decision import DeletePod
from waypost_operator.model.raw import moment

GRACE = 110


def cut_off(story: Story, attempt: int = 1) -> str:
    """The attempt's node is lost; after the toleration its pods are evicted, which nobody there hears."""
    name = story.running(attempt)
    story.world.cut_off("node-1")
    story.pass_time(seconds=30)
    story.world.disrupt(name, "DeletionByTaintManager")
    return name


def test_a_pod_of_a_node_that_stays_unreachable_is_left_behind_and_the_task_goes_on() -> None:
    story = Story()
    name = cut_off(story)
    story.pass_time(seconds=GRACE)
    assert story.pods == [name], "its grace is not over"
    story.pass_time(seconds=30)
    assert story.pods == [name, "train-2"]
    ended = story.attempt(1)
    assert (ended["outcome"], ended["rule"]) == (Outcome.PREEMPTED, "NodeUnreachable")
    assert "node-1" in ended["evidence"]
    assert story.status["counts"] == {"attempts": 1, "preemptions": 1, "failures": 0, "freeRetries": 0}
    assert not any(isinstance(decision.step, DeletePod) for decision in story.operator.decisions), "never by force"


def test_it_waits_as_long_as_the_task_says_and_tells_when_it_will_go_on() -> None:
    story = Story(task(replaceUnreachableAfterSeconds=1000))
    since = story.world.now
    name = cut_off(story)
    story.pass_time(seconds=200)
    waits = story.condition("Progressing")
    assert (waits["status"], waits["reason"]) == ("False", ConditionReason.NODE_UNREACHABLE)
    assert (since + timedelta(seconds=1000)).strftime("%H:%M:%S") in waits["message"]
    story.pass_time(seconds=1000 - 231)
    assert story.pods == [name]
    story.pass_time(seconds=20)
    assert "train-2" in story.pods


def test_node_and_pod_are_asked_live_right_before_the_next_pod_is_created() -> None:
    story = Story()
    cut_off(story)
    story.pass_time(seconds=GRACE + 30)
    created = moment(story.world.created[-1]["metadata"]["creationTimestamp"])
    pod, node = story.operator.pods["pod-0"], story.operator.nodes["pod-0"]
    assert created is not None
    assert pod.looked_at is not None
    assert timedelta(0) <= created - pod.looked_at <= timedelta(seconds=10)
    assert timedelta(0) <= created - node.at <= timedelta(seconds=10)


def test_a_node_that_is_heard_of_again_in_time_ends_its_pod_as_usual() -> None:
    story = Story()
    name = cut_off(story)
    story.pass_time(seconds=80)
    story.world.hear_again("node-1")
    story.pass_time(seconds=300)
    assert story.pods == [name], "its kubelet will end it"
    story.world.exit(name, 143, document(1, step=4))
    story.settle()
    assert (story.attempt(1)["rule"], story.attempt(1)["exitCode"]) == ("Disruption", 143)


def test_a_node_that_comes_and_goes_has_to_be_silent_for_the_whole_time() -> None:
    story = Story(task(replaceUnreachableAfterSeconds=300))
    name = cut_off(story)
    story.pass_time(seconds=250)
    story.world.hear_again("node-1")
    story.pass_time(seconds=1)
    story.world.cut_off("node-1")
    story.pass_time(seconds=290)
    assert story.pods == [name]
    story.pass_time(seconds=20)
    assert "train-2" in story.pods


@pytest.mark.parametrize("state", ["ready", "not ready"])
def test_a_node_that_still_reports_is_never_left_behind(state: str) -> None:
    """A kubelet that is slow, or a process that can't be killed: it may still run, and somebody will tell."""
    story = Story()
    name = cut_off(story)
    story.world.hear_again("node-1")
    story.world.nodes["node-1"], story.world.ready_since["node-1"] = state, story.world.now
    story.pass_time(seconds=7200)
    assert story.pods == [name]


def test_a_pod_that_nobody_asked_to_end_is_never_left_behind() -> None:
    story = Story()
    name = story.running()
    story.world.cut_off("node-1")
    story.pass_time(seconds=7200)
    assert story.pods == [name]
    assert story.status["state"] == "Running"


def test_without_the_right_to_read_nodes_the_pod_is_waited_for_and_a_condition_says_so() -> None:
    story = Story()
    name = cut_off(story)
    story.world.nodes["node-1"] = "forbidden"
    story.pass_time(seconds=7200)
    assert story.pods == [name]
    assert story.condition("Progressing")["reason"] == ConditionReason.NODE_UNREADABLE
    assert "rbac.nodes" in story.condition("Progressing")["message"]
    story.world.nodes["node-1"] = "unknown"
    story.pass_time(seconds=60)
    assert "train-2" in story.pods, "the right was granted"


def test_a_pod_of_a_node_that_is_gone_is_left_to_kubernetes() -> None:
    story = Story()
    name = cut_off(story)
    del story.world.nodes["node-1"]
    story.pass_time(seconds=600)
    assert story.pods == [name]
    assert "node-1 is gone" in story.condition("Progressing")["message"]
    story.world.remove(name)
    story.settle()
    assert story.attempt(1)["outcome"] == Outcome.PREEMPTED


def test_an_end_that_the_watch_has_not_told_yet_is_seen_before_the_pod_is_left_behind() -> None:
    story = Story()
    name = cut_off(story)
    story.pass_time(seconds=GRACE - 1)
    story.world.exit(name, 0, Document(attempt=1, fence=2, completed=True))
    story.operator.skip_events()
    story.world.now += timedelta(seconds=60)
    story.operator.settle()
    assert story.status["state"] == "Succeeded"


def test_the_zombie_that_comes_back_does_not_disturb_its_successor() -> None:
    story = Story()
    zombie = cut_off(story)
    story.pass_time(seconds=GRACE + 30)
    story.world.bind("train-2", "node-2")
    story.world.run("train-2")
    story.pass_time(seconds=3600)
    story.world.hear_again("node-1")
    story.world.exit(zombie, 75, document(1, step=9))
    story.settle()
    story.world.remove(zombie)
    story.pass_time(seconds=60)
    assert story.world.alive(UID) == ["train-2"]
    assert story.status["attempt"] == 2
    assert story.attempt(1)["rule"] == "NodeUnreachable", "judged once"
    assert story.status["counts"]["attempts"] == 1


def test_the_next_attempts_go_on_beside_it_for_as_long_as_its_node_is_silent() -> None:
    story = Story()
    zombie = cut_off(story)
    story.pass_time(seconds=GRACE + 30)
    for attempt in range(2, 30):
        name = f"train-{attempt}"
        story.world.bind(name, "node-2")
        story.world.run(name)
        story.pass_time(seconds=100)
        assert story.world.alive(UID) == sorted([zombie, name])
        story.world.exit(name, 75, document(attempt, step=attempt))
        story.pass_time(seconds=1)
    assert story.status["attempt"] == 30


def test_once_its_node_is_heard_of_again_the_next_attempt_waits_for_it() -> None:
    story = Story()
    zombie = cut_off(story)
    story.pass_time(seconds=GRACE + 30)
    story.world.bind("train-2", "node-2")
    story.world.run("train-2")
    story.pass_time(seconds=100)
    story.world.hear_again("node-1")
    story.world.exit("train-2", 75, document(2, step=5))
    story.pass_time(seconds=100)
    assert story.world.alive(UID) == [zombie]
    story.world.remove(zombie)
    story.settle()
    assert story.world.alive(UID) == ["train-3"]


def test_a_new_operator_goes_on_where_the_old_one_stopped() -> None:
    story = Story()
    zombie = cut_off(story)
    for _ in range(10):
        story.pass_time(seconds=(GRACE + 30) / 10)
        story.restart()
        story.settle()
    assert story.pods == [zombie, "train-2"]
    assert story.status["counts"]["preemptions"] == 1


def test_a_pod_that_was_judged_already_does_not_hold_its_successor_when_its_node_is_lost_then() -> None:
    """Its task container had ended, other containers kept it alive, its deletion was asked for; then the node went."""
    story = Story()
    name = story.running()
    story.world.exit(name, 75, document(1, step=3), phase="Running")
    story.pass_time(seconds=31)
    assert story.condition("Progressing")["reason"] == ConditionReason.WAITING_FOR_OLD_POD
    story.world.cut_off("node-1")
    story.pass_time(seconds=119)
    assert story.pods == [name]
    story.pass_time(seconds=60)
    assert story.pods == [name, "train-2"]


def test_a_second_pod_of_its_name_is_none_that_may_be_left_behind() -> None:
    story = Story()
    zombie = cut_off(story)
    story.pass_time(seconds=GRACE + 30)
    story.world.bind("train-2", "node-2")
    story.world.run("train-2")
    story.settle()
    late = copy.deepcopy(story.world.pods[zombie])
    story.world.remove(zombie)
    late["metadata"] = {
        key: value for key, value in late["metadata"].items() if not key.startswith(("deletion", "resourceVersion"))
    }
    story.world.create_pod(late)
    story.settle()
    assert story.operator.decisions[-2].step == DeletePod(zombie, story.world.created[-1]["metadata"]["uid"])


def test_a_user_s_rule_on_the_eviction_is_not_asked_about_a_pod_that_may_still_run() -> None:
    rule = {"name": "never-evicted", "action": "Fail", "onConditions": [{"type": "DisruptionTarget"}]}
    story = Story(task(rules=(rule,)))
    cut_off(story)
    story.pass_time(seconds=GRACE + 30)
    assert story.attempt(1)["rule"] == "NodeUnreachable"
    assert "train-2" in story.pods
