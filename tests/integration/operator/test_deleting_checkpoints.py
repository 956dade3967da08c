"""deletionPolicy Delete against a real API server: finalizer, clean-up pod, its failures, and a namespace that goes."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest

from waypost import contract

from .kubelet import Kubelet, document
from .process import OperatorProcess
from .stage import Object, Stage

pytestmark = pytest.mark.integration

FOREIGN = "example.com/hold"
CLEANUP = "train-cleanup"
DELETE = {"uri": "file:///checkpoints", "deletionPolicy": "Delete"}
RETAIN = {"uri": "file:///checkpoints", "deletionPolicy": "Retain"}


async def finalizers(stage: Stage) -> list[str]:
    found: list[str] = (await stage.task("train"))["metadata"].get("finalizers", [])
    return found


async def running(stage: Stage, kubelet: Kubelet) -> Object:
    """Attempt 1 of a task whose checkpoints are to be deleted with it runs."""
    await stage.apply("train", checkpoint=DELETE)
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await stage.status("train", lambda status: status.get("state") == "Running", "is running")
    return pod


async def being_deleted(stage: Stage, kubelet: Kubelet, propagation: str = "Background") -> Object:
    """The task was deleted while attempt 1 ran, and its pod has ended and gone; returns the clean-up pod."""
    pod = await running(stage, kubelet)
    await stage.call("DELETE", stage.path(contract.PLURAL, "train"), {"propagationPolicy": propagation})
    await end_pod(stage, kubelet, pod)
    return await stage.pod(CLEANUP)


async def end_pod(stage: Stage, kubelet: Kubelet, pod: Object) -> None:
    await stage.until(
        "the pod is told to stop",
        lambda: stage.get("pods", pod["metadata"]["name"]),
        lambda found: found is not None and found["metadata"].get("deletionTimestamp"),
        60.0,
    )
    await kubelet.end(pod, "evict-b", document(1, step=1))
    await kubelet.remove(pod)


async def gone(stage: Stage, seconds: float = 30.0) -> None:
    await stage.until(
        "the task is gone", lambda: stage.get(contract.PLURAL, "train"), lambda task: task is None, seconds
    )


async def told(stage: Stage, reason: str) -> str:
    """The text of the Event with this reason."""
    events = await stage.until(
        f"an Event {reason}",
        lambda: stage.events("train"),
        lambda events: [event for event in events if event["reason"] == reason],
    )
    return str(next(event["note"] for event in events if event["reason"] == reason))


async def test_the_task_goes_after_its_pod_and_its_store_and_other_finalizers_stay(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    pod = await running(stage, kubelet)
    assert await finalizers(stage) == [contract.FINALIZER]
    await stage.patch(contract.PLURAL, "train", {"metadata": {"finalizers": [FOREIGN, contract.FINALIZER]}})
    await stage.delete(contract.PLURAL, "train")
    said = await stage.condition("train", "Progressing", "CleaningUp")
    assert "train-1" in said["message"]
    assert CLEANUP not in await stage.pods(), "a clean-up while a pod of the task may still write"
    await end_pod(stage, kubelet, pod)

    cleanup = await stage.pod(CLEANUP)
    uri = (await stage.task("train"))["status"]["checkpoint"]["uri"]
    assert uri in cleanup["spec"]["containers"][0]["command"]
    await kubelet.start(cleanup)
    await kubelet.end(cleanup, "exit0-a")
    await stage.until("our finalizer is gone", lambda: finalizers(stage), lambda names: names == [FOREIGN])
    assert uri in await told(stage, "CheckpointsDeleted")
    await stage.patch(contract.PLURAL, "train", {"metadata": {"finalizers": []}})
    await gone(stage)
    await stage.until("the clean-up pod goes with it", stage.pods, lambda pods: not pods, 90.0)
    assert "CheckpointsRetained" not in [event["reason"] for event in await stage.events("train")]


async def test_the_finalizer_follows_the_policy_at_any_time(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await stage.apply("train", checkpoint=RETAIN)
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    assert await finalizers(stage) == []
    await stage.patch(contract.PLURAL, "train", {"metadata": {"finalizers": [FOREIGN]}})
    await stage.patch(contract.PLURAL, "train", {"spec": {"checkpoint": DELETE}})
    await stage.until("it is set", lambda: finalizers(stage), lambda names: names == [FOREIGN, contract.FINALIZER])
    await stage.patch(contract.PLURAL, "train", {"spec": {"checkpoint": RETAIN}})
    await stage.until("it goes", lambda: finalizers(stage), lambda names: names == [FOREIGN])
    await stage.patch(contract.PLURAL, "train", {"spec": {"checkpoint": DELETE}, "metadata": {"finalizers": []}})
    await stage.until("it is set again", lambda: finalizers(stage), lambda names: names == [contract.FINALIZER])
    await stage.delete(contract.PLURAL, "train")
    await stage.condition("train", "Progressing", "CleaningUp")
    await stage.patch(contract.PLURAL, "train", {"spec": {"checkpoint": RETAIN}})
    await gone(stage)
    assert "from: file:///checkpoints/" in await told(stage, "CheckpointsRetained")


async def test_operators_that_are_killed_on_the_way_lose_nothing(
    stage: Stage, kubelet: Kubelet, launch: Callable[..., OperatorProcess]
) -> None:
    operator = launch(leader=False)  # without a lease that has to run out after each kill
    pod = await running(stage, kubelet)
    operator.kill()
    await stage.delete(contract.PLURAL, "train")
    operator.start()
    await end_pod(stage, kubelet, pod)
    cleanup = await stage.pod(CLEANUP, 60)
    operator.kill()
    await kubelet.start(cleanup)
    await kubelet.end(cleanup, "exit1-a", "AccessDenied")
    operator.start()
    status = await stage.status("train", lambda status: status["cleanup"].get("failures") == 1, "failure booked", 60)
    assert "exit code 1: AccessDenied" in status["cleanup"]["message"]
    operator.kill()
    operator.start()
    second = await stage.pod(CLEANUP, 60, other_than=cleanup["metadata"]["uid"])
    assert (await stage.task("train"))["status"]["cleanup"]["failures"] == 1, "one failure, counted twice"
    operator.kill()
    await kubelet.start(second)
    await kubelet.end(second, "exit0-a")
    operator.start()
    await gone(stage, 60)


async def test_after_an_hour_of_failures_the_task_goes_and_its_store_is_named(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    cleanup = await being_deleted(stage, kubelet)
    await kubelet.start(cleanup)
    await kubelet.end(cleanup, "exit1-a", "AccessDenied")
    status = await stage.status("train", lambda status: status["cleanup"].get("failures") == 1, "failure booked")
    assert contract.FINALIZER in await finalizers(stage)
    began = datetime.datetime.fromisoformat(status["cleanup"]["started"]) - datetime.timedelta(seconds=3601)
    await stage.patch(
        contract.PLURAL, "train", {"status": {"cleanup": {"started": f"{began:%Y-%m-%dT%H:%M:%SZ}"}}}, "status"
    )
    await gone(stage)
    left = await told(stage, "CleanupGivenUp")
    assert status["checkpoint"]["uri"] in left
    assert "AccessDenied" in left


async def test_a_name_that_is_taken_is_waited_for(stage: Stage, kubelet: Kubelet, operator: OperatorProcess) -> None:
    stranger = {"metadata": {"name": CLEANUP}, "spec": {"containers": [{"name": "a", "image": "i"}]}}
    await stage.call("POST", stage.path("pods"), stranger)
    taken = await being_deleted(stage, kubelet)
    assert not taken["metadata"].get("ownerReferences")
    said = await stage.until(
        "it says so",
        lambda: stage.condition("train", "Progressing", "CleaningUp"),
        lambda said: "doesn't belong to this task" in said["message"],
    )
    assert CLEANUP in said["message"]
    await stage.patch(contract.PLURAL, "train", {"spec": {"checkpoint": RETAIN}})
    await gone(stage)


async def test_a_deletion_in_the_foreground_leaves_the_cleanup_pod_its_time(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    cleanup = await being_deleted(stage, kubelet, "Foreground")
    await stage.until(
        "the garbage collector has done its part",
        lambda: finalizers(stage),
        lambda names: names == [contract.FINALIZER],
    )
    kept = await stage.get("pods", CLEANUP)
    assert kept is not None
    assert kept["metadata"]["uid"] == cleanup["metadata"]["uid"]
    assert "deletionTimestamp" not in kept["metadata"]
    await kubelet.start(cleanup)
    await kubelet.end(cleanup, "exit0-a")
    await gone(stage)


async def test_a_namespace_that_is_deleted_is_not_held_up_and_the_log_names_the_store(
    stage: Stage, kubelet: Kubelet, launch: Callable[..., OperatorProcess]
) -> None:
    operator = launch(leader=False)  # its lease would go with the namespace
    pod = await running(stage, kubelet)
    uri = (await stage.task("train"))["status"]["checkpoint"]["uri"]
    await stage.call("DELETE", f"/api/v1/namespaces/{stage.namespace}")
    await end_pod(stage, kubelet, pod)
    await gone(stage)
    operator.wait_for("the namespace is being deleted")
    [line, *_] = [line for line in operator.said().splitlines() if "the namespace is being deleted" in line]
    assert uri in line
