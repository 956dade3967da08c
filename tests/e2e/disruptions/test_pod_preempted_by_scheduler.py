"""The scheduler takes the room of the tasks for a pod of a higher priority."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.disruptions.trio import STOPPED, Json, Trio, preempted
from tests.e2e.scene import Scene
from tests.e2e.stage import IMAGE

pytestmark = pytest.mark.matrix

URGENT = "waypost-e2e-urgent"


@pytest.fixture
def urgent(scene: Scene) -> Iterator[str]:
    """A PriorityClass above all tasks'."""
    scene.apply(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": URGENT},
            "value": 100_000,
        }
    )
    yield URGENT
    scene.kubectl("delete", "priorityclass", URGENT)


def cpu(request: str) -> Json:
    return {"requests": {"cpu": request, "memory": "32Mi"}}


def test_a_pod_of_higher_priority_takes_their_room_and_no_budget(trio: Trio, urgent: str) -> None:
    def change(pod: Json) -> None:
        pod["containers"][0]["resources"] = cpu("400m")

    trio.start(change)
    allocatable = trio.scene.stage.cluster.kubectl.json("get", "node", trio.victim)["status"]["allocatable"]["cpu"]
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "resources": cpu(f"{int(allocatable) * 1000 - 100}m"),  # not one of the three fits beside it
    }
    trio.hits()
    trio.scene.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "urgent"},
            "spec": {
                "priorityClassName": urgent,
                "nodeSelector": {"kubernetes.io/hostname": trio.victim},
                "terminationGracePeriodSeconds": 0,
                "containers": [container],
            },
        }
    )
    trio.judge("scheduler preemption", preempted("PreemptionByScheduler"), STOPPED)
