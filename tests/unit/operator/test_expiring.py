"""ttlSecondsAfterFinished: a finished task is deleted on time, and only the version that was just looked at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.operator.server import START
from tests.unit.operator.story import Story, document
from tests.unit.operator.tasks import task
from waypost import contract
from waypost.contract import Document, EventReason
from waypost_operator.model.decision import DeleteTask, LookAtTask
from waypost_operator.model.raw import Json

COMPLETE = Document(attempt=1, fence=1, completed=True)


def finished(ttl: int | None, *, code: int = 0, **spec: Any) -> Story:
    """A task whose only attempt has ended a minute after the start of the story."""
    limit: dict[str, Any] = {} if ttl is None else {"ttlSecondsAfterFinished": ttl}
    story = Story(task(max_failures=0, **limit, **spec))
    name = story.running(seconds=60)
    story.world.exit(name, code, COMPLETE if code == 0 else document(1, step=1))
    story.settle()
    return story


def there(story: Story) -> bool:
    return story.world.task is not None


@pytest.mark.parametrize("code", [0, 1])
def test_a_finished_task_goes_when_its_time_is_over_however_it_finished(code: int) -> None:
    story = finished(100, code=code)
    assert story.status["state"] == ("Succeeded" if code == 0 else "Failed")
    story.pass_time(seconds=99)
    assert there(story)
    story.pass_time(seconds=1)
    assert not there(story)
    assert story.said(EventReason.EXPIRED) == [
        "deleted by the operator: the task finished ttlSecondsAfterFinished (100) ago"
    ]
    assert "from: s3://bucket/runs/ml/train-0d5dfdb4" in story.said(EventReason.CHECKPOINTS_RETAINED)[0]


def test_without_a_limit_a_finished_task_stays() -> None:
    story = finished(None)
    story.pass_time(seconds=10_000_000)
    assert there(story)


def test_a_task_that_is_not_over_never_goes_however_long_it_runs_waits_or_is_suspended() -> None:
    story = Story(task(ttlSecondsAfterFinished=0))
    name = story.running(seconds=1000)
    story.world.exit(name, 1)
    story.settle()
    story.world.edit_spec(suspend=True)
    story.pass_time(seconds=1000)
    assert there(story)


def test_zero_deletes_at_once() -> None:
    story = finished(0)
    assert not there(story)


def test_the_time_runs_on_while_no_operator_does() -> None:
    story = finished(100)
    story.world.now += timedelta(seconds=1000)
    story.restart()
    story.settle()
    assert not there(story)


def test_the_operator_asks_to_be_woken_at_the_very_moment() -> None:
    story = finished(100)
    story.settle()
    assert story.operator.wake_at == START + timedelta(seconds=160)


@pytest.mark.parametrize("raised", [500, None])
def test_a_limit_that_is_raised_or_removed_in_time_is_heeded_even_by_an_operator_that_has_not_heard_of_it(
    raised: int | None,
) -> None:
    story = finished(100)
    story.world.now += timedelta(seconds=50)
    story.world.edit_spec(ttlSecondsAfterFinished=raised)
    story.world.now += timedelta(seconds=60)
    story.operator.settle()  # no watch event has come
    assert there(story)
    assert "LookAtTask" in story.steps()


def test_an_edit_between_the_look_and_the_delete_wins() -> None:
    story = finished(100)
    story.world.now += timedelta(seconds=100)
    assert isinstance(story.operator.step().step, LookAtTask)
    story.world.edit_spec(ttlSecondsAfterFinished=500)
    assert isinstance(story.operator.step().step, DeleteTask)
    assert there(story)
    story.pass_time(seconds=399)
    assert there(story)
    story.pass_time(seconds=1)
    assert not there(story)
    assert len(story.said(EventReason.EXPIRED)) == 1


def test_a_namesake_that_came_meanwhile_is_not_deleted() -> None:
    story = finished(100)
    story.world.now += timedelta(seconds=100)
    assert isinstance(story.operator.step().step, LookAtTask)
    assert story.world.task is not None
    successor: Json = task(uid="another")
    successor["metadata"]["resourceVersion"] = story.world.task["metadata"]["resourceVersion"]
    story.world.task = successor
    story.operator.step()
    assert there(story)


def test_with_deletion_policy_delete_the_store_goes_first() -> None:
    story = finished(100, checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": "Delete"})
    story.pass_time(seconds=101)
    assert there(story)
    story.world.bind("train-cleanup", "node-1")
    story.world.run("train-cleanup")
    story.world.exit("train-cleanup", 0)
    story.settle()
    assert not there(story)
    assert len(story.said(EventReason.EXPIRED)) == 1
    assert len(story.said(EventReason.CHECKPOINTS_DELETED)) == 1


def test_somebody_elses_finalizer_is_waited_for_without_asking_again() -> None:
    story = finished(100)
    assert story.world.task is not None
    story.world.task["metadata"]["finalizers"] = ["example.com/hold"]
    story.world.edit_spec()
    story.pass_time(seconds=1000)
    assert there(story)
    assert story.steps().count("DeleteTask") == 1
    assert contract.FINALIZER not in story.world.task["metadata"]["finalizers"]


def test_what_still_runs_of_a_finished_task_is_stopped_first() -> None:
    story = Story(task(ttlSecondsAfterFinished=0))
    name = story.running()
    story.world.exit(name, 0, COMPLETE, phase="Running")
    story.settle(seconds=40)
    steps = story.steps()
    assert steps.index("DeletePod") < steps.index("DeleteTask")
    assert not there(story)
