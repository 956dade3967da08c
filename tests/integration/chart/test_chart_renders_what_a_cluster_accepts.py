"""Every way to install the chart gives objects that a real API server takes as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kubeconfig import Kubectl
from tests.integration.chart.helm import CHART, Helm

pytestmark = pytest.mark.integration

WAYS: dict[str, dict[str, Any]] = {
    "default values": {},
    "two replicas": {"replicas": 2},
    "no CRD": {"crds": {"install": False}},
    "no roles": {"rbac": {"create": False}},
    "a ServiceAccount of somebody else": {"serviceAccount": {"create": False, "name": "made-by-us"}},
    "no look at nodes": {"rbac": {"nodes": False}},
    "no leader election": {"leaderElection": {"enabled": False}},
    "the platform chooses the user": {"runAsUser": None},
    "everything set": {
        "fullnameOverride": "wp",
        "image": {"repository": "registry.example/waypost", "digest": f"sha256:{'a' * 64}", "pullPolicy": "Never"},
        "imagePullSecrets": [{"name": "my-registry"}],
        "replicas": 3,
        "operator": {"logFormat": "text", "resyncSeconds": 60, "workers": 2},
        "serviceAccount": {"annotations": {"a.example/b": "c"}},
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}
                ]
            }
        },
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
    },
}


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [item for item in objects if item["kind"] == kind]
    return found


def kinds(objects: list[dict[str, Any]]) -> set[str]:
    return {str(item["kind"]) for item in objects}


def pod_spec(objects: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = one(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def accept(kubectl: Kubectl, objects: list[dict[str, Any]]) -> None:
    """The API server takes all of them, with fields it doesn't know being errors."""
    stream = "\n---\n".join(json.dumps(item) for item in objects)
    kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-", stdin=stream
    )


def test_the_chart_passes_a_strict_lint(helm: Helm, tmp_path: Path) -> None:
    # In a copy, since lint reports the version of Kubernetes it was built for, not the chart's, as too old.
    shutil.copytree(CHART, tmp_path / "waypost")
    assert "0 chart(s) failed" in helm("lint", "--strict", str(tmp_path / "waypost"))


@pytest.mark.parametrize("values", WAYS.values(), ids=WAYS.keys())
def test_every_way_to_install_is_accepted(kubectl: Kubectl, helm: Helm, values: dict[str, Any]) -> None:
    accept(kubectl, helm.template(values))


def test_watching_some_namespaces_is_accepted_and_needs_no_cluster_role(
    kubectl: Kubectl, helm: Helm, new_namespace: Callable[..., str]
) -> None:
    namespaces = [new_namespace(), new_namespace()]
    objects = helm.template(
        {"watch": {"namespaces": namespaces}, "crds": {"install": False}, "rbac": {"nodes": False, "aggregate": False}}
    )
    accept(kubectl, objects)
    assert not kinds(objects) & {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    roles = {item["metadata"]["namespace"] for item in objects if item["kind"] == "Role"}
    assert roles == {*namespaces, "waypost-system"}
    [container] = pod_spec(objects)["containers"]
    assert [argument for argument in container["args"] if argument.startswith("--namespace=")] == [
        f"--namespace={name}" for name in namespaces
    ]


def test_the_operators_pod_is_admitted_where_pod_security_is_restricted(
    kubectl: Kubectl, helm: Helm, new_namespace: Callable[..., str]
) -> None:
    namespace = new_namespace("pod-security.kubernetes.io/enforce=restricted")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "operator", "namespace": namespace},
        "spec": {key: value for key, value in pod_spec(helm.template()).items() if key != "serviceAccountName"},
    }
    accept(kubectl, [pod])


def test_a_single_operator_ends_before_the_next_starts(helm: Helm) -> None:
    assert one(helm.template(), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_two_operators_are_replaced_one_at_a_time_and_kept_apart_by_the_lease(helm: Helm) -> None:
    objects = helm.template({"replicas": 2})
    strategy = one(objects, "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    [container] = pod_spec(objects)["containers"]
    assert "--leader-election" in container["args"]


def test_a_disruption_budget_comes_only_with_a_second_replica(helm: Helm) -> None:
    assert "PodDisruptionBudget" not in kinds(helm.template())
    assert one(helm.template({"replicas": 2}), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_the_users_affinity_and_the_preference_for_non_spot_nodes_go_together(helm: Helm) -> None:
    values = WAYS["everything set"]
    terms = pod_spec(helm.template(values))["affinity"]["nodeAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    keys = [[expression["key"] for expression in term["preference"]["matchExpressions"]] for term in terms]
    spot = [
        "eks.amazonaws.com/capacityType",
        "cloud.google.com/gke-spot",
        "kubernetes.azure.com/scalesetpriority",
        "karpenter.sh/capacity-type",
    ]
    assert keys == [["disk"], spot]
    assert "affinity" not in pod_spec(helm.template({"preferNonSpotNodes": False}))


def test_the_image_is_named_by_tag_or_by_digest(helm: Helm) -> None:
    def image(**values: str) -> str:
        return str(pod_spec(helm.template({"image": values}))["containers"][0]["image"])

    assert image() == "waypost:0.1.0"
    assert image(repository="registry.example/w", tag="1.2") == "registry.example/w:1.2"
    assert image(tag="1.2", digest=f"sha256:{'0' * 64}") == f"waypost@sha256:{'0' * 64}"


def test_every_namespaced_object_names_its_namespace(helm: Helm) -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    for item in helm.template({"replicas": 2}):
        assert (item["kind"] in cluster_wide) != ("namespace" in item["metadata"]), item["metadata"]["name"]
