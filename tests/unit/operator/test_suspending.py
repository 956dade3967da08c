"""Suspended: stopped with its grace, counted nowhere, and gone on with where it was."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.operator.server import START
from tests.unit.operator.story import Story, document
from tests.unit.operator.tasks import task
from waypost.contract import ConditionReason, Document, EventReason, Outcome, Position
from waypost_operator.model.decision import CreatePod, DeletePod, Wait, WriteStatus

NOTHING = {"attempts": 1, "preemptions": 0, "failures": 0, "freeRetries": 0}


def suspended(story: Story, name: str, *, code: int = 143, said: Document | None = None) -> None:
    """The user suspends, the operator stops the pod, and the kubelet says that it has ended."""
    story.world.edit_spec(suspend=True)
    story.settle()
    story.world.exit(name, code, said)
    story.world.remove(name)
    story.settle()


def test_a_running_attempt_is_stopped_with_its_grace_and_counts_nothing() -> None:
    story = Story(task(max_failures=0))
    name = story.running(seconds=60)
    suspended(story, name, said=document(1, step=41))
    assert story.attempt(1)["outcome"] == Outcome.SUSPENDED
    assert story.attempt(1)["rule"] == "Suspended"
    assert story.status["counts"] == NOTHING
    assert story.status["state"] == "Suspended"
    assert story.status["lastCheckpoint"]["step"] == 41
    assert story.pods == []
    condition = story.condition("Progressing")
    assert (condition["status"], condition["reason"]) == ("False", ConditionReason.SUSPENDED)
    assert condition["message"] == (
        "attempt 1 was suspended (spec.suspend is true) at step 41; set spec.suspend to false to go on"
    )
    assert story.said(EventReason.SUSPENDED) == [condition["message"]]


def test_the_order_stands_in_status_before_the_pod_is_deleted() -> None:
    story = Story()
    name = story.running()
    story.world.edit_spec(suspend=True)
    story.operator.watch()
    first = story.operator.step()
    assert isinstance(first.step, WriteStatus)
    assert story.last["stopping"]["reason"] == "Suspended"
    assert "deletionTimestamp" not in story.world.pods[name]["metadata"]
    assert isinstance(story.operator.step().step, DeletePod)
    assert "deletionTimestamp" in story.world.pods[name]["metadata"]


def test_an_operator_that_died_right_after_the_order_is_followed_by_one_that_carries_it_out() -> None:
    story = Story()
    name = story.running()
    story.world.edit_spec(suspend=True)
    story.operator.watch()
    story.operator.step()
    story.restart()
    story.settle()
    assert "deletionTimestamp" in story.world.pods[name]["metadata"]


def test_our_own_stop_is_known_as_such_by_the_next_operator() -> None:
    story = Story()
    name = story.running()
    story.world.edit_spec(suspend=True)
    story.settle()
    story.world.exit(name, 0, Document(attempt=1, fence=1, stop_requested=True))
    story.world.remove(name)
    story.restart()
    story.settle()
    assert story.attempt(1)["outcome"] == Outcome.SUSPENDED
    assert story.status["counts"] == NOTHING


def test_a_completion_wins_the_race() -> None:
    story = Story()
    name = story.running()
    story.world.edit_spec(suspend=True)
    story.settle()
    story.world.exit(name, 0, Document(attempt=1, fence=1, completed=True))
    story.settle()
    assert story.status["state"] == "Succeeded"


def test_an_end_of_its_own_before_the_pod_was_deleted_is_judged_as_what_it_is() -> None:
    story = Story()
    name = story.running()
    story.world.edit_spec(suspend=True)
    story.operator.watch()
    story.operator.step()  # the order is written ...
    story.world.exit(name, 1)  # ... and the program fails before the pod is deleted
    story.settle()
    assert story.attempt(1)["outcome"] == Outcome.FAILED
    assert story.status["state"] == "Suspended"
    assert story.status["attempt"] == 1


def test_exit_0_after_our_stop_is_no_completion() -> None:
    story = Story()
    suspended(story, story.running(), code=0)
    assert story.attempt(1)["outcome"] == Outcome.SUSPENDED


def test_a_preemption_on_its_way_stays_one_and_the_task_is_suspended_after_it() -> None:
    story = Story()
    name = story.running()
    story.world.disrupt(name)
    suspended(story, name)
    assert story.attempt(1)["outcome"] == Outcome.PREEMPTED
    assert story.status["state"] == "Suspended"
    assert "stopping" not in story.attempt(1)


def test_resuming_starts_the_next_attempt_at_once() -> None:
    story = Story()
    suspended(story, story.running())
    story.settle(seconds=3600)
    assert story.pods == []
    story.world.edit_spec(suspend=False)
    story.settle()
    assert story.pods == ["train-2"]
    assert story.status["attempt"] == 2
    assert "suspendedSince" not in story.status
    assert story.said(EventReason.RESUMED) == ["resumed, it was suspended since 2026-11-23T09:00:00Z"]


def test_a_change_of_mind_while_the_pod_ends_goes_on_with_the_next_attempt() -> None:
    story = Story()
    name = story.running()
    story.world.edit_spec(suspend=True)
    story.settle()
    story.world.edit_spec(suspend=False)
    story.settle()
    story.world.exit(name, 143)
    story.settle()
    assert story.attempt(1)["outcome"] == Outcome.SUSPENDED
    assert story.pods == ["train-1", "train-2"]


def test_a_task_that_is_born_suspended_creates_no_pod() -> None:
    story = Story(task(suspend=True))
    assert isinstance(story.settle(), Wait)
    assert story.pods == []
    assert story.status["state"] == "Suspended"
    assert story.status["attempt"] == 0
    assert story.condition("Progressing")["message"].startswith("suspended before its first attempt")
    story.world.edit_spec(suspend=False)
    story.settle()
    assert story.pods == ["train-1"]


def test_a_task_that_backs_off_is_suspended_without_a_pod_and_keeps_its_wait() -> None:
    story = Story()
    story.world.exit(story.running(), 1)
    story.settle()
    story.world.edit_spec(suspend=True)
    story.settle(seconds=60)
    assert story.status["state"] == "Suspended"
    assert story.status["attempt"] == 1
    story.world.edit_spec(suspend=False)
    story.settle()
    assert story.pods == ["train-1", "train-2"]


def test_a_number_without_a_pod_is_kept_for_the_resuming() -> None:
    story = Story()
    story.world.refuse_creates = (403, "quota")
    story.settle()
    story.world.edit_spec(suspend=True)
    story.settle()
    assert story.status["state"] == "Suspended"
    story.world.refuse_creates = None
    story.settle(seconds=60)
    assert story.pods == []
    story.world.edit_spec(suspend=False)
    story.settle()
    assert story.pods == ["train-1"]
    assert story.status["attempt"] == 1


def test_a_pod_that_turns_up_while_suspended_is_stopped() -> None:
    story = Story()
    story.world.refuse_creates = (503, "slow")
    story.settle()
    story.world.refuse_creates = None
    asked = [decision.step for decision in story.operator.decisions]
    body = next(step.body for step in asked if isinstance(step, CreatePod))
    story.world.edit_spec(suspend=True)
    story.settle()
    story.world.create_pod(body)  # the API server carries a create out that nobody waits for any more
    story.world.bind("train-1", "node-1")
    story.world.run("train-1")
    story.settle()
    assert "deletionTimestamp" in story.world.pods["train-1"]["metadata"]
    story.world.exit("train-1", 143)
    story.world.remove("train-1")
    story.settle()
    assert story.attempt(1)["outcome"] == Outcome.SUSPENDED
    assert story.status["suspendedSince"] == "2026-11-23T09:00:00Z"


def test_nothing_is_created_or_written_while_suspended() -> None:
    story = Story()
    suspended(story, story.running())
    story.operator.decisions.clear()
    for _ in range(5):
        story.settle(seconds=600)
    assert set(story.steps()) == {"Wait"}


def test_the_time_suspended_is_added_up_and_only_since_the_first_start() -> None:
    story = Story(task(suspend=True))
    story.settle(seconds=1000)
    story.world.edit_spec(suspend=False)
    story.settle()
    assert story.status["suspendedSeconds"] == 0
    name = story.running()
    suspended(story, name)
    story.settle(seconds=500)
    story.world.edit_spec(suspend=False)
    story.settle()
    assert story.status["suspendedSeconds"] == 500
    assert story.status["firstStarted"] == f"{START + timedelta(seconds=1000):%Y-%m-%dT%H:%M:%SZ}"


def test_progress_made_before_the_stop_counts() -> None:
    story = Story()
    story.world.exit(story.running(), 1)
    story.settle()
    story.settle(seconds=20)
    assert story.status["sinceProgress"]["failures"] == 1
    suspended(story, story.running(2), said=Document(attempt=2, fence=9, committed=Position(12, 3)))
    assert story.status["sinceProgress"]["failures"] == 0


def test_a_task_that_is_over_cannot_be_suspended() -> None:
    story = Story()
    story.world.exit(story.running(), 0)
    story.settle()
    story.world.edit_spec(suspend=True)
    story.settle()
    assert story.status["state"] == "Succeeded"
