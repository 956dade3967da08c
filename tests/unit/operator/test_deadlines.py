"""The three limits of time: of the task, of an attempt, and of a pod that waits for its start."""

from __future__ import annotations

import pytest

from tests.unit.operator.story import Story, document
from tests.unit.operator.tasks import task
from tests.unit.operator.test_suspending import NOTHING, suspended
from waypost.contract import ConditionReason, Document, EventReason, Outcome
from waypost_operator.model.decision import Wait


def wake_in(story: Story) -> float:
    """Seconds until the operator looks again by itself."""
    step = story.settle()
    assert isinstance(step, Wait)
    assert story.operator.wake_at is not None
    return (story.operator.wake_at - story.world.now).total_seconds()


# --- activeDeadlineSeconds -----------------------------------------------------------------------------------
def test_a_task_that_was_active_for_too_long_is_stopped_gracefully_and_fails() -> None:
    story = Story(task(activeDeadlineSeconds=600))
    name = story.running()
    assert wake_in(story) == 600
    story.settle(seconds=600)
    assert "deletionTimestamp" in story.world.pods[name]["metadata"]
    assert story.last["stopping"]["reason"] == "ActiveDeadline"
    story.world.exit(name, 143, document(1, step=5))
    story.settle(seconds=10)
    verdict = story.condition("Succeeded")
    assert (verdict["status"], verdict["reason"]) == ("False", ConditionReason.DEADLINE_EXCEEDED)
    assert "activeDeadlineSeconds (600) passed at 2026-11-23T09:10:00Z" in verdict["message"]
    assert story.attempt(1)["outcome"] == Outcome.DEADLINE_EXCEEDED
    assert story.status["counts"] == NOTHING
    assert story.pods == ["train-1"]
    assert len(story.said(EventReason.FAILED)) == 1


def test_a_completion_after_the_deadline_still_wins() -> None:
    story = Story(task(activeDeadlineSeconds=600))
    name = story.running()
    story.settle(seconds=600)
    story.world.exit(name, 75, Document(attempt=1, fence=1, completed=True))
    story.settle()
    assert story.status["state"] == "Succeeded"


def test_the_clock_runs_over_all_attempts_and_their_waits() -> None:
    story = Story(task(activeDeadlineSeconds=600, initial_seconds=60))
    story.world.exit(story.running(), 1)
    story.settle(seconds=590)
    name = story.running(2)
    assert wake_in(story) == 10
    story.settle(seconds=10)
    assert "deletionTimestamp" in story.world.pods[name]["metadata"]


def test_a_task_that_backs_off_fails_when_its_time_is_over_and_no_pod_is_created() -> None:
    story = Story(task(activeDeadlineSeconds=100, initial_seconds=3600, max_seconds=3600))
    story.world.exit(story.running(), 1)
    assert wake_in(story) == 100
    story.settle(seconds=100)
    assert story.condition("Succeeded")["reason"] == ConditionReason.DEADLINE_EXCEEDED
    assert story.pods == ["train-1"]


def test_an_attempt_that_ends_by_itself_too_late_is_not_followed() -> None:
    story = Story(task(activeDeadlineSeconds=100))
    name = story.running()
    story.world.disrupt(name)
    story.world.exit(name, 143, document(1, step=5))
    story.settle(seconds=100)
    assert story.attempt(1)["outcome"] == Outcome.PREEMPTED
    assert story.condition("Succeeded")["reason"] == ConditionReason.DEADLINE_EXCEEDED
    assert story.status["attempt"] == 1


def test_a_number_without_a_pod_ends_with_the_task() -> None:
    story = Story(task(activeDeadlineSeconds=100))
    name = story.running()
    story.world.refuse_creates = (403, "quota")
    story.world.exit(name, 75, document(1, step=5))
    story.settle()
    assert story.status["attempt"] == 2
    story.world.refuse_creates = None
    story.world.now = story.world.now.replace(minute=30)
    story.settle()
    assert story.condition("Succeeded")["reason"] == ConditionReason.DEADLINE_EXCEEDED
    assert story.pods == ["train-1"]


def test_waiting_for_the_first_start_is_not_active() -> None:
    story = Story(task(activeDeadlineSeconds=10))
    story.settle()
    story.settle(seconds=3600)
    assert story.status["state"] == "Pending"


def test_the_time_suspended_does_not_count() -> None:
    story = Story(task(activeDeadlineSeconds=600))
    name = story.running()
    story.settle(seconds=100)
    suspended(story, name)
    story.settle(seconds=100_000)
    assert story.status["state"] == "Suspended"
    story.world.edit_spec(suspend=False)
    story.running(2)
    assert wake_in(story) == 500


def test_who_suspends_in_time_does_not_lose_the_task_to_the_grace_of_its_pod() -> None:
    story = Story(task(activeDeadlineSeconds=600))
    name = story.running()
    story.settle(seconds=599)
    story.world.edit_spec(suspend=True)
    story.settle()
    story.settle(seconds=60)
    story.world.exit(name, 143)
    story.settle()
    assert story.status["state"] == "Suspended"
    assert story.status["suspendedSince"] == "2026-11-23T09:09:59Z"


