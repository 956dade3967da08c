"""Tasks that are deleted with their checkpoints, and how far they have come."""

from __future__ import annotations

from tests.unit.operator.story import Story
from tests.unit.operator.tasks import task
from waypost_operator.model.raw import Json
from waypost_operator.specs import pod as specs

FOREIGN = "example.com/hold"
CLEANUP = "train-cleanup"


def deleting() -> Story:
    """A story about a task whose checkpoints are to be deleted with it."""
    return Story(task(checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": "Delete"}))


def finalizers(story: Story) -> list[str]:
    assert story.world.task is not None
    found: list[str] = story.world.task["metadata"].get("finalizers", [])
    return found


def controller_reference(story: Story) -> Json:
    assert story.world.task is not None
    return specs.controller_reference(story.world.task["metadata"])


def gone(story: Story) -> bool:
    return story.world.task is None


def deleted_while_running() -> Story:
    """Attempt 1 runs, and the task is deleted."""
    story = deleting()
    story.running()
    story.world.ask_to_delete_task()
    story.settle()
    return story


def with_cleanup_pod() -> Story:
    """Nothing of the task runs any more, and the clean-up pod was created."""
    story = deleted_while_running()
    story.world.exit("train-1", 143)
    story.settle()
    assert CLEANUP in story.pods
    return story


def fail(story: Story, message: str = "AccessDenied") -> None:
    """The clean-up pod ends without having deleted anything."""
    story.world.exit(CLEANUP, 74, message=message)
    story.settle()
