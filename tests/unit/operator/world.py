"""The API server, and all that kubelets, controllers and users do to what it stores.

The pods' states have the shape of the captured ones.
"""

from __future__ import annotations

import copy
from datetime import datetime

from tests.unit.operator.server import Server
from waypost import contract
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import Json, timestamp


class World(Server):
    """The truth."""

    def __init__(self, task: Json) -> None:
        super().__init__(task)
        self.completed: set[str] = set()
        """UIDs of pods whose program really ran to its end."""
        self.failed: set[str] = set()
        """UIDs of pods whose program really failed, or asked for a relaunch."""
        self.over: dict[str, datetime] = {}
        """By UID of a pod: when its program ended, or at the latest its object."""

    def remove(self, name: str) -> Json:
        self.over.setdefault(self.pods[name]["metadata"]["uid"], self.now)
        return super().remove(name)

    def cut_off(self, node: str) -> None:
        """From now on nothing is heard of the node; what runs there runs on."""
        self.nodes[node] = "unknown"
        self.ready_since[node] = self.now

    def hear_again(self, node: str) -> None:
        self.nodes[node] = "ready"
        self.ready_since.pop(node, None)

    def bind(self, name: str, node: str) -> None:
        self.pods[name]["spec"]["nodeName"] = node
        self.changed("pod", self.pods[name])

    def run(self, name: str) -> None:
        self._state(name, "Running", {"running": {"startedAt": timestamp(self.now)}})

    def keep_waiting(self, name: str, reason: str, message: str) -> None:
        """The kubelet can't start the container yet."""
        self._state(name, "Pending", {"waiting": {"reason": reason, "message": message}})

    def exit(
        self,
        name: str,
        code: int,
        document: contract.Document | None = None,
        *,
        phase: str | None = None,
        reason: str = "",
        message: str = "",
    ) -> None:
        """The task container ends; the pod becomes terminal with it unless `phase` says otherwise."""
        pod = Pod(self.pods[name], self.now)
        self.over.setdefault(pod.uid, self.now)
        started = pod.started or self.now
        ended = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": timestamp(started),
            "finishedAt": timestamp(self.now),
            "message": document.encode().decode() if document else message,
        }
        self._state(name, phase or ("Succeeded" if code == 0 else "Failed"), {"terminated": ended})

    def disrupt(self, name: str, reason: str = "EvictionByEvictionAPI") -> None:
        """What an eviction does to a pod, up to the SIGTERM."""
        pod = self.pods[name]
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": reason,
            "lastTransitionTime": timestamp(self.now),
        }
        pod["status"].setdefault("conditions", []).append(target)
        self.changed("pod", pod)
        self.delete_pod(name, pod["metadata"]["uid"])

    def shut_down(self, name: str) -> None:
        """A graceful node shutdown, first half: the container's end is seen, and nothing of its reason."""
        self.exit(name, 137, phase="Running")

    def end_shutdown(self, name: str) -> None:
        """Second half: the reason comes with the terminal phase."""
        pod = self.pods[name]
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "TerminationByKubelet",
            "lastTransitionTime": timestamp(self.now),
        }
        pod["status"] |= {"phase": "Failed", "reason": "Terminated", "conditions": [target]}
        self.changed("pod", pod)

    def lose_sight(self, name: str) -> None:
        """To a watch with a label selector the pod is deleted, though only its label was changed."""
        self.changed("pod", self.pods[name], "DELETED")

    def find_again(self, name: str) -> None:
        """The label is back."""
        self.changed("pod", self.pods[name])

    def end_straggler(self, name: str) -> None:
        """The other containers of a pod whose task container ended before have ended too."""
        code = self.pods[name]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
        self.pods[name]["status"]["phase"] = "Failed" if code else "Succeeded"
        self.changed("pod", self.pods[name])

    def edit_spec(self, **changes: object) -> None:
        assert self.task is not None
        self.task["spec"] |= changes
        self.task["metadata"]["generation"] += 1
        self.changed("task", self.task)

    def put_status_back(self, status: Json) -> None:
        """A backup was restored, or somebody edited what is the operator's."""
        assert self.task is not None
        self.task["status"] = status
        self.changed("task", self.task)

    def apply_again(self, task: Json) -> None:
        """A task of the same name takes the place of the one that was deleted, whose pods are still there."""
        self.task = copy.deepcopy(task)
        self.changed("task", self.task, "ADDED")

    @property
    def may_run(self) -> list[str]:
        """Pods of attempts, of whatever task, that may still run."""
        pods = (Pod(raw, self.now) for raw in self.pods.values())
        return [pod.name for pod in pods if not pod.terminal and contract.LABEL_CLEANUP not in pod.labels]

    def alive(self, task_uid: str) -> list[str]:
        """Those of that task."""
        return [name for name in self.may_run if Pod(self.pods[name], self.now).owned_by(task_uid)]

    def _state(self, name: str, phase: str, state: Json) -> None:
        pod = self.pods[name]
        pod["status"]["phase"] = phase
        pod["status"]["containerStatuses"] = [{"name": pod["spec"]["containers"][0]["name"], "state": state}]
        self.changed("pod", pod)
