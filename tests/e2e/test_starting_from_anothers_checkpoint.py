"""A task with `checkpoint.from` begins where another one stood, on every attempt until it has saved by itself."""

from __future__ import annotations

from tests.e2e.scene import Scene
from tests.e2e.tasks import stepping, task


def test_preempted_before_its_first_save_it_begins_there_again(scene: Scene) -> None:
    scene.apply(task(scene, "base", stepping(scene, "base", steps=10, every=5, pace=0.05)))
    scene.wait_finished("base")
    # Both keep one ledger: to its judge they are one program, and what the second begins with must have been done.
    command = stepping(scene, "base", "--on-sigterm=deaf", steps=40, every=1000)
    tuned = task(scene, "tuned", command, grace=1)
    tuned["spec"]["checkpoint"]["from"] = scene.status("base")["checkpoint"]["uri"]
    scene.apply(tuned)
    scene.wait("work of its first attempt", lambda: any(run.done for run in scene.ledger("base").runs[1:]))
    scene.evict("tuned-1")
    status = scene.wait_finished("tuned")

    assert scene.outcome("tuned") == "Succeeded"
    assert [one["outcome"] for one in status["attempts"]] == ["Preempted", "Completed"]
    told = scene.ledger("base")
    assert told.complaints == []
    assert [run.resumed_at for run in told.runs] == [0, 10, 10]
    assert told.runs[1].saved == [], "it saved before it was preempted, so nothing was shown"
    assert scene.history().broken_promises() == []


def test_one_that_can_t_be_reached_is_waited_for_and_never_replaced_by_nothing(scene: Scene) -> None:
    lost = task(scene, "lost", stepping(scene, "lost", steps=3, every=1))
    lost["spec"]["checkpoint"]["from"] = "s3://there-is-no-such-bucket/base"
    scene.apply(lost)

    def ended() -> bool:
        return any("outcome" in one for one in scene.status("lost").get("attempts", ()))

    scene.wait("its first attempt to end", ended)
    first = scene.status("lost")["attempts"][0]
    assert (first["outcome"], first["exitCode"]) == ("StorageUnavailable", 74)
    assert "there-is-no-such-bucket" in first["evidence"]  # the message speaks of the next attempt a second later
    assert scene.ledger("lost").runs[0].done == [], "it began from nothing"
