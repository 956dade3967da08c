"""A task that is relaunched again and again without getting anywhere says so."""

from __future__ import annotations

from tests.unit.operator.story import Story, document
from waypost.contract import ConditionReason, EventReason


def later(story: Story, attempt: int) -> str:
    """The pod of that attempt, once whatever wait before it is over."""
    story.settle(seconds=1000)
    return story.running(attempt)


def preempted(story: Story, attempt: int, step: int | None = None) -> None:
    name = later(story, attempt)
    story.world.disrupt(name)
    story.world.exit(name, 143, document(attempt, step=step) if step is not None else None)
    story.settle()


def test_two_attempts_without_progress_are_no_news() -> None:
    story = Story()
    for attempt in (1, 2):
        preempted(story, attempt)
    assert not [found for found in story.status["conditions"] if found["type"] == "Stalled"]
    assert story.said(EventReason.STALLED) == []


def test_three_in_a_row_are_told_with_what_they_ended_of_and_the_last_commit() -> None:
    story = Story()
    preempted(story, 1, step=7)
    for attempt in (2, 3):
        preempted(story, attempt, step=7)
    name = later(story, 4)
    story.world.exit(name, 1)
    story.settle()
    stalled = story.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", ConditionReason.NO_PROGRESS)
    assert "no progress in 3 attempts in a row (2 Preempted, 1 Failed)" in stalled["message"]
    assert "the last commit was step 7 of attempt" in stalled["message"]
    assert "attempt 4: exit code 1" in stalled["message"]
    assert "at 2" in story.condition("Progressing")["message"], "when the next one starts"
    preempted(story, 5)
    assert len(story.said(EventReason.STALLED)) == 1, "one Event for one stall"
    assert "in 4 attempts in a row" in story.condition("Stalled")["message"]


def test_progress_ends_it() -> None:
    story = Story()
    for attempt in (1, 2, 3):
        preempted(story, attempt)
    assert story.condition("Stalled")["message"].startswith("no progress in 3 attempts in a row (3 Preempted), nothing")
    preempted(story, 4, step=1)
    assert (story.condition("Stalled")["status"], story.condition("Stalled")["reason"]) == ("False", "ProgressMade")
    assert story.status["sinceProgress"]["attempts"] == 0


def test_progress_of_a_vanished_attempt_that_the_next_one_reveals_ends_it_too() -> None:
    story = Story()
    for attempt in (1, 2, 3):
        preempted(story, attempt)
    vanishing = later(story, 4)
    story.world.remove(vanishing)
    story.settle()
    assert story.condition("Stalled")["status"] == "True"
    name = later(story, 5)
    story.world.disrupt(name)
    story.world.exit(name, 143, document(5, resumed=3))
    story.settle()
    assert story.condition("Stalled")["status"] == "False"
    assert story.status["sinceProgress"]["attempts"] == 1
