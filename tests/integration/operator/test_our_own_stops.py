"""Suspended tasks and limits of time, on a real API server: graceful deletes, orders that outlive the operator."""

from __future__ import annotations

import pytest

from waypost import contract

from .kubelet import Kubelet, document
from .process import OperatorProcess
from .stage import Object, Stage, condition

pytestmark = pytest.mark.integration


async def deleted(stage: Stage, name: str) -> Object:
    """Wait until the pod is asked to end, with all of its grace, and return it."""
    pod = await stage.until(
        f"pod {name} is deleted gracefully",
        lambda: stage.get("pods", name),
        lambda pod: pod is not None and pod["metadata"].get("deletionTimestamp"),
    )
    assert pod is not None
    assert pod["metadata"]["deletionGracePeriodSeconds"] == contract.DEFAULT_GRACE_SECONDS
    return pod


async def suspend(stage: Stage, name: str, value: bool) -> None:
    await stage.patch(contract.PLURAL, name, {"spec": {"suspend": value}})


async def test_a_task_is_suspended_and_resumed_and_nothing_is_counted(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await stage.apply("train", failurePolicy={"maxFailures": 0})
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await stage.status("train", lambda status: status.get("state") == "Running", "is running")
    await suspend(stage, "train", True)
    await deleted(stage, "train-1")
    ordered = await stage.task("train")
    assert ordered["status"]["attempts"][0]["stopping"]["reason"] == "Suspended", "the order stands before the delete"
    operator.kill()
    await kubelet.end(pod, "exit1-a", document(1, step=7, stop_requested=True))
    await kubelet.remove(pod)
    operator.start()
    status = await stage.status("train", lambda status: status.get("state") == "Suspended", "is suspended")
    assert status["attempts"][0]["outcome"] == "Suspended"
    assert status["counts"] == {"attempts": 1, "preemptions": 0, "failures": 0, "freeRetries": 0}
    assert await stage.pods() == {}
    await suspend(stage, "train", False)
    await stage.pod("train-2")


async def test_a_task_born_suspended_has_no_pod_until_it_is_resumed(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await stage.apply("train", suspend=True)
    await stage.condition("train", "Progressing", "Suspended")
    assert await stage.pods() == {}
    await suspend(stage, "train", False)
    await stage.pod("train-1")


async def test_a_task_that_was_active_for_too_long_fails_after_a_graceful_stop(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await stage.apply("train", activeDeadlineSeconds=2)
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await deleted(stage, "train-1")
    await kubelet.end(pod, "exit1-a", document(1, step=7))
    await kubelet.remove(pod)
    verdict = await stage.condition("train", "Succeeded", "DeadlineExceeded")
    assert verdict["status"] == "False"
    status = (await stage.task("train"))["status"]
    assert status["counts"]["failures"] == 0
    assert await stage.pods() == {}


async def test_an_attempt_that_ran_for_too_long_is_relaunched_free_because_it_made_progress(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await stage.apply("train", attemptDeadlineSeconds=1, failurePolicy={"maxFailures": 0})
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await deleted(stage, "train-1")
    await kubelet.end(pod, "exit1-a", document(1, step=7))
    await kubelet.remove(pod)
    await stage.pod("train-2")
    status = await stage.status("train", lambda status: status.get("attempt") == 2, "attempt 2")
    assert status["attempts"][0]["rule"] == "AttemptDeadline"
    assert status["counts"] == {"attempts": 1, "preemptions": 0, "failures": 0, "freeRetries": 1}


async def test_a_pod_that_does_not_start_in_time_is_followed_by_one_on_demand_and_then_by_failure(
    stage: Stage, operator: OperatorProcess
) -> None:
    overlay = {"onDemand": {"nodeSelector": {"capacity": "on-demand"}}}
    await stage.apply("train", pendingDeadlineSeconds=1, preemptionPolicy=overlay)
    second = await stage.pod("train-2")
    assert second["spec"]["nodeSelector"] == {"capacity": "on-demand"}
    verdict = await stage.condition("train", "Succeeded", "PendingDeadlineExceeded")
    assert "not started within pendingDeadlineSeconds (1)" in verdict["message"]
    status = (await stage.task("train"))["status"]
    assert [entry["outcome"] for entry in status["attempts"]] == ["DeadlineExceeded", "DeadlineExceeded"]
    assert condition(status, "Progressing")["reason"] == "Ended"
