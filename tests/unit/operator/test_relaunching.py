"""Each kind of end has its own budget and its own wait, and a preemption is never a failure."""

from __future__ import annotations

import dataclasses

from tests.unit.operator.server import START
from tests.unit.operator.story import Story, document
from tests.unit.operator.tasks import task
from waypost.contract import ConditionReason, Document, DocumentReason, EventReason, Outcome, Transfer
from waypost_operator.model.decision import (
    Wait,
)


def test_a_preempted_task_with_progress_is_relaunched_at_once_by_one_write_and_one_create() -> None:
    story = Story()
    name = story.running(seconds=60)
    story.world.disrupt(name)
    story.settle()
    story.world.exit(name, 0, document(1, step=41))
    story.operator.decisions.clear()
    story.settle()
    assert story.steps() == ["WriteStatus", "CreatePod", "WriteStatus", "Wait"]
    assert story.attempt(1)["outcome"] == Outcome.PREEMPTED
    assert story.status["counts"] == {"attempts": 1, "preemptions": 1, "failures": 0, "freeRetries": 0}
    assert story.status["sinceProgress"]["preemptions"] == 0
    assert story.status["lastCheckpoint"] == {"attempt": 1, "sequence": 51, "step": 41}
    (said,) = story.said(EventReason.PREEMPTED)
    assert said == (
        "attempt 1 was preempted (EvictionByEvictionAPI on node-1) at step 41; "
        "starting attempt 2 now, it resumes from the newest checkpoint"
    )


def test_the_history_tells_what_an_attempts_restore_and_its_last_save_took() -> None:
    story = Story()
    name = story.running(seconds=60)
    story.world.disrupt(name)
    told = document(1, step=41)
    restore, save = Transfer(5000, 4000, 300), Transfer(6000, 100, 20)
    story.world.exit(name, 143, dataclasses.replace(told, restore=restore, last_save=save))
    story.settle()
    assert story.attempt(1)["restore"] == {"sizeBytes": 5000, "movedBytes": 4000, "milliseconds": 300}
    assert story.attempt(1)["lastSave"] == {"sizeBytes": 6000, "movedBytes": 100, "milliseconds": 20}
    story.world.exit(story.running(2), 143, document(2, step=42))
    story.settle()
    assert not {"restore", "lastSave"} & set(story.attempt(2)), "it told nothing of these"


def test_the_hundredth_preemption_with_progress_is_relaunched_as_fast_as_the_first() -> None:
    story = Story()
    for attempt in range(1, 101):
        name = story.running(attempt)
        story.world.disrupt(name)
        story.world.exit(name, 143, document(attempt, step=attempt, resumed=attempt - 1 if attempt > 1 else None))
        story.settle()
        assert story.status["attempt"] == attempt + 1
    assert story.status["counts"]["preemptions"] == 100
    assert len(story.status["attempts"]) == 20
    assert story.world.now == START


def test_preemptions_without_progress_wait_longer_and_longer_and_never_fail_the_task() -> None:
    story = Story(task(max_failures=0))
    waits = []
    for attempt in range(1, 9):
        name = story.running(attempt)
        story.world.disrupt(name)
        story.world.exit(name, 137)
        step = story.settle()
        assert story.condition("Progressing")["reason"] == ConditionReason.BACKING_OFF
        assert "without progress" in story.condition("Progressing")["message"]
        after = story.operator.wake_at
        assert isinstance(step, Wait)
        assert after is not None
        waits.append((after - story.world.now).total_seconds())
        story.world.now = after
    assert [9 <= waits[0] <= 10, 18 <= waits[1] <= 20, 36 <= waits[2] <= 40] == [True] * 3
    assert all(540 <= wait <= 600 for wait in waits[6:])
    story.settle()
    assert story.status["attempt"] == 9


def test_progress_makes_the_wait_short_again() -> None:
    story = Story()
    for attempt in (1, 2):
        name = story.running(attempt)
        story.world.disrupt(name)
        story.world.exit(name, 137)
        story.settle()
        story.settle(seconds=20)
    assert story.status["sinceProgress"]["preemptions"] == 2
    name = story.running(3)
    story.world.disrupt(name)
    story.world.exit(name, 137, document(3, step=7))
    story.settle()
    assert story.status["attempt"] == 4
    assert story.status["sinceProgress"]["preemptions"] == 0


def test_failures_beyond_the_limit_fail_the_task_with_the_reason() -> None:
    story = Story(task(max_failures=2))
    for attempt in (1, 2, 3):
        name = story.running(attempt)
        story.world.exit(name, 1)
        story.settle()
        story.settle(seconds=40)
    verdict = story.condition("Succeeded")
    assert (verdict["status"], verdict["reason"]) == ("False", ConditionReason.FAILURES_EXCEEDED)
    assert verdict["message"] == "3 failures since the last progress (maxFailures: 2); attempt 3: exit code 1"
    assert story.status["state"] == "Failed"
    assert len(story.said(EventReason.FAILED)) == 1
    assert len(story.world.created) == 3


def test_a_preemption_never_uses_the_failure_budget() -> None:
    story = Story(task(max_failures=1))
    for attempt in range(1, 7):
        name = story.running(attempt)
        if attempt % 2:
            story.world.disrupt(name)
        story.world.exit(name, 1, document(attempt, step=attempt) if attempt % 2 else None)
        story.settle()
        story.settle(seconds=20)
    assert story.status["counts"] == {"attempts": 6, "preemptions": 3, "failures": 3, "freeRetries": 0}
    assert story.status["state"] != "Failed"


