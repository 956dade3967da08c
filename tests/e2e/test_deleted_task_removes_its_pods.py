"""Deleting a task ends its pod, whatever the task was doing, and says where the checkpoints stay."""

from __future__ import annotations

from tests.e2e.scene import Scene
from tests.e2e.tasks import stepping, task
from waypost.contract import EventReason


def test_the_pod_goes_with_its_grace_and_the_checkpoints_stay(scene: Scene) -> None:
    scene.apply(task(scene, "train", stepping(scene, "train", "--on-sigterm=save", steps=500, every=5)))
    scene.wait_saved("train", 5)
    uri = scene.status("train")["checkpoint"]["uri"]
    scene.kubectl("delete", "checkpointedtask", "train", "--wait=false")

    scene.wait("the pod to be gone", lambda: scene.pod("train-1") is None)
    told = scene.ledger("train")
    assert told.runs[0].told_to_stop, "the pod was not given its grace"
    assert told.runs[0].saved[-1] == told.runs[0].done[-1], "the last save was not let through"
    assert f"from: {uri}" in scene.wait_event("train", EventReason.CHECKPOINTS_RETAINED)["note"]
    assert len(scene.history().lives("train")) == 1, "a deleted task was given another pod"


def test_finished_pods_of_earlier_attempts_go_too(scene: Scene) -> None:
    ends = ("--end=2=exit:75@1", "--end=4=exit:75@2")
    scene.apply(task(scene, "train", stepping(scene, "train", *ends, steps=6, every=2, pace=0.05)))
    scene.wait_finished("train")
    assert scene.pod("train-1") is not None, "the pods of ended attempts stay for kubectl logs"
    scene.kubectl("delete", "checkpointedtask", "train", "--wait=false")
    scene.wait("all pods to be gone", lambda: not scene.recorder.all_of("Pod"))
