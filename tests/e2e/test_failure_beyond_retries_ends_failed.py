"""A program that keeps failing is retried with growing waits, and the task ends Failed, saying why."""

from __future__ import annotations

from tests.e2e.scene import Scene
from tests.e2e.tasks import quick, stepping, task
from waypost.contract import ConditionReason, ConditionType, EventReason


def test_failures_without_progress_end_the_task_with_the_reason(scene: Scene) -> None:
    command = stepping(scene, "train", "--end=3=error", steps=10, every=100, pace=0.05)
    scene.apply(task(scene, "train", command, policy=quick(failures=2)))
    status = scene.wait_finished("train")

    verdict = scene.condition("train", ConditionType.SUCCEEDED)
    assert verdict is not None
    assert (verdict["status"], verdict["reason"]) == ("False", ConditionReason.FAILURES_EXCEEDED)
    assert "told to fail after step 3" in verdict["message"], "the message does not say what the program said"
    assert status["counts"]["failures"] == 3
    assert [one["outcome"] for one in status["attempts"]] == ["Failed"] * 3
    assert scene.wait_event("train", EventReason.FAILED)["type"] == "Warning"
    assert "RuntimeError" in scene.log("train-3"), "the pod of the last attempt stays for kubectl logs"
    lives = scene.history().lives("train")
    assert len(lives) == 3
    assert scene.history().broken_promises() == []


def test_progress_between_failures_gives_the_retries_back(scene: Scene) -> None:
    ends = [f"--end={step}=exit:1@{attempt}" for attempt, step in enumerate((3, 6, 9, 12), start=1)]
    command = stepping(scene, "train", *ends, steps=15, every=3, pace=0.05)
    scene.apply(task(scene, "train", command, policy=quick(failures=1)))
    status = scene.wait_finished("train")

    assert scene.outcome("train") == "Succeeded"
    assert status["counts"]["failures"] == 4
    told = scene.ledger("train")
    assert told.complaints == []
    assert [run.resumed_at for run in told.runs] == [0, 3, 6, 9, 12]


def test_a_plain_exit_0_without_any_stop_order_is_complete(scene: Scene) -> None:
    scene.apply(task(scene, "train", stepping(scene, "train", "--plain-exit", steps=5, every=2, pace=0.05)))
    status = scene.wait_finished("train")
    assert scene.outcome("train") == "Succeeded"
    assert [one["outcome"] for one in status["attempts"]] == ["Completed"]
