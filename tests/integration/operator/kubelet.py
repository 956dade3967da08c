"""The test as scheduler and kubelet: gives pods the states that real kubelets were seen to give them.

States come from the captured watch events (tests/unit/operator/fixtures/pods, one file per way to end), with their
times moved to now and the termination message of the test's choice.
"""

from __future__ import annotations

import copy
import datetime
import json
from pathlib import Path
from typing import Any

from waypost import contract

from .stage import Object, Stage

CAPTURED = Path(__file__).parents[2] / "unit/operator/fixtures/pods"
TIMES = ("startTime", "startedAt", "finishedAt", "lastTransitionTime")


def captured(name: str, phase: str) -> Object:
    """A status of a captured history: where it began to run, or where it came to its end."""
    events = [json.loads(line) for line in (CAPTURED / f"{name}.jsonl").read_text().splitlines()]
    statuses = [event["object"]["status"] for event in events if event["object"]["status"].get("phase") == phase]
    assert statuses, f"{name} has no {phase}"
    found: Object = copy.deepcopy(statuses[0 if phase == "Running" else -1])
    return found


def moved(status: Any, started: str, now: str) -> Any:
    """The same status with its times moved: what started did so at `started`, everything else is now."""
    if isinstance(status, dict):
        return {
            key: (started if key in ("startTime", "startedAt") else now) if key in TIMES else moved(value, started, now)
            for key, value in status.items()
        }
    return [moved(value, started, now) for value in status] if isinstance(status, list) else status


def document(attempt: int, step: int | None = None, sequence: int = 1, **fields: Any) -> str:
    """What the SDK would leave in the termination message: a commit of this step, if one is given."""
    committed = None if step is None else contract.Position(sequence, step)
    return contract.Document(attempt, fence=attempt, committed=committed, **fields).encode().decode()


class Kubelet:
    """Acts on the pods of a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def start(self, pod: Object, node: str = "node-1") -> None:
        """Bind the pod to a node, which need not exist, and let its container run."""
        name = pod["metadata"]["name"]
        binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
        await self._stage.call("POST", self._stage.path("pods", name, "binding"), binding)
        await self._write(pod, captured("exit0-a", "Running"), "")

    async def end(self, pod: Object, way: str, message: str = "", ran_seconds: float = 60.0) -> Object:
        """Let the pod end in a captured way: exit0-a, exit1-a, exit75-a ..."""
        phase = "Succeeded" if way.startswith("exit0") else "Failed"
        return await self._write(pod, captured(way, phase), message, ran_seconds)

    async def evict(self, pod: Object, message: str = "", ran_seconds: float = 60.0) -> None:
        """The real Eviction API, then what the kubelet does: end the container (137), then remove the pod."""
        name = pod["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        await self._stage.call("POST", self._stage.path("pods", name, "eviction"), eviction)
        await self._write(pod, captured("evict-b", "Failed"), message, ran_seconds)

    async def remove(self, pod: Object) -> None:
        """The kubelet's last word on a pod that was deleted: its object goes, if it still is that pod."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        await self._stage.call("DELETE", self._stage.path("pods", pod["metadata"]["name"]), options)

    async def _write(self, pod: Object, status: Object, message: str, ran_seconds: float = 0.0) -> Object:
        now = datetime.datetime.now(datetime.UTC)
        began = now - datetime.timedelta(seconds=ran_seconds)
        told: Object = moved(status, f"{began:%Y-%m-%dT%H:%M:%SZ}", f"{now:%Y-%m-%dT%H:%M:%SZ}")
        told.pop("qosClass", None)  # the API server's, from the requests of this pod, not of the captured one
        for container in told.get("containerStatuses", []):
            container["name"] = pod["spec"]["containers"][0]["name"]
            if message and "terminated" in container["state"]:
                container["state"]["terminated"]["message"] = message
        return await self._stage.patch("pods", pod["metadata"]["name"], {"status": told}, "status")
