"""An attempt is opened, its pod created, and its UID recorded, whatever happens in between."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.operator.story import Story
from tests.unit.operator.tasks import STORE
from waypost.contract import EventReason
from waypost_operator.decide import decide
from waypost_operator.model.decision import (
    CreatePod,
    LookAtTask,
)


def test_the_number_is_written_before_the_pod_is_created_and_its_uid_after() -> None:
    story = Story()
    story.settle()
    assert story.steps() == ["WriteStatus", "CreatePod", "WriteStatus", "Wait"]
    first, second = (write.after for write in story.world.written)
    assert (first["attempt"], first.get("podUID")) == (1, None)
    assert (second["attempt"], second["podUID"]) == (1, "pod-0")
    assert story.pods == ["train-1"]
    assert story.status["checkpoint"] == {"uri": STORE}
    assert story.said(EventReason.ATTEMPT_STARTED) == ["attempt 1 started as pod train-1"]


def test_a_pod_is_never_created_from_a_task_that_only_a_cache_knows() -> None:
    story = Story()
    story.operator.step()
    story.restart()
    assert isinstance(story.operator.step().step, LookAtTask)
    assert isinstance(story.operator.step().step, CreatePod)


def test_a_confirmation_that_has_aged_is_asked_for_again() -> None:
    story = Story()
    story.operator.step()
    story.world.now += timedelta(seconds=6)
    assert isinstance(story.operator.step().step, LookAtTask)


def test_a_create_whose_answer_was_lost_is_recognised_by_its_owner() -> None:
    story = Story()
    story.operator.step()
    create = decide(story.operator.observe()).step
    assert isinstance(create, CreatePod)
    story.world.create_pod(create.body)
    story.restart()
    story.operator.pods.clear()
    story.operator.settle()
    assert story.status["podUID"] == "pod-0"
    assert len(story.world.created) == 1


def test_a_pod_that_ended_before_its_uid_was_recorded_is_judged_not_run_again() -> None:
    story = Story()
    story.operator.step()
    story.operator.step()
    story.world.bind("train-1", "node-1")
    story.world.run("train-1")
    story.world.exit("train-1", 0)
    story.settle()
    assert story.status["state"] == "Succeeded"
    assert len(story.world.created) == 1


def test_running_is_written_down_with_node_and_time() -> None:
    story = Story()
    story.running()
    assert story.status["state"] == "Running"
    assert (story.last["node"], story.last["started"]) == ("node-1", "2026-11-23T09:00:00Z")
    assert story.condition("Progressing")["status"] == "True"
