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
