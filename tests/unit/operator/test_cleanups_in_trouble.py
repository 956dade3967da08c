"""A clean-up that fails, can't start or is refused: tried again for an hour, and then given up, aloud."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.operator.deletion import (
    CLEANUP,
    deleted_while_running,
    deleting,
    fail,
    gone,
    with_cleanup_pod,
)
from tests.unit.operator.rivals import refused_differently, work_beside_each_other
from tests.unit.operator.tasks import STORE
from waypost import contract
from waypost.contract import EventReason
from waypost_operator.model.decision import CreatePod
from waypost_operator.model.raw import Json


def test_a_failed_cleanup_is_tried_again_with_a_growing_wait() -> None:
    story = with_cleanup_pod()
    fail(story)
    assert story.status["cleanup"]["failures"] == 1
    assert "exit code 74: AccessDenied" in story.status["message"]
    story.pass_time(seconds=9)
    assert len(story.world.created) == 2, "its pod stays for its log until the next try"
    story.pass_time(seconds=2)
    assert len(story.world.created) == 3
    fail(story)
    story.pass_time(seconds=19)
    assert len(story.world.created) == 3
    story.pass_time(seconds=2)
    assert len(story.world.created) == 4
    story.world.exit(CLEANUP, 0)
    story.settle()
    assert gone(story)


def test_a_cleanup_pod_whose_create_went_unanswered_and_that_failed_at_once_is_counted_once() -> None:
    story = with_cleanup_pod()
    fail(story)
    story.world.now += timedelta(seconds=11)
    for _ in range(20):
        story.operator.watch()
        step = story.operator.next_step()
        if isinstance(step, CreatePod):
            break
        story.operator.step()
    assert isinstance(step, CreatePod)
    story.world.create_pod(step.body)
    fail(story)
    assert story.status["cleanup"]["failures"] == 2


def test_a_cleanup_pod_that_vanished_is_a_failed_one() -> None:
    story = with_cleanup_pod()
    story.world.remove(CLEANUP)
    story.settle()
    assert "vanished" in story.status["message"]
    assert CLEANUP not in story.pods, "no hot loop with whoever removes it"
    story.pass_time(seconds=11)
    assert CLEANUP in story.pods


def test_after_an_hour_the_task_goes_and_the_store_is_named() -> None:
    story = with_cleanup_pod()
    while story.world.task is not None:
        if CLEANUP in story.world.pods and "containerStatuses" not in story.world.pods[CLEANUP]["status"]:
            fail(story)
        story.pass_time(seconds=60)
        assert len(story.world.created) < 60
        story.restart()
    [told] = story.said(EventReason.CLEANUP_GIVEN_UP)
    assert STORE in told
    assert "AccessDenied" in told
    assert story.status == {}


def test_the_hour_is_not_over_before_it_is() -> None:
    story = with_cleanup_pod()
    fail(story)
    story.pass_time(seconds=3500)
    assert not gone(story)
    story.pass_time(seconds=3700)
    assert gone(story)


def test_a_pod_that_cant_start_is_named_and_given_up_too() -> None:
    story = with_cleanup_pod()
    story.world.keep_waiting(CLEANUP, "ImagePullBackOff", "no such image")
    story.settle()
    assert "can't start yet: ErrImagePull" in story.status["message"]
    story.pass_time(seconds=3700)
    assert gone(story)
    assert "no such image" in story.said(EventReason.CLEANUP_GIVEN_UP)[0]


def test_a_cleanup_that_runs_is_no_retry_and_is_let_finish() -> None:
    story = with_cleanup_pod()
    story.world.bind(CLEANUP, "node-1")
    story.world.run(CLEANUP)
    story.pass_time(seconds=5000)
    assert not gone(story)
    story.world.exit(CLEANUP, 1)
    story.settle()
    assert gone(story)
    assert story.said(EventReason.CLEANUP_GIVEN_UP)


def test_somebody_elses_pod_of_that_name_is_waited_for() -> None:
    story = deleting()
    stranger: Json = {
        "metadata": {"name": CLEANUP, "namespace": "ml"},
        "spec": {"containers": [{"name": "a"}], "terminationGracePeriodSeconds": 1},
    }
    story.world.create_pod(stranger)
    story.running()
    story.world.ask_to_delete_task()
    story.settle()
    story.world.exit("train-1", 143)
    story.settle()
    assert "doesn't belong to this task" in story.status["message"]
    story.world.remove(CLEANUP)
    story.pass_time(seconds=61)
    assert story.world.pods[CLEANUP]["metadata"]["labels"][contract.LABEL_CLEANUP] == "true"


def test_a_namespace_that_is_being_deleted_lets_the_task_go_at_once() -> None:
    story = deleted_while_running()
    story.world.namespace_terminating = True
    story.world.exit("train-1", 143)
    story.settle()
    assert gone(story)
    assert STORE in next(d.why for d in story.operator.decisions if "namespace is being deleted" in d.why)


def test_other_refusals_of_the_cleanup_pod_are_tried_again() -> None:
    story = deleted_while_running()
    story.world.refuse_creates = (403, "exceeded quota")
    story.world.exit("train-1", 143)
    story.settle()
    assert "exceeded quota" in story.status["message"]
    story.pass_time(seconds=120)
    story.world.refuse_creates = None
    story.pass_time(seconds=61)
    assert CLEANUP in story.pods


def test_it_is_tried_again_in_time_although_a_rival_leader_keeps_saying_something_else() -> None:
    story = deleted_while_running()
    story.world.exit("train-1", 143)
    rival = refused_differently(story)
    story.world.refuse_creates = None
    work_beside_each_other(story, rival, seconds=1.5)
    assert CLEANUP in story.pods


def test_leaders_that_are_refused_for_different_reasons_do_not_correct_each_other() -> None:
    story = deleted_while_running()
    story.world.exit("train-1", 143)
    rival = refused_differently(story)
    told = work_beside_each_other(story, rival, seconds=0.9)
    assert told == [], "each said it once, and nothing was refused anew"
    assert "etcd is too slow" in story.status["message"]


def test_without_an_image_it_says_so_and_gives_up_after_the_hour() -> None:
    story = deleted_while_running()
    story.operator.cleanup_image = None
    story.world.exit("train-1", 143)
    story.settle()
    assert "--cleanup-image" in story.status["message"]
    story.pass_time(seconds=3601)
    assert gone(story)
    assert "--cleanup-image" in story.said(EventReason.CLEANUP_GIVEN_UP)[0]
