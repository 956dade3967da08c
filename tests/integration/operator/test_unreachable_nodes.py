"""A pod of a node that went silent, on a real API server: still Terminating, still there, and the task goes on."""

from __future__ import annotations

import datetime

import pytest

from .kubelet import Kubelet, document
from .process import OperatorProcess
from .stage import Stage

pytestmark = pytest.mark.integration


async def silent_node(stage: Stage, name: str, seconds: float) -> None:
    """A node of which nothing has been heard for so long."""
    since = f"{datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
    unknown = {
        "type": "Ready",
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting",
    }
    labels = {"karpenter.sh/capacity-type": "spot"}
    await stage.call("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
    times = {"lastHeartbeatTime": since, "lastTransitionTime": since}
    await stage.call(
        "PATCH",
        f"/api/v1/nodes/{name}/status",
        {"status": {"conditions": [{**unknown, **times}]}},
        "application/merge-patch+json",
    )


async def test_a_pod_of_a_silent_node_is_left_behind_and_never_removed_by_force(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    node = f"silent-{stage.namespace}"
    await silent_node(stage, node, seconds=60)
    containers = [{"name": "main", "image": "program", "command": ["program"]}]
    template = {"spec": {"terminationGracePeriodSeconds": 1, "containers": containers}}
    await stage.apply("train", replaceUnreachableAfterSeconds=5, template=template)
    zombie = await stage.pod("train-1")
    await kubelet.start(zombie, node)
    status = await stage.status("train", lambda status: status.get("state") == "Running", "is running")
    assert status["attempts"][0]["spot"] is True
    await stage.delete("pods", "train-1")

    second = await stage.pod("train-2", seconds=30)
    status = await stage.status("train", lambda status: status.get("podUID") == second["metadata"]["uid"], "attempt 2")
    ended = status["attempts"][0]
    assert (ended["outcome"], ended["rule"]) == ("Preempted", "NodeUnreachable")
    left = await stage.get("pods", "train-1")
    assert left is not None
    assert left["metadata"]["uid"] == zombie["metadata"]["uid"]
    assert left["metadata"]["deletionTimestamp"]

    await kubelet.start(second)
    await kubelet.end(zombie, "exit75-a", document(1, step=3))
    await kubelet.remove(zombie)
    await kubelet.end(second, "exit0-a", document(2, step=9, completed=True))
    status = await stage.status("train", lambda status: status.get("state") == "Succeeded", "succeeded")
    assert status["counts"] == {"attempts": 2, "preemptions": 1, "failures": 0, "freeRetries": 0}
