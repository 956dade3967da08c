"""A pod that its node refuses at the door: the program never ran, so nothing is lost and nothing is counted.

The kubelet looks again at what the scheduler has decided, and a pod with `nodeName` comes to it unscheduled. As soon as
the node has room, the next attempt runs.
"""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.trio import DEAF, EXITS, NO_EXIT_CODES, SAVES, Json, Judged, Traces, Trio
from tests.e2e.scene import Scene
from tests.e2e.stage import IMAGE
from tests.e2e.tasks import quick
from waypost.contract import Outcome

pytestmark = pytest.mark.matrix
WAIT_SECONDS = 15
"""The backoff after the rejection: time enough to make room."""
NEEDS: dict[str, tuple[str, Json]] = {
    SAVES: ("OutOfcpu", {"resources": {"requests": {"cpu": "300m", "memory": "32Mi"}}}),
    EXITS: ("OutOfmemory", {"resources": {"requests": {"cpu": "10m", "memory": "300Mi"}}}),
    DEAF: ("NodeAffinity", {}),
}
"""What the node lacks for each of the tasks, and what it asks for."""


def test_tasks_that_a_node_rejects_run_there_once_it_has_room(trio: Trio) -> None:
    scene, node = trio.scene, trio.victim
    fill(scene, node)
    bodies = []
    for name, (_, need) in NEEDS.items():

        def change(pod: Json, name: str = name, need: Json = need) -> None:
            pod["containers"][0].update(need)
            del pod["affinity"]
            pod["nodeName"] = node
            if name == DEAF:
                pod["nodeSelector"] = {"waypost-e2e": scene.namespace[-6:]}

        body = trio.body(name, change)
        body["spec"]["failurePolicy"] = quick(failures=0, initial=WAIT_SECONDS) | {
            "backoff": {"initialSeconds": WAIT_SECONDS, "maxSeconds": WAIT_SECONDS}
        }
        bodies.append(body)
    trio.hits()
    scene.apply(*bodies)
    for name in NEEDS:
        scene.wait_ended(f"{name}-1")
    scene.kubectl("delete", "pod", "filler")
    scene.kubectl("label", "node", node, "--overwrite", f"waypost-e2e={scene.namespace[-6:]}")
    judged = {
        name: Judged(outcome=Outcome.REJECTED, rule="RejectedByNode", budget="freeRetries", evidence=reason)
        for name, (reason, _) in NEEDS.items()
    }
    trio.judge("admission rejection", judged, Traces(exit_codes=NO_EXIT_CODES, told=False, ran=False))


def fill(scene: Scene, node: str) -> None:
    """A pod that has asked for nearly all of the node's CPU and memory."""
    allocatable = scene.stage.cluster.kubectl.json("get", "node", node)["status"]["allocatable"]
    kibibytes = int(allocatable["memory"].removesuffix("Ki"))
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "resources": {
            "requests": {"cpu": f"{int(allocatable['cpu']) * 1000 - 200}m", "memory": f"{kibibytes // 1024 - 200}Mi"}
        },
    }
    scene.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "filler"},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]},
        }
    )
    scene.wait_running("filler")
