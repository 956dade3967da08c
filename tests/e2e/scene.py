"""One namespace on the stage, with its witnesses: what an end-to-end test plays in and asks afterwards.

The scene waits on what the recorder saw, not on repeated `kubectl get`: a test sees each change when it happens, and
two busy cores are left to the cluster. When a test fails, `describe` tells what a person would look at first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from tests.cluster import ClusterError
from tests.cluster.s3_in_cluster import credentials_secret
from tests.cluster.waiting import wait_for
from tests.e2e.stage import STORAGE, Stage
from tests.witness import ledger
from tests.witness.history import TERMINAL, History
from tests.witness.recorder import Recorder
from waypost import contract

Json = dict[str, Any]
_T = TypeVar("_T")
SECRET = "s3"
PROGRAM = "program"
WITNESS_PROGRAM = Path(__file__).parents[1] / "witness" / "program.py"


class Scene:
    """A namespace with an S3 secret, the witness program, a folder shared by all nodes, and a recorder."""

    def __init__(self, stage: Stage, namespace: str, folder: Path) -> None:
        self.stage, self.namespace = stage, namespace
        self.record = folder / f"{namespace}.jsonl"
        self.recorder = Recorder(stage.cluster.kubeconfig, namespace, self.record)

    def __enter__(self) -> Scene:
        self.stage.namespace(self.namespace)
        self.apply(credentials_secret(STORAGE, self.namespace, SECRET))
        self.config_map(PROGRAM, {WITNESS_PROGRAM.name: WITNESS_PROGRAM.read_text(encoding="utf-8")})
        self.stage.in_shared_folder(f"mkdir -p -m 777 /shared/{self.namespace}")
        self.recorder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.recorder.__exit__(kind, error, trace)
        self.kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")
        self.stage.in_shared_folder(f"rm -rf /shared/{self.namespace}")

    # --- Doing -------------------------------------------------------------------------------------------------
    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """kubectl in this namespace."""
        return self.stage.cluster.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def apply(self, *objects: Json) -> str:
        """Create or change objects of this namespace."""
        return self.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(item) for item in objects))

    def config_map(self, name: str, files: dict[str, str]) -> None:
        """Put files where a pod can mount them."""
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files})

    def evict(self, pod: str) -> None:
        """Ask the Eviction API for the pod, as `kubectl drain` and every autoscaler do."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction"
        self.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

    def order(self, pod: str, what: str) -> None:
        """Tell the witness program in `pod` what to do next, if it was started with `--orders /shared`."""
        self.stage.write_shared(f"{self.namespace}/{pod}", what)

    # --- Seeing ------------------------------------------------------------------------------------------------
    def task(self, name: str) -> Json:
        """The task as the recorder last saw it; empty when there is none."""
        return self.recorder.latest(contract.KIND, name) or {}

    def status(self, name: str) -> Json:
        """The task's status; empty before the operator has written one."""
        return self.task(name).get("status") or {}

    def condition(self, name: str, kind: contract.ConditionType) -> Json | None:
        """One of the task's conditions, or None."""
        return next((one for one in self.status(name).get("conditions", ()) if one["type"] == kind), None)

    def pod(self, name: str) -> Json | None:
        """The pod as last seen, or None."""
        return self.recorder.latest("Pod", name)

    def running_pod(self, name: str) -> Json | None:
        """The pod if its task container runs and it isn't on its way out."""
        pod = self.pod(name)
        if pod is None or pod["status"].get("phase") != "Running" or pod["metadata"].get("deletionTimestamp"):
            return None
        return pod

    def history(self) -> History:
        """The record so far, ready to be judged."""
        return self.recorder.history()

    def ledger_path(self, task: str) -> str:
        """Where a pod of the task finds the task's ledger."""
        return f"/shared/{task}.jsonl"

    def ledger(self, task: str) -> ledger.Verdict:
        """The ledger of the task so far, judged."""
        return ledger.judge(*self.stage.read_shared(f"{self.namespace}/{task}.jsonl"))

    def events(self, task: str) -> list[Json]:
        """The Events about the task, oldest first."""
        mine = [event for event in self.recorder.all_of("Event") if event["regarding"].get("name") == task]
        return sorted(mine, key=lambda event: str(event["eventTime"] or event["metadata"]["creationTimestamp"]))

    def wait_event(self, task: str, reason: contract.EventReason, seconds: float = 20.0) -> Json:
        """Wait until the task has an Event of this reason; Events follow behind the writes that matter."""

        def told() -> Json | None:
            return next((event for event in self.events(task) if event["reason"] == reason), None)

        return self.wait(f"an Event {reason} of task {task}", told, seconds)

    def log(self, pod: str) -> str:
        """What the pod has printed."""
        try:
            return self.kubectl("logs", pod)
        except ClusterError as error:
            return f"(no log: {error})"

    # --- Waiting -----------------------------------------------------------------------------------------------
    def wait(self, what: str, ask: Callable[[], _T | None], seconds: float = 60.0) -> _T:
        """The first true answer of `ask`, or an error that names `what`."""
        return wait_for(what, ask, seconds)

    def wait_running(self, pod: str, seconds: float = 60.0) -> Json:
        """Wait until the pod runs."""
        return self.wait(f"pod {pod} to run", lambda: self.running_pod(pod), seconds)

    def wait_finished(self, task: str, seconds: float = 120.0) -> Json:
        """Wait until the task has succeeded or failed; returns its status."""

        def verdict() -> Json | None:
            condition = self.condition(task, contract.ConditionType.SUCCEEDED)
            return self.status(task) if condition and condition["status"] in ("True", "False") else None

        return self.wait(f"task {task} to finish", verdict, seconds)

    def wait_saved(self, task: str, step: int, seconds: float = 60.0) -> None:
        """Wait until the ledger says that a save of `step` or a later one was confirmed."""

        def saved() -> bool:
            return any(done >= step for run in self.ledger(task).runs for done in run.saved)

        self.wait(f"a confirmed save of step {step} of task {task}", saved, seconds)

    def wait_ended(self, pod: str, seconds: float = 60.0) -> None:
        """Wait until the pod is terminal or gone."""

        def ended() -> bool:
            found = self.pod(pod)
            return found is None or found["status"].get("phase") in TERMINAL

        self.wait(f"pod {pod} to end", ended, seconds)

    # --- Judging -----------------------------------------------------------------------------------------------
    def outcome(self, task: str) -> Literal["Succeeded", "Failed"] | None:
        """How the task ended, by its condition."""
        condition = self.condition(task, contract.ConditionType.SUCCEEDED)
        return None if condition is None else ("Succeeded" if condition["status"] == "True" else "Failed")

    def describe(self) -> str:
        """What a person would look at when a test in this namespace has failed."""
        parts = [f"======== namespace {self.namespace} (record: {self.record})"]
        for command in (
            ("get", f"{contract.PLURAL}.{contract.GROUP}", "-o", "yaml"),
            ("get", "pods", "-o", "wide"),
            ("get", "events", "--sort-by=.metadata.creationTimestamp"),
        ):
            try:
                parts.append(f"-------- kubectl {' '.join(command)}\n{self.kubectl(*command)}")
            except ClusterError as error:
                parts.append(str(error))
        for pod in self.recorder.all_of("Pod"):
            name = pod["metadata"]["name"]
            parts.append(f"-------- log of {name}\n{self.log(name)}")
        parts.append(f"-------- operator\n{self.stage.operator_log(120)}")
        return "\n".join(parts)
