"""A program that asks to be relaunched is relaunched, resumes, and uses no budget as long as it makes progress."""

from __future__ import annotations

from tests.e2e.scene import Scene
from tests.e2e.tasks import quick, stepping, task


def test_exit_75_a_recoverable_error_and_a_code_of_the_users_resume_without_counting_as_failures(scene: Scene) -> None:
    ends = ("--end=6=exit:75@1", "--end=12=recoverable@2", "--end=18=exit:42@3")
    command = stepping(scene, "train", *ends, steps=24, every=3, pace=0.05)
    scene.apply(task(scene, "train", command, policy=quick(failures=0, codes=(42,))))
    status = scene.wait_finished("train")

    assert scene.outcome("train") == "Succeeded"
    assert [(one["outcome"], one.get("exitCode")) for one in status["attempts"]] == [
        ("Recoverable", 75),
        ("Recoverable", 75),
        ("Recoverable", 42),
        ("Completed", 0),
    ]
    assert (status["counts"]["failures"], status["counts"]["freeRetries"]) == (0, 3)
    told = scene.ledger("train")
    assert told.complaints == []
    assert [run.resumed_at for run in told.runs] == [0, 6, 12, 18]
    assert scene.history().broken_promises() == []


def test_without_progress_it_counts_as_a_failure_and_the_retries_end(scene: Scene) -> None:
    command = stepping(scene, "train", "--end=3=exit:75", steps=10, every=100, pace=0.05)
    scene.apply(task(scene, "train", command, policy=quick(failures=1)))
    status = scene.wait_finished("train")

    assert scene.outcome("train") == "Failed"
    assert status["counts"]["failures"] == 2
    assert len(status["attempts"]) == 2
    assert scene.history().broken_promises() == []
