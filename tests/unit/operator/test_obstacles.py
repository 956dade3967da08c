"""What stands in the way of an attempt, and odd input, becomes a sentence, never a loop."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.operator.rivals import refused_differently, work_beside_each_other
from tests.unit.operator.server import START
from tests.unit.operator.story import Story, document
from tests.unit.operator.tasks import STORE, task
from waypost.contract import ConditionReason, EventReason
from waypost_operator.decide import decide
from waypost_operator.model.decision import (
    DeletePod,
    Forget,
    LookAtNode,
    Wait,
    WriteStatus,
)
from waypost_operator.model.observed import Observed


@pytest.mark.parametrize("code", [400, 422])
def test_a_template_that_the_api_server_refuses_waits_for_a_change_of_the_spec(code: int) -> None:
    story = Story()
    story.world.refuse_creates = (code, "spec.containers[0].image: Required value")
    story.settle()
    refused = story.condition("PodCreated")
    assert (refused["status"], refused["reason"]) == ("False", ConditionReason.TEMPLATE_INVALID)
    assert "spec.containers[0].image: Required value" in refused["message"]
    assert story.settle(seconds=3600) == Wait()
    story.restart()
    assert story.settle() == Wait()
    assert story.steps() == ["Wait"], "a refused template is not tried again"
    story.world.refuse_creates = None
    story.world.edit_spec()
    story.settle()
    assert story.pods == ["train-1"]
    assert story.condition("PodCreated")["status"] == "True"
    assert len(story.said(EventReason.TEMPLATE_INVALID)) == 1


@pytest.mark.parametrize("code", [403, 404, 429, 500])
def test_a_refusal_for_now_is_retried_with_growing_waits_and_uses_no_budget(code: int) -> None:
    story = Story()
    story.world.refuse_creates = (code, "exceeded quota: gpus")
    waits = []
    for _ in range(9):
        story.settle()
        assert story.operator.wake_at is not None
        waits.append((story.operator.wake_at - story.world.now).total_seconds())
        story.world.now = story.operator.wake_at
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert story.condition("PodCreated")["reason"] == ConditionReason.POD_CREATE_REFUSED
    assert "exceeded quota: gpus" in story.condition("PodCreated")["message"]
    assert len(story.said(EventReason.POD_CREATE_REFUSED)) == 1
    story.world.refuse_creates = None
    story.settle()
    assert story.pods == ["train-1"]
    assert story.status["counts"]["attempts"] == 0


def test_a_refused_create_is_retried_in_time_although_a_rival_leader_keeps_saying_something_else() -> None:
    story = Story()
    rival = refused_differently(story)
    story.world.refuse_creates = None
    work_beside_each_other(story, rival, seconds=1.5)
    assert story.pods == ["train-1"]


def test_leaders_that_are_refused_for_different_reasons_do_not_correct_each_other() -> None:
    story = Story()
    rival = refused_differently(story)
    told = work_beside_each_other(story, rival, seconds=0.9)
    assert told == [], "each said it once, and nothing was refused anew"
    assert "etcd is too slow" in story.condition("PodCreated")["message"]


def test_a_refusal_in_other_words_is_told_when_it_is_news() -> None:
    story = Story()
    story.world.refuse_creates = (500, "exceeded quota")
    story.settle()
    story.world.refuse_creates = (500, "etcd is too slow")
    story.pass_time(seconds=1.5)
    assert "etcd is too slow" in story.condition("PodCreated")["message"]


def test_a_stranger_s_pod_of_our_name_is_said_once_and_asked_for_again_only_now_and_then() -> None:
    story = Story()
    stranger = {"metadata": {"name": "train-1"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [{}]}}
    story.world.create_pod(stranger)
    story.operator.skip_events()
    story.settle()
    assert story.condition("Progressing")["reason"] == ConditionReason.POD_NAME_TAKEN
    assert story.operator.wake_at == story.world.now + timedelta(seconds=60)
    story.settle(seconds=60)
    assert len(story.said(EventReason.POD_NAME_TAKEN)) == 1
    assert "podUID" not in story.status
    story.world.remove("train-1")
    story.settle(seconds=60)
    assert story.status["podUID"]


def test_a_task_applied_again_waits_for_the_pod_of_its_deleted_namesake() -> None:
    old = Story()
    old.running()
    world = old.world
    world.delete_task()
    world.apply_again(task(uid="a-new-uid"))
    story = Story()
    story.world = world
    story.restart()
    story.settle()
    assert story.condition("Progressing")["reason"] == ConditionReason.WAITING_FOR_OLD_POD
    assert not any(isinstance(decision.step, DeletePod) for decision in story.operator.decisions)
    world.remove("train-1")
    story.settle(seconds=5)
    assert world.alive("a-new-uid") == ["train-1"]


def test_a_pod_that_cannot_start_says_why_once_for_each_kind_of_reason() -> None:
    story = Story()
    story.settle()
    story.world.bind("train-1", "node-1")
    for reason, message in (("ErrImagePull", "not found"), ("ImagePullBackOff", "Back-off"), ("ErrImagePull", "again")):
        story.world.keep_waiting("train-1", reason, message)
        story.settle()
    assert story.condition("Progressing")["reason"] == ConditionReason.POD_WAITING
    assert "ErrImagePull: container main: not found" in story.condition("Progressing")["message"]
    assert len(story.said(EventReason.POD_WAITING)) == 1
    story.world.run("train-1")
    story.settle()
    assert story.condition("Progressing")["status"] == "True"


def test_a_task_being_deleted_gets_no_new_pod() -> None:
    story = Story()
    name = story.running()
    story.world.start_deleting_task()
    story.world.disrupt(name)
    story.world.exit(name, 143, document(1, step=3))
    assert story.settle() == Wait()
    assert len(story.world.created) == 1


def test_a_deleted_task_leaves_the_line_to_paste_for_going_on_from_its_checkpoints() -> None:
    story = Story()
    story.running()
    story.world.delete_task()
    step = story.settle()
    assert isinstance(step, Forget)
    (event,) = step.events
    assert event.reason == EventReason.CHECKPOINTS_RETAINED
    assert event.message.endswith(f"\nfrom: {STORE}")


def test_a_task_that_never_started_is_forgotten_silently() -> None:
    story = Story()
    story.world.delete_task()
    assert story.settle() == Forget()


def test_a_stored_spec_that_a_newer_rule_refuses_becomes_a_condition_not_a_crash_loop() -> None:
    body = task()
    body["spec"]["failurePolicy"]["maxFailures"] = -1
    story = Story(body)
    story.settle()
    assert story.condition("Progressing")["reason"] == ConditionReason.SPEC_UNREADABLE
    assert "failurePolicy.maxFailures" in story.condition("Progressing")["message"]
    assert story.settle(seconds=60) == Wait()
    assert story.pods == []


def test_a_template_that_no_pod_can_be_built_from_becomes_a_condition() -> None:
    story = Story(task(container="trainer"))
    story.settle()
    assert story.condition("PodCreated")["reason"] == ConditionReason.TEMPLATE_INVALID
    assert "'trainer'" in story.condition("PodCreated")["message"]
    assert story.settle(seconds=60) == Wait()


def test_conditions_of_others_are_left_alone() -> None:
    theirs = {
        "type": "example.com/Audited",
        "status": "True",
        "reason": "Checked",
        "message": "",
        "lastTransitionTime": "2026-11-23T08:00:00Z",
    }
    story = Story(task(status={"conditions": [theirs]}))
    story.running()
    assert story.status["conditions"][0] == theirs


def test_a_changed_spec_applies_at_the_next_attempt_and_is_acknowledged_now() -> None:
    story = Story()
    name = story.running()
    template = {"spec": {"containers": [{"name": "main", "image": "newer"}]}}
    story.world.edit_spec(template=template)
    story.settle()
    assert story.status["observedGeneration"] == 2
    assert story.world.pods[name]["spec"]["containers"][0]["image"] == "i"
    story.world.exit(name, 75, document(1, step=1))
    story.settle()
    assert story.world.pods["train-2"]["spec"]["containers"][0]["image"] == "newer"


def test_status_writes_carry_the_version_that_was_observed() -> None:
    body = task()
    body["metadata"]["resourceVersion"] = "77"
    step = decide(Observed(now=START, task=body)).step
    assert isinstance(step, WriteStatus)
    assert step.resource_version == "77"


def test_the_node_is_asked_only_where_the_verdict_needs_it() -> None:
    story = Story()
    name = story.running()
    story.world.disrupt(name)
    story.world.exit(name, 143, document(1, step=3))
    story.settle()
    asked = [decision.step for decision in story.operator.decisions if isinstance(decision.step, LookAtNode)]
    assert all(step.at_bind for step in asked)
