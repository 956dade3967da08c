"""A task whose pod is evicted while it works is relaunched at once and goes on where its last save stood."""

from __future__ import annotations

import pytest

from tests.e2e.scene import Scene
from tests.e2e.tasks import FILE_URI, S3_URI, stepping, task
from waypost import contract
from waypost.contract import EventReason


@pytest.mark.parametrize("uri", [S3_URI, FILE_URI], ids=["s3", "file"])
def test_evicted_mid_loop_it_resumes_and_finishes(scene: Scene, uri: str) -> None:
    scene.apply(task(scene, "train", stepping(scene, "train", steps=30, every=5), uri=uri))
    scene.wait_saved("train", 5)
    scene.evict("train-1")
    scene.wait_running("train-2")
    scene.wait_saved("train", 20)
    scene.evict("train-2")
    status = scene.wait_finished("train")

    assert scene.outcome("train") == "Succeeded"
    told = scene.ledger("train")
    assert told.complaints == []
    assert told.finished
    assert len(told.redone) <= 2 * 5, "more was done again than one save interval for each preemption"
    assert scene.history().broken_promises() == []

    assert (status["counts"]["preemptions"], status["counts"]["failures"]) == (2, 0)
    attempts = status["attempts"]
    assert [one["outcome"] for one in attempts] == ["Preempted", "Preempted", "Completed"]
    assert [one.get("resumedFrom", {}).get("step", 0) for one in attempts] == [run.resumed_at for run in told.runs]
    assert ["restore" in one for one in attempts] == [False, True, True]
    assert all(one["restore"]["movedBytes"] > 0 for one in attempts[1:])
    assert all(one["lastSave"]["sizeBytes"] > 0 for one in attempts)
    described = scene.kubectl("describe", contract.SHORT_NAME, "train")
    for words in ("Restore:", "Last Save:", "Moved Bytes:", "Milliseconds:"):
        assert words in described
    for reason in (EventReason.ATTEMPT_STARTED, EventReason.PREEMPTED, EventReason.SUCCEEDED):
        scene.wait_event("train", reason)


def test_killed_at_the_end_of_its_grace_it_resumes_at_its_last_confirmed_save(scene: Scene) -> None:
    command = stepping(scene, "train", "--on-sigterm=deaf", steps=24, every=8, pace=0.25)
    scene.apply(task(scene, "train", command, grace=1))
    scene.wait_saved("train", 8)
    scene.evict("train-1")
    status = scene.wait_finished("train")

    told = scene.ledger("train")
    assert told.complaints == []
    assert not told.runs[0].told_to_stop
    assert [one["exitCode"] for one in status["attempts"]] == [137, 0]
    assert (status["counts"]["preemptions"], status["counts"]["failures"]) == (1, 0)
    assert scene.history().broken_promises() == []


def test_relaunch_after_a_preemption_with_progress_waits_for_no_backoff(scene: Scene) -> None:
    policy = {"maxFailures": 0, "backoff": {"initialSeconds": 600, "maxSeconds": 600}}
    scene.apply(task(scene, "train", stepping(scene, "train", steps=12, every=2), policy=policy))
    scene.wait_saved("train", 2)
    scene.evict("train-1")
    scene.wait_finished("train")

    first, second = scene.history().lives("train")
    assert first.gone is not None
    assert second.created - first.gone < 5.0


def test_a_program_that_saves_nothing_of_its_own_accord_may_save_when_it_is_told_to_stop(scene: Scene) -> None:
    scene.apply(task(scene, "train", stepping(scene, "train", "--on-sigterm=save", steps=25, every=1000)))
    scene.wait_running("train-1")
    scene.wait("some work", lambda: any(len(run.done) >= 5 for run in scene.ledger("train").runs))
    scene.evict("train-1")
    scene.wait_finished("train")

    told = scene.ledger("train")
    assert told.complaints == []
    assert told.redone == ()
    assert told.runs[0].told_to_stop
    assert told.runs[1].resumed_at == told.runs[0].done[-1]
