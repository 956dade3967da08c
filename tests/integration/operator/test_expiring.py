"""ttlSecondsAfterFinished on a real API server: it deletes exactly the version that the operator has just read."""

from __future__ import annotations

import asyncio

import pytest
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_kube_config

from tests.cluster import ControlPlane
from waypost import contract
from waypost_operator.runtime.client import Accepted, Client, Refused
from waypost_operator.runtime.objects import Key, uid

from .kubelet import Kubelet, document
from .process import OperatorProcess
from .stage import Object, Stage

pytestmark = pytest.mark.integration

FOREIGN = "example.com/hold"
SOON = 5
"""Seconds; long enough to change one's mind."""


async def finished(stage: Stage, kubelet: Kubelet, **spec: object) -> Object:
    """The task has succeeded; returns it as it was seen then."""
    await stage.apply("train", **spec)
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await kubelet.end(pod, "exit0-a", document(1, step=9, completed=True))
    await stage.condition("train", "Succeeded", "Completed")
    return await stage.task("train")


async def gone(stage: Stage) -> None:
    await stage.until("the task is gone", lambda: stage.get(contract.PLURAL, "train"), lambda task: task is None)


async def reasons(stage: Stage, awaited: str) -> list[str]:
    """The reasons of the task's Events, once there is one with this."""
    events = await stage.until(
        f"an Event {awaited}",
        lambda: stage.events("train"),
        lambda events: any(event["reason"] == awaited for event in events),
    )
    return [event["reason"] for event in events]


async def test_a_finished_task_is_deleted_also_by_an_operator_that_comes_late(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await finished(stage, kubelet)
    operator.kill()
    await stage.patch(contract.PLURAL, "train", {"spec": {"ttlSecondsAfterFinished": 1}})
    operator.start()
    await gone(stage)
    assert (await reasons(stage, "CheckpointsRetained")).count("Expired") == 1


async def test_a_limit_that_is_raised_after_the_end_is_heeded(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await finished(stage, kubelet, ttlSecondsAfterFinished=SOON)
    await stage.patch(contract.PLURAL, "train", {"spec": {"ttlSecondsAfterFinished": 3600}})
    await asyncio.sleep(SOON + 1)
    assert await stage.get(contract.PLURAL, "train") is not None
    await stage.patch(contract.PLURAL, "train", {"spec": {"ttlSecondsAfterFinished": 0}})
    await gone(stage)


async def test_a_finalizer_of_somebody_elses_keeps_the_task_and_it_is_deleted_once(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await finished(stage, kubelet)
    await stage.patch(contract.PLURAL, "train", {"metadata": {"finalizers": [FOREIGN]}})
    await stage.patch(contract.PLURAL, "train", {"spec": {"ttlSecondsAfterFinished": 0}})
    await stage.until(
        "the task is being deleted",
        lambda: stage.task("train"),
        lambda task: task["metadata"].get("deletionTimestamp"),
    )
    assert (await reasons(stage, "Expired")).count("Expired") == 1
    await stage.patch(contract.PLURAL, "train", {"metadata": {"finalizers": []}})
    await gone(stage)


async def test_the_api_server_deletes_no_version_but_the_one_that_was_read(
    plane: ControlPlane, stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    read = await finished(stage, kubelet)
    edited = await stage.patch(contract.PLURAL, "train", {"spec": {"ttlSecondsAfterFinished": 3600}})
    configuration = Configuration()
    await load_kube_config(str(plane.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    async with ApiClient(configuration) as api:
        client, key = Client(api), Key(stage.namespace, "train")
        for identity, version in [(uid(read), read), ("another", edited)]:
            answer = await client.delete_task(key, identity, version["metadata"]["resourceVersion"])
            assert isinstance(answer, Refused)
            assert answer.status == 409
        assert await stage.get(contract.PLURAL, "train") is not None
        newest = (await stage.task("train"))["metadata"]["resourceVersion"]
        assert isinstance(await client.delete_task(key, uid(read), newest), Accepted)
    await gone(stage)
