"""What may be done to one node of the cluster, and making it well again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.cluster.waiting import wait_for
from tests.e2e.stage import Stage

Json = dict[str, Any]
WELL_SECONDS = 120.0
LOOK_SECONDS = 1.0


class Victim:
    """The node that a test harms."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.cluster, self.name = stage, stage.cluster, name
        self._taints: list[str] = []
        self._restart = False
        self._off = False

    def wait_empty(self) -> None:
        """Wait until the pods of earlier tests, whose namespaces take their time to go, leave its room to this one."""
        on_it = f"spec.nodeName={self.name},status.phase!=Succeeded,status.phase!=Failed"

        def empty() -> bool:
            pods = self.cluster.kubectl.json("get", "pods", "--all-namespaces", f"--field-selector={on_it}")["items"]
            return not any(pod["metadata"]["namespace"].startswith("e2e-") for pod in pods)

        self.wait(f"node {self.name} to be empty", empty, WELL_SECONDS)

    def taint(self, taint: str) -> None:
        """Put `KEY=VALUE:EFFECT` on the node, until `untaint` or the end of the test."""
        self._taints.append(taint)
        self.cluster.kubectl("taint", "node", self.name, taint)

    def delete(self) -> None:
        """Delete the node object, as a cloud's controller does when the machine is gone."""
        if not self._off:
            self.cluster.start_kubelet(self.name)  # it runs; but who can't start it must not delete its node
        self._restart = True  # a kubelet registers its node at its start only
        self.cluster.kubectl("delete", "node", self.name)

    def kill_kubelet(self) -> None:
        """Nobody answers for the node any more; its containers run on."""
        self.cluster.kill_kubelet(self.name)
        self._restart = True

    def bring_kubelet_back(self) -> None:
        """It finds its containers, and hears what was decided about their pods meanwhile."""
        self.cluster.start_kubelet(self.name)
        self._restart = False

    def power_off(self) -> None:
        """Everything on the machine ends at once, and nobody says so."""
        self.cluster.power_off(self.name)
        self._off = True

    def power_on(self) -> None:
        """An empty machine of the same name comes up in its place."""
        self.cluster.power_on(self.name)
        self._off = False
        self.stage.load_image()

    def restart_kubelet(self, settings: Json) -> None:
        """Restart the kubelet with these fields of its configuration, until the end of the test."""
        self.cluster.stop_kubelet(self.name)
        self._restart = True
        self.cluster.start_kubelet(self.name, settings)

    def available_bytes(self) -> int:
        """The memory that the node's kubelet takes for available."""
        path = f"/api/v1/nodes/{self.name}/proxy/stats/summary"
        return int(json.loads(self.cluster.kubectl("get", "--raw", path))["node"]["memory"]["availableBytes"])

    def raw(self) -> Json | None:
        """The node object, if there is one."""
        found = self.cluster.kubectl.json("get", "nodes", "--field-selector", f"metadata.name={self.name}")["items"]
        return found[0] if found else None

    def ready(self) -> str:
        """Status of its Ready condition: 'True', 'False' or 'Unknown'."""
        conditions = (self.raw() or {}).get("status", {}).get("conditions", [])
        return next((str(one["status"]) for one in conditions if one["type"] == "Ready"), "Unknown")

    def unknown_since(self) -> float:
        """When the node's Ready became Unknown, in seconds of the epoch; it must be so."""
        conditions = (self.raw() or {}).get("status", {}).get("conditions", [])
        ready = next(one for one in conditions if one["type"] == "Ready")
        assert ready["status"] == "Unknown", ready
        return datetime.fromisoformat(ready["lastTransitionTime"]).timestamp()

    def wait(self, what: str, ask: Callable[[], bool], seconds: float) -> None:
        """Wait for something that kubectl has to be asked for; not as often as `wait_for` would."""

        def look() -> bool:
            if ask():
                return True
            time.sleep(LOOK_SECONDS)
            return False

        wait_for(what, look, seconds)

    def heal(self) -> None:
        """Undo everything, and wait until the node is as it was."""
        if self._off:
            self.power_on()
        elif self._restart:
            self.cluster.stop_kubelet(self.name)
            self.cluster.start_kubelet(self.name)
        for taint in self._taints:
            if any(taint.startswith(f"{one['key']}=") for one in self._present_taints()):
                self.cluster.kubectl("taint", "node", self.name, f"{taint}-")
        self.cluster.kubectl("uncordon", self.name)
        self.wait(f"node {self.name} to be well", self._is_well, WELL_SECONDS)

    def _present_taints(self) -> list[Json]:
        taints: list[Json] = (self.raw() or {}).get("spec", {}).get("taints", [])
        return taints

    def _is_well(self) -> bool:
        return self.ready() == "True" and not self._present_taints()
