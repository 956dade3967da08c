"""An operator that can't work says so when it starts, names what is missing, and ends with a status of its own."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import ControlPlane
from tests.cluster.asking import free_ports
from waypost import contract

from .process import OperatorProcess
from .stage import Stage

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bare() -> Iterator[ControlPlane]:
    """An API server without the CRD."""
    with ControlPlane.start() as plane:
        yield plane


def run(kubeconfig: Path, tmp_path: Path, *arguments: str) -> OperatorProcess:
    return OperatorProcess(kubeconfig, tmp_path / "operator.log", *arguments)


def test_a_missing_crd_is_named(bare: ControlPlane, tmp_path: Path) -> None:
    with run(bare.kubeconfig, tmp_path, "--no-leader-election") as operator:
        assert operator.exit_status() == 2
    assert "checkpointedtasks.waypost.dev: the CustomResourceDefinition is missing" in operator.said()
    assert "Traceback" not in operator.said()


async def test_missing_rights_are_all_named(plane: ControlPlane, stage: Stage, tmp_path: Path) -> None:
    rules = [
        {"apiGroups": [contract.GROUP], "resources": [contract.PLURAL], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create"]},
    ]
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": stage.namespace}
    for kind, body in (
        ("roles", {"rules": rules}),
        ("rolebindings", {"roleRef": {"apiGroup": group, "kind": "Role", "name": "some"}, "subjects": [subject]}),
    ):
        path = f"/apis/{group}/v1/namespaces/{stage.namespace}/{kind}"
        await stage.call("POST", path, {"metadata": {"name": "some"}, **body})
    account = await asyncio.to_thread(plane.service_account_kubeconfig, stage.namespace, "default")
    arguments = ("--namespace", stage.namespace, "--lease-namespace", stage.namespace)
    with run(account, tmp_path, *arguments) as operator:
        assert await asyncio.to_thread(operator.exit_status) == 2
    said = operator.said()
    for missing in (
        f"delete pods (API group 'core') in namespace '{stage.namespace}'",
        "patch checkpointedtasks (API group 'waypost.dev')",
        "update checkpointedtasks/status (API group 'waypost.dev')",
        "update checkpointedtasks/finalizers (API group 'waypost.dev')",
        "create events (API group 'events.k8s.io')",
        "update leases 'waypost-operator' (API group 'coordination.k8s.io')",
    ):
        assert missing in said, said
    assert "create pods" not in said, "what is granted is not named"
    assert "docs/operator.md" in said


def test_no_cluster_at_all_is_said(tmp_path: Path) -> None:
    with run(tmp_path / "absent", tmp_path, "--no-leader-election") as operator:
        assert operator.exit_status() == 2
    assert str(tmp_path / "absent") in operator.said()


def test_an_api_server_that_is_away_is_waited_for_and_sigterm_ends_the_wait(tmp_path: Path) -> None:
    config = {
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(json.dumps(config))
    with run(tmp_path / "config", tmp_path, "--no-leader-election") as operator:
        operator.wait_for("http://127.0.0.1:1 can't be used yet")
        assert operator.stop() == 0


def test_a_wrong_flag_is_explained(plane: ControlPlane, tmp_path: Path) -> None:
    with run(plane.kubeconfig, tmp_path, "--workers", "0", "--no-leader-election") as operator:
        assert operator.exit_status() == 2
    assert "0 is not between 1 and 256" in operator.said()


def test_outside_of_a_cluster_the_lease_needs_a_namespace(plane: ControlPlane, tmp_path: Path) -> None:
    with run(plane.kubeconfig, tmp_path) as operator:
        assert operator.exit_status() == 2
    assert "--lease-namespace" in operator.said()


async def test_it_serves_all_namespaces_when_none_is_named_and_tells_its_health(
    plane: ControlPlane, stage: Stage, tmp_path: Path
) -> None:
    [free_port] = free_ports(1)
    arguments = ("--no-leader-election", "--liveness-port", str(free_port), "--log-format", "json")
    with run(plane.kubeconfig, tmp_path, *arguments) as operator:
        await stage.apply("train")
        await stage.pod("train-1")
        answer = await asyncio.to_thread(_health, free_port)
        assert answer == 200
        assert await asyncio.to_thread(operator.stop) == 0
    lines = [json.loads(line) for line in operator.said().splitlines()]
    created = next(line for line in lines if "CreatePod" in line["message"] and line["namespace"] == stage.namespace)
    assert (created["task"], created["attempt"]) == ("train", 1)


def _health(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as response:
        status: int = response.status
        return status