def test_who_resumes_while_the_pod_still_ends_does_not_pay_for_its_grace() -> None:
    story = Story(task(activeDeadlineSeconds=600))
    name = story.running()
    story.settle(seconds=100)
    story.world.edit_spec(suspend=True)
    story.settle()
    story.world.edit_spec(suspend=False)
    story.settle(seconds=110)
    story.world.exit(name, 143)
    story.world.remove(name)
    story.settle()
    assert story.attempt(1)["outcome"] == Outcome.SUSPENDED
    story.running(2)
    assert wake_in(story) == 500


def test_a_longer_deadline_given_while_the_pod_ends_lets_the_task_go_on() -> None:
    story = Story(task(activeDeadlineSeconds=600))
    name = story.running()
    story.settle(seconds=600)
    story.world.edit_spec(activeDeadlineSeconds=6000)
    story.world.exit(name, 143)
    story.settle()
    assert story.pods == ["train-1", "train-2"]


# --- attemptDeadlineSeconds ----------------------------------------------------------------------------------
@pytest.mark.parametrize("progress", [True, False])
def test_an_attempt_that_runs_for_too_long_is_judged_like_a_recoverable_exit(progress: bool) -> None:
    story = Story(task(attemptDeadlineSeconds=300))
    story.settle(seconds=500)  # a wait for the start doesn't count
    name = story.running()
    assert wake_in(story) == 300
    story.settle(seconds=300)
    assert story.last["stopping"]["reason"] == "AttemptDeadline"
    story.world.exit(name, 143, document(1, step=5) if progress else None)
    story.settle()
    assert story.attempt(1)["outcome"] == Outcome.RECOVERABLE
    assert story.attempt(1)["rule"] == "AttemptDeadline"
    counts = story.status["counts"]
    assert (counts["freeRetries"], counts["failures"]) == ((1, 0) if progress else (0, 1))
    assert counts["preemptions"] == 0
    assert story.status["attempt"] == (2 if progress else 1)


def test_the_next_attempt_has_its_own_time() -> None:
    story = Story(task(attemptDeadlineSeconds=300))
    name = story.running()
    story.settle(seconds=300)
    story.world.exit(name, 143, document(1, step=5))
    story.running(2)
    assert wake_in(story) == 300


# --- pendingDeadlineSeconds ----------------------------------------------------------------------------------
UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient cpu.",
}


def give_up(story: Story) -> None:
    """The deadline passes; a pod without a node goes as soon as it is deleted, and the watch says so."""
    story.settle(seconds=900)
    story.settle()


def test_a_pod_that_does_not_start_in_time_fails_the_task_with_the_schedulers_words() -> None:
    story = Story(task(pendingDeadlineSeconds=900))
    story.settle()
    story.world.pods["train-1"]["status"]["conditions"] = [UNSCHEDULABLE]
    story.world.keep_waiting("train-1", "", "")
    assert wake_in(story) == 900
    give_up(story)
    verdict = story.condition("Succeeded")
    assert (verdict["status"], verdict["reason"]) == ("False", ConditionReason.PENDING_DEADLINE_EXCEEDED)
    assert "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu." in verdict["message"]
    assert story.attempt(1)["outcome"] == Outcome.DEADLINE_EXCEEDED
    assert story.status["counts"] == NOTHING
    assert story.pods == []


def test_the_kubelets_words_are_kept_as_well() -> None:
    story = Story(task(pendingDeadlineSeconds=900))
    story.settle()
    story.world.bind("train-1", "node-1")
    story.world.keep_waiting("train-1", "ImagePullBackOff", "no such image")
    story.settle(seconds=900)
    story.world.remove("train-1")
    story.settle()
    assert "ErrImagePull: container main: no such image" in story.condition("Succeeded")["message"]


def test_with_an_overlay_the_next_attempt_runs_on_demand_and_only_then_the_task_fails() -> None:
    on_demand = {"onDemand": {"nodeSelector": {"capacity": "on-demand"}}}
    story = Story(task(pendingDeadlineSeconds=900, preemptionPolicy=on_demand))
    story.settle()
    give_up(story)
    assert story.pods == ["train-2"]
    assert story.world.pods["train-2"]["spec"]["nodeSelector"] == {"capacity": "on-demand"}
    assert story.last["placement"] == "OnDemand"
    assert "on demand from now on, after no start within pendingDeadlineSeconds" in story.said_in_all()
    give_up(story)
    assert story.condition("Succeeded")["reason"] == ConditionReason.PENDING_DEADLINE_EXCEEDED


def test_a_pod_that_has_started_is_not_pending_any_more() -> None:
    story = Story(task(pendingDeadlineSeconds=900))
    story.running()
    story.settle(seconds=3600)
    assert story.status["state"] == "Running"


def test_without_a_deadline_a_pod_may_wait_for_ever() -> None:
    story = Story()
    story.settle()
    story.settle(seconds=1_000_000)
    assert story.pods == ["train-1"]
    assert story.operator.wake_at is None