def test_a_recoverable_exit_with_progress_is_free_and_without_it_a_failure() -> None:
    story = Story()
    story.world.exit(story.running(1), 75, document(1, step=5))
    story.settle()
    assert story.status["counts"]["freeRetries"] == 1
    assert story.status["attempt"] == 2
    story.world.exit(story.running(2), 75, document(2, resumed=5))
    story.settle()
    assert story.status["counts"]["failures"] == 1
    assert story.condition("Progressing")["reason"] == ConditionReason.BACKING_OFF
    assert "failure 1 of 3 allowed" in story.condition("Progressing")["message"]


def test_a_program_without_steps_makes_progress_only_if_it_ran_long_enough() -> None:
    story = Story()
    story.world.exit(story.running(1, seconds=3), 75, document(1, sequence=4))
    story.settle()
    assert story.attempt(1)["progressed"] is False
    story.settle(seconds=10)
    story.world.exit(story.running(2, seconds=12), 75, document(2, sequence=9))
    story.settle()
    assert story.attempt(2)["progressed"] is True
    assert story.status["attempt"] == 3


def test_unreachable_storage_is_retried_free_for_ever_and_says_what_the_sdk_said() -> None:
    story = Story(task(max_failures=0))
    said = "can't read s3://bucket/runs: 403 AccessDenied"
    for attempt in range(1, 6):
        end = Document(attempt=attempt, reason=DocumentReason.STORAGE_ERROR, message=said)
        story.world.exit(story.running(attempt), 74, end)
        story.settle()
        assert said in story.condition("StorageAvailable")["message"]
        story.settle(seconds=600)
    assert story.status["attempt"] == 6
    assert story.status["counts"] == {"attempts": 5, "preemptions": 0, "failures": 0, "freeRetries": 5}
    story.world.disrupt(story.running(6))
    story.world.exit("train-6", 75, document(6, step=1))
    story.settle()
    assert story.condition("StorageAvailable")["status"] == "True"


def test_a_corrupt_checkpoint_fails_the_task_at_once() -> None:
    story = Story()
    story.world.exit(story.running(), 65, Document(attempt=1, message="no checkpoint verifies"))
    story.settle()
    assert story.condition("Succeeded")["reason"] == ConditionReason.CHECKPOINT_CORRUPT
    assert "no checkpoint verifies" in story.condition("Succeeded")["message"]


def test_a_refused_attempt_counts_nothing_and_the_next_goes_above_what_the_store_knows() -> None:
    story = Story(task(max_failures=0))
    end = Document(attempt=1, reason=DocumentReason.ATTEMPT_REFUSED, highest_attempt=17)
    story.world.exit(story.running(), 75, end)
    story.settle()
    assert story.status["attempt"] == 18
    assert story.pods == ["train-1", "train-18"]
    assert story.status["counts"] == {"attempts": 1, "preemptions": 0, "failures": 0, "freeRetries": 0}
    second = Document(attempt=18, reason=DocumentReason.ATTEMPT_REFUSED, highest_attempt=18)
    story.world.exit(story.running(18), 75, second)
    story.settle()
    assert story.condition("Progressing")["reason"] == ConditionReason.BACKING_OFF


def test_a_store_that_claims_the_highest_number_there_is_ends_the_task_instead_of_an_invalid_pod() -> None:
    story = Story()
    end = Document(attempt=1, reason=DocumentReason.ATTEMPT_REFUSED, highest_attempt=2**63 - 1)
    story.world.exit(story.running(), 75, end)
    story.settle()
    assert story.condition("Succeeded")["reason"] == ConditionReason.CHECKPOINT_CORRUPT


def test_a_lost_pod_is_relaunched_at_once_the_first_time_and_after_a_wait_the_second() -> None:
    story = Story()
    story.running(1)
    story.world.remove("train-1")
    story.settle()
    assert story.attempt(1)["outcome"] == Outcome.UNKNOWN
    assert story.status["attempt"] == 2
    story.running(2)
    story.world.remove("train-2")
    story.settle()
    assert story.condition("Progressing")["reason"] == ConditionReason.BACKING_OFF


def test_the_progress_of_a_lost_pod_is_settled_from_what_its_successor_resumed_from() -> None:
    story = Story()
    story.running(1)
    story.world.remove("train-1")
    story.settle()
    story.running(2)
    story.world.disrupt("train-2")
    story.world.exit("train-2", 143, document(2, resumed=30))
    story.settle()
    assert story.status["lastCheckpoint"] == {"attempt": 1, "sequence": 40, "step": 30}
    assert story.status["progress"]["step"] == 30
    assert story.status["sinceProgress"] == {
        "failures": 0, "preemptions": 1, "unknown": 0, "storage": 0, "refused": 0, "excused": 0, "attempts": 1
    }  # fmt: skip


def test_a_lost_pod_of_a_lost_node_was_preempted() -> None:
    story = Story()
    story.running(1)
    del story.world.nodes["node-1"]
    story.world.remove("train-1")
    story.settle()
    assert story.attempt(1)["outcome"] == Outcome.PREEMPTED
    assert story.attempt(1)["evidence"].endswith("node node-1 is gone")
