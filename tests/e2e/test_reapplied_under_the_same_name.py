"""A task deleted and applied again under the same name, while its old pod is still on its way out.

The new task's first pod has the old one's name. It waits until that one is gone, takes nothing over from it, and
keeps its checkpoints in a store of its own.
"""

from __future__ import annotations

from tests.e2e.scene import Scene
from tests.e2e.tasks import stepping, task
from waypost.contract import ConditionType


def test_the_new_task_waits_for_the_old_pod_and_starts_from_nothing(scene: Scene) -> None:
    old = stepping(scene, "train", "--on-sigterm=deaf", steps=500, every=2)
    new = stepping(scene, "again", steps=10, every=2)
    scene.apply(task(scene, "train", old, grace=6))
    scene.wait_saved("train", 2)
    old_uid = scene.task("train")["metadata"]["uid"]
    old_uri = scene.status("train")["checkpoint"]["uri"]

    scene.kubectl("delete", "checkpointedtask", "train", "--wait=false")
    scene.wait("the task to be gone", lambda: not scene.task("train"))
    scene.wait("its pod to be terminating", lambda: (scene.pod("train-1") or {})["metadata"].get("deletionTimestamp"))
    scene.apply(task(scene, "train", new, grace=6))
    waiting = scene.wait(
        "the new task to say that it waits",
        lambda: _reason(scene, ConditionType.PROGRESSING) or _reason(scene, ConditionType.POD_CREATED),
    )
    status = scene.wait_finished("train")

    assert waiting in ("WaitingForOldPod", "PodNameTaken"), waiting
    assert scene.outcome("train") == "Succeeded"
    assert scene.task("train")["metadata"]["uid"] != old_uid
    assert status["checkpoint"]["uri"] != old_uri
    assert [one["outcome"] for one in status["attempts"]] == ["Completed"]
    told = scene.ledger("again")
    assert told.complaints == []
    assert told.runs[0].resumed_at == 0, "the new task took over the old one's progress"
    first, second = scene.history().lives("train")
    assert (first.name, second.name) == ("train-1", "train-1")
    assert first.gone is not None
    assert second.created >= first.gone
    assert scene.history().broken_promises() == []


def _reason(scene: Scene, kind: ConditionType) -> str | None:
    condition = scene.condition("train", kind)
    return condition["reason"] if condition is not None and condition["status"] == "False" else None
