"""A task deleted and applied again under the same name while its old pod still terminates."""

from __future__ import annotations

import pytest

from waypost import contract

from .kubelet import Kubelet
from .process import OperatorProcess
from .stage import Stage

pytestmark = pytest.mark.integration


async def test_the_new_task_waits_for_the_old_pod_and_then_starts_its_own(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await stage.apply("train")
    old_pod = await stage.pod("train-1")
    await kubelet.start(old_pod)
    old = await stage.task("train")
    await stage.delete(contract.PLURAL, "train")
    new = await stage.apply("train")
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    waiting = await stage.condition("train", "Progressing", "WaitingForOldPod")
    assert "train-1" in waiting["message"]
    terminating = await stage.get("pods", "train-1")
    assert terminating is not None
    assert terminating["metadata"]["uid"] == old_pod["metadata"]["uid"]
    await kubelet.remove(old_pod)
    pod = await stage.pod("train-1", other_than=old_pod["metadata"]["uid"])
    assert pod["metadata"]["ownerReferences"][0]["uid"] == new["metadata"]["uid"]
    status = await stage.status("train", lambda status: status.get("podUID"), "pod recorded")
    assert status["podUID"] == pod["metadata"]["uid"]
    assert new["metadata"]["uid"][:8] in status["checkpoint"]["uri"]


async def test_a_deleted_task_takes_its_pods_along_and_says_where_its_checkpoints_are(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await stage.apply("train")
    pod = await stage.pod("train-1")
    await stage.status("train", lambda status: status.get("podUID"), "pod recorded")
    await stage.delete(contract.PLURAL, "train")
    await stage.until("the pod is gone", stage.pods, lambda pods: not pods)
    assert pod["metadata"]["ownerReferences"][0]["controller"] is True
    events = await stage.until(
        "the user is told",
        lambda: stage.events("train"),
        lambda events: "CheckpointsRetained" in [event["reason"] for event in events],
    )
    assert "from: file:///checkpoints/" in events[-1]["note"]


async def test_nothing_is_created_in_the_name_of_a_task_that_is_gone(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await stage.apply("train")
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await stage.delete(contract.PLURAL, "train")
    await stage.until("the task is gone", lambda: stage.get(contract.PLURAL, "train"), lambda task: task is None)
    await stage.until(
        "the garbage collector deletes the pod",
        lambda: stage.get("pods", "train-1"),
        lambda pod: pod is not None and pod["metadata"].get("deletionTimestamp"),
    )
    await kubelet.end(pod, "evict-b")
    await kubelet.remove(pod)
    await stage.until("the pod is gone", stage.pods, lambda pods: not pods)
    await stage.apply("other")
    await stage.pod("other-1")
    assert "train-2" not in await stage.pods()
