"""The other half of least privilege: with the chart's rights alone the operator does its whole work.

The real operator process, with the arguments of the rendered Deployment, as its ServiceAccount. No pod runs here: the
test plays the kubelet and writes how one ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import ControlPlane
from tests.cluster.kubeconfig import Kubectl
from tests.cluster.waiting import wait_for
from tests.integration.chart.helm import RELEASE_NAMESPACE, Helm
from tests.integration.chart.tasks import task

pytestmark = pytest.mark.integration

SUCCEEDED: dict[str, Any] = {
    "phase": "Succeeded",
    "containerStatuses": [
        {
            "name": "main",
            "image": "example",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "reason": "Completed", "message": ""}},
        }
    ],
}

SUCCEEDED_PATCH = json.dumps({"status": SUCCEEDED})


@pytest.fixture
def operate(
    plane: ControlPlane, kubectl: Kubectl, helm: Helm, tmp_path: Path
) -> Iterator[Callable[[str, dict[str, Any]], Path]]:
    """Starts the operator with the arguments and the ServiceAccount of a rendered release; returns its log."""
    processes: list[subprocess.Popen[bytes]] = []

    def operate(release: str, values: dict[str, Any]) -> Path:
        objects = helm.template({**values, "crds": {"install": False}}, release=release)
        [deployment] = [item for item in objects if item["kind"] == "Deployment"]
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        kubectl.apply(*(item for item in objects if item is not deployment))
        arguments = [word.replace("--liveness-port=8080", "--liveness-port=0") for word in container["args"]]
        environment = {"KUBECONFIG": str(plane.service_account_kubeconfig(RELEASE_NAMESPACE, release))}
        log = tmp_path / f"{release}.log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "waypost_operator", *arguments]
            processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
        return log

    yield operate
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(timeout=30)


def play(kubectl: Kubectl, namespace: str, log: Path) -> None:
    """Apply a task, let its only pod succeed, and see the operator say so; its log never speaks of a missing right."""
    in_namespace = ("-n", namespace)
    kubectl.apply(task(metadata__namespace=namespace, metadata__name="works"))

    def created() -> bool:
        return "pod/works-1" in kubectl("get", "pods", "-o", "name", *in_namespace)

    def succeeded() -> bool:
        kubectl("patch", "pod", "works-1", "--subresource=status", "--type=merge", "-p", SUCCEEDED_PATCH, *in_namespace)
        return kubectl("get", "ckt", "works", "-o", "jsonpath={.status.state}", *in_namespace) == "Succeeded"

    def told() -> bool:
        return "Succeeded" in kubectl("get", "events.events.k8s.io", "-o", "jsonpath={.items[*].reason}", *in_namespace)

    try:
        wait_for("the first pod", created, 60)
        wait_for("the verdict", succeeded, 60)
        wait_for("the Event", told, 60)
    except Exception as error:
        raise AssertionError(f"{error}\nthe operator's log:\n{log.read_text()[-4000:]}") from error
    assert "forbidden" not in log.read_text().lower()


def test_cluster_wide(operate: Callable[..., Path], kubectl: Kubectl, new_namespace: Callable[..., str]) -> None:
    play(kubectl, new_namespace(), operate("waypost-works", {}))


def test_in_one_namespace(operate: Callable[..., Path], kubectl: Kubectl, new_namespace: Callable[..., str]) -> None:
    namespace = new_namespace()
    play(kubectl, namespace, operate("waypost-here", {"watch": {"namespaces": [namespace]}}))
