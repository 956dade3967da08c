"""deletionPolicy Delete: a task stays until its pods have ended and its store is deleted, or given up after an hour."""

from __future__ import annotations

import pytest

from tests.unit.operator.deletion import (
    CLEANUP,
    FOREIGN,
    controller_reference,
    deleted_while_running,
    deleting,
    finalizers,
    gone,
    with_cleanup_pod,
)
from tests.unit.operator.story import Story
from tests.unit.operator.tasks import STORE, UID, task
from tests.unit.operator.world import World
from waypost import contract
from waypost.contract import EventReason
from waypost_operator.model.decision import Forget, Wait, WriteFinalizers


# --- the finalizer ---------------------------------------------------------------------------------------------
def test_the_finalizer_is_there_before_the_first_pod() -> None:
    story = deleting()
    story.settle()
    assert finalizers(story) == [contract.FINALIZER]
    steps = story.steps()
    assert steps.index("WriteFinalizers") < steps.index("CreatePod")


def test_with_retain_there_is_none() -> None:
    story = Story()
    story.running()
    assert finalizers(story) == []
    assert "WriteFinalizers" not in story.steps()


def test_it_comes_and_goes_with_the_policy_and_leaves_others_alone() -> None:
    story = Story()
    story.running()
    assert story.world.task is not None
    story.world.task["metadata"]["finalizers"] = [FOREIGN]
    story.world.edit_spec(checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": "Delete"})
    story.settle()
    assert finalizers(story) == [FOREIGN, contract.FINALIZER]
    story.world.edit_spec(checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": "Retain"})
    story.settle()
    assert finalizers(story) == [FOREIGN]


def test_a_finalizer_that_somebody_set_meanwhile_is_kept() -> None:
    story = deleting()
    assert story.world.task is not None
    story.world.task["metadata"]["finalizers"] = [FOREIGN]
    story.world.edit_spec()  # not told to the operator yet
    story.operator.settle()
    assert finalizers(story) == [FOREIGN, contract.FINALIZER]


def test_a_finished_task_whose_policy_becomes_delete_gets_it_too() -> None:
    story = Story()
    story.world.exit(story.running(), 0)
    story.settle()
    assert story.status["state"] == "Succeeded"
    story.world.edit_spec(checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": "Delete"})
    story.settle()
    assert finalizers(story) == [contract.FINALIZER]


# --- the pods end first ----------------------------------------------------------------------------------------
def test_the_running_pod_is_stopped_gracefully_and_waited_for() -> None:
    story = deleted_while_running()
    assert "deletionTimestamp" in story.world.pods["train-1"]["metadata"]
    story.pass_time(seconds=100)
    assert story.pods == ["train-1"], "a clean-up pod while a pod of the task may still write"
    assert story.status["state"] == "Deleting"
    assert "when pod train-1 has ended" in story.status["message"]
    story.world.exit("train-1", 143)
    story.settle()
    assert CLEANUP in story.pods


def test_a_pod_that_only_the_status_knows_is_asked_for() -> None:
    story = deleted_while_running()
    story.world.remove("train-1")
    story.restart()
    story.settle()
    assert CLEANUP in story.pods
    assert "LookAtPod" in story.steps()


def test_a_pod_that_lost_its_label_is_found_and_stopped() -> None:
    story = deleting()
    story.running()
    story.world.lose_sight("train-1")
    story.world.ask_to_delete_task()
    story.restart()
    story.operator.pods.clear()
    story.operator.settle()
    assert "deletionTimestamp" in story.world.pods["train-1"]["metadata"]
    assert CLEANUP not in story.pods


def test_a_create_without_an_answer_is_given_time_to_show() -> None:
    story = deleting()
    story.world.refuse_creates = (500, "etcd")
    story.settle()
    assert story.status["attempt"] == 1
    assert "podUID" not in story.status
    story.world.refuse_creates = None
    story.world.ask_to_delete_task()
    story.settle()
    assert story.pods == []
    story.pass_time(seconds=16)
    assert story.pods == [CLEANUP]


def test_a_pod_that_no_watch_has_shown_is_looked_for_before_the_cleanup() -> None:
    story = deleting()
    story.world.refuse_creates = (500, "etcd")
    story.settle()
    story.world.refuse_creates = None
    body = {
        "metadata": {"name": "train-1", "namespace": "ml", "ownerReferences": [controller_reference(story)]},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": [{"name": "main"}]},
    }
    story.world.create_pod(body)  # by a leader that was overtaken
    story.world.bind("train-1", "node-1")
    story.world.ask_to_delete_task()
    story.operator.skip_events()
    story.operator.sweep()
    story.operator.pods.clear()
    story.operator.settle()
    story.pass_time(seconds=60)
    assert CLEANUP not in story.pods
    assert "deletionTimestamp" in story.world.pods["train-1"]["metadata"]
    story.world.remove("train-1")
    story.pass_time(seconds=60)
    assert CLEANUP in story.pods


@pytest.mark.parametrize("whose", ["a namesake's, still terminating", "its own, ended before it was recorded"])
def test_any_other_pod_under_the_name_of_an_unrecorded_one_says_enough(whose: str) -> None:
    story = deleting()
    story.world.refuse_creates = (500, "etcd")
    story.settle()
    story.world.refuse_creates = None
    owner = controller_reference(story)
    body = {
        "metadata": {"name": "train-1", "namespace": "ml", "ownerReferences": [owner]},
        "spec": {"terminationGracePeriodSeconds": 600, "containers": [{"name": "main"}]},
    }
    if whose.startswith("a namesake"):
        owner |= {"uid": "another"}
        story.world.create_pod(body)
        story.world.bind("train-1", "node-1")
        story.world.delete_pod("train-1", story.world.pods["train-1"]["metadata"]["uid"])
    story.world.ask_to_delete_task()
    story.settle()
    if whose.startswith("its own"):
        story.world.create_pod(body)
        story.world.exit("train-1", 1)
    story.pass_time(seconds=20)
    assert "train-1" in story.pods
    assert CLEANUP in story.pods
    assert story.steps().count("LookAtPod") <= 2


def test_a_task_that_never_started_goes_at_once() -> None:
    story = deleting()
    story.operator.step()
    assert finalizers(story) == [contract.FINALIZER]
    story.world.ask_to_delete_task()
    story.settle()
    assert gone(story)
    assert story.pods == []


def test_a_deletion_in_the_foreground_is_let_through_before_the_cleanup_pod_is_made() -> None:
    story = deleting()
    story.running()
    story.world.ask_to_delete_task("foregroundDeletion")
    story.settle()
    story.world.exit("train-1", 143)
    story.settle()
    assert CLEANUP not in story.pods, "the garbage collector would delete it with the other pods"
    story.world.collect("foregroundDeletion")
    story.settle()
    assert CLEANUP in story.pods


def test_orphaned_pods_run_on_and_keep_their_store() -> None:
    story = deleting()
    story.running()
    story.world.ask_to_delete_task("orphan")
    story.settle()
    assert "deletionTimestamp" not in story.world.pods["train-1"]["metadata"]
    story.world.pods["train-1"]["metadata"]["ownerReferences"] = []
    story.world.lose_sight("train-1")
    story.world.collect("orphan")
    story.settle()
    assert story.pods == ["train-1"]
    assert "deletionTimestamp" not in story.world.pods["train-1"]["metadata"]
    assert gone(story)
    assert "orphaned" in story.said(EventReason.CLEANUP_GIVEN_UP)[0]


# --- the store is deleted --------------------------------------------------------------------------------------
def test_the_task_goes_when_the_store_is_deleted_and_not_before() -> None:
    story = with_cleanup_pod()
    story.world.bind(CLEANUP, "node-1")
    story.world.run(CLEANUP)
    story.pass_time(seconds=30)
    assert finalizers(story) == [contract.FINALIZER]
    story.world.exit(CLEANUP, 0)
    assert isinstance(story.settle(), Wait)
    assert gone(story)
    assert isinstance(story.settle(), Forget)
    assert STORE in story.said(EventReason.CHECKPOINTS_DELETED)[0]
    assert story.said(EventReason.CHECKPOINTS_RETAINED) == []


def test_a_finished_task_is_cleaned_up_too() -> None:
    story = deleting()
    story.world.exit(story.running(), 0)
    story.settle()
    story.world.ask_to_delete_task()
    story.settle()
    story.world.exit(CLEANUP, 0)
    story.settle()
    assert gone(story)


def test_a_sidecar_that_never_ends_keeps_nobody() -> None:
    story = with_cleanup_pod()
    story.world.exit(CLEANUP, 0, phase="Running")
    story.settle()
    assert gone(story)


def test_the_operator_may_die_at_any_step() -> None:
    story = deleting()
    for _ in range(40):
        story.restart()
        story.operator.step()
        if story.world.task is not None:
            story.operator.step()  # the look before a create is worth nothing to the next process
        if story.world.task is None:
            break
        if "train-1" in story.pods and not story.world.pods["train-1"]["spec"].get("nodeName"):
            story.world.bind("train-1", "node-1")
            story.world.run("train-1")
        if story.status.get("podUID") and "deletionTimestamp" not in story.world.task["metadata"]:
            story.world.ask_to_delete_task()
        elif story.world.alive(UID) and "deletionTimestamp" in story.world.pods["train-1"]["metadata"]:
            story.world.exit("train-1", 143)
        elif CLEANUP in story.pods:
            story.world.exit(CLEANUP, 0)
    assert gone(story)
    assert [pod["metadata"]["name"] for pod in story.world.created] == ["train-1", CLEANUP]


# --- changes of mind -------------------------------------------------------------------------------------------
def test_retain_said_while_it_is_being_deleted_lets_it_go_with_its_store() -> None:
    story = deleted_while_running()
    story.world.edit_spec(checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": "Retain"})
    story.settle()
    assert gone(story)
    story.settle()
    assert f"from: {STORE}" in story.said(EventReason.CHECKPOINTS_RETAINED)[0]


def test_no_cleanup_pod_is_made_from_an_old_look_at_the_policy() -> None:
    story = deleted_while_running()
    story.world.exit("train-1", 143)
    story.operator.watch()
    story.operator.confirmed_at = None
    while story.status.get("cleanup") is None:
        story.operator.step()
    story.operator.confirmed_at = None
    story.world.edit_spec(checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": "Retain"})
    story.operator.settle()
    assert CLEANUP not in [pod["metadata"]["name"] for pod in story.world.created]
    assert gone(story)


def test_delete_said_too_late_keeps_the_store_and_says_so() -> None:
    story = Story()
    story.running()
    story.world.edit_spec(checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": "Delete"})
    story.world.ask_to_delete_task()
    story.settle()
    assert f"from: {STORE}" in story.said(EventReason.CHECKPOINTS_RETAINED)[0]


def test_a_spec_that_cant_be_read_lets_the_task_go_and_says_what_stays() -> None:
    story = deleted_while_running()
    story.world.edit_spec(template={"spec": {}})
    story.settle()
    assert gone(story)
    assert STORE in story.said(EventReason.CLEANUP_GIVEN_UP)[0]


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_other_peoples_finalizers_outlive_ours(policy: str) -> None:
    world = World(task(checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": policy}))
    story = Story()
    story.world = world
    story.restart()
    assert world.task is not None
    world.task["metadata"]["finalizers"] = [FOREIGN]
    world.edit_spec()
    story.running()
    world.ask_to_delete_task()
    story.settle()
    world.exit("train-1", 143)
    story.settle()
    if policy == "Delete":
        world.exit(CLEANUP, 0)
        story.settle()
    assert finalizers(story) == [FOREIGN]
    written = [d.step.finalizers for d in story.operator.decisions if isinstance(d.step, WriteFinalizers)]
    assert all(FOREIGN in names for names in written)
