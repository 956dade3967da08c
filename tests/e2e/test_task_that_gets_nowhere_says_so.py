"""Condition Stalled: who looks at a task that is relaunched again and again sees that it gets nowhere, and why."""

from __future__ import annotations

from tests.e2e.scene import Json, Scene
from tests.e2e.tasks import quick, stepping, task
from waypost.contract import ConditionReason, ConditionType, EventReason


def test_three_attempts_without_progress_are_said_until_one_gets_further(scene: Scene) -> None:
    before_its_first_save = [f"--end=3=exit:75@{attempt}" for attempt in (1, 2, 3)]
    after_it = "--end=6=exit:75@4"
    command = stepping(scene, "train", *before_its_first_save, after_it, steps=8, every=4, pace=0.05)
    scene.apply(task(scene, "train", command, policy=quick(failures=3)))

    def stalled(value: str) -> Json | None:
        found = scene.condition("train", ConditionType.STALLED)
        return found if found is not None and found["status"] == value else None

    said = scene.wait("the task to say that it is stalled", lambda: stalled("True"))
    assert said["reason"] == ConditionReason.NO_PROGRESS
    assert said["message"].startswith(
        "no progress in 3 attempts in a row (3 Recoverable), nothing was ever committed; the last one, attempt 3: "
    )
    event = scene.wait_event("train", EventReason.STALLED)
    assert (event["type"], event["note"]) == ("Warning", said["message"])
    status = scene.wait_finished("train")

    assert scene.outcome("train") == "Succeeded"
    mended = stalled("False")
    assert mended is not None
    assert mended["reason"] == ConditionReason.PROGRESS_MADE
    assert [one["progressed"] for one in status["attempts"]] == [False, False, False, True, True]
    assert [run.resumed_at for run in scene.ledger("train").runs] == [0, 0, 0, 0, 4]
    assert scene.history().broken_promises() == []
