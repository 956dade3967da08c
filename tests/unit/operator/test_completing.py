"""Succeeded means that the program ran to its end."""

from __future__ import annotations

from tests.unit.operator.story import Story, document
from waypost.contract import ConditionReason, Document, Outcome
from waypost_operator.model.decision import (
    Wait,
)


def test_a_program_that_was_told_to_stop_and_exits_0_is_not_complete() -> None:
    story = Story()
    name = story.running()
    story.world.disrupt(name)
    story.world.exit(name, 0)
    story.settle(seconds=10)
    assert story.status["state"] != "Succeeded"
    assert story.attempt(1)["outcome"] == Outcome.PREEMPTED


def test_a_completed_task_keeps_its_newest_pods_and_starts_nothing_more() -> None:
    story = Story()
    for attempt in range(1, 6):
        name = story.running(attempt)
        if attempt == 5:
            break
        story.world.exit(name, 75, document(attempt, step=attempt))
        story.settle()
    story.world.exit("train-5", 0, Document(attempt=5, fence=9, completed=True))
    story.settle()
    assert story.status["state"] == "Succeeded"
    assert story.condition("Succeeded")["reason"] == ConditionReason.COMPLETED
    assert story.pods == ["train-3", "train-4", "train-5"]
    story.settle(seconds=10_000)
    story.restart()
    assert story.settle() == Wait()
    assert len(story.world.created) == 5


def test_what_the_program_returned_stands_in_status() -> None:
    story = Story()
    story.world.exit(story.running(), 0, Document(attempt=1, fence=1, completed=True, result='{"loss": 0.1}'))
    story.settle()
    assert story.status["result"] == '{"loss": 0.1}'


def test_a_program_without_the_sdk_says_its_result_in_its_termination_message() -> None:
    story = Story()
    story.world.exit(story.running(), 0, message="  loss 0.1\n" + "x" * 2000)
    story.settle()
    assert story.status["state"] == "Succeeded"
    assert story.status["result"].startswith("loss 0.1\nxxx")
    assert len(story.status["result"]) == 1024


def test_a_failed_task_and_an_empty_message_have_no_result() -> None:
    for code in (0, 65):
        story = Story()
        story.world.exit(story.running(), code, message="" if code == 0 else "broken")
        story.settle()
        assert story.status["state"] in ("Succeeded", "Failed")
        assert "result" not in story.status
