"""What a real API server keeps of a task that it takes, what it adds, and what of it kubectl shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
import yaml

from tests.cluster.kubeconfig import Kubectl
from tests.integration.chart.helm import ROOT
from tests.integration.chart.tasks import task

pytestmark = pytest.mark.integration

BACKOFF = "spec__failurePolicy__backoff"


def test_the_largest_numbers_that_the_schema_allows_can_be_written(apply: Callable[..., str], kubectl: Kubectl) -> None:
    # A maximum of 2^63-1 would do the opposite: a double in the API server, it becomes 2^63 and refuses every write.
    apply(task(metadata__name="large"))
    version = yaml.safe_load((ROOT / "manifests/crd.yaml").read_text())["spec"]["versions"][0]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    numbers = {name: field.get("maximum", 2**63 - 1) for name, field in status.items() if field["type"] == "integer"}
    assert numbers
    patch = json.dumps({"status": numbers})
    kubectl("patch", "ckt", "large", "--subresource=status", "--type=merge", "-p", patch)


def test_an_unknown_field_is_dropped_where_the_client_does_not_ask_for_strictness(
    apply: Callable[..., str], kubectl: Kubectl
) -> None:
    apply(task(metadata__name="lenient", spec__maxFailures=3), "--validate=ignore")
    assert "maxFailures" not in kubectl.json("get", "ckt", "lenient")["spec"]


def test_whatever_a_pod_may_have_is_kept_in_the_template(apply: Callable[..., str], kubectl: Kubectl) -> None:
    template = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["example.com/kept"]},
        "spec": {
            "initContainers": [{"name": "init", "image": "example", "restartPolicy": "Always"}],
            "containers": [
                {"name": "main", "image": "example", "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "1Gi"}}},
                {"name": "side", "image": "example", "ports": [{"containerPort": 80}], "ofTheFuture": {"x": [1, "y"]}},
            ],
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "ofTheFuture": 1.5,
        },
    }
    apply(task(metadata__name="keeps", spec__template=template))
    stored = kubectl.json("get", "ckt", "keeps")["spec"]["template"]
    assert stored["spec"].pop("restartPolicy") == "Never"
    assert stored == template


def test_defaults_are_visible_in_the_stored_task(apply: Callable[..., str], kubectl: Kubectl) -> None:
    apply(task(metadata__name="defaults"))
    stored = kubectl.json("get", "ckt", "defaults")["spec"]
    assert stored["failurePolicy"] == {
        "maxFailures": 3,
        "recoverableExitCodes": [],
        "rules": [],
        "backoff": {"initialSeconds": 10, "maxSeconds": 600},
    }
    assert stored["template"]["spec"]["restartPolicy"] == "Never"


def test_half_a_backoff_is_completed_by_its_defaults(apply: Callable[..., str], kubectl: Kubectl) -> None:
    apply(task(metadata__name="half", **{BACKOFF: {"maxSeconds": 60}}))
    policy = kubectl.json("get", "ckt", "half")["spec"]["failurePolicy"]
    assert (policy["maxFailures"], policy["backoff"]) == (3, {"initialSeconds": 10, "maxSeconds": 60})


def test_a_user_cannot_write_the_status_along_with_the_task(apply: Callable[..., str], kubectl: Kubectl) -> None:
    apply(task(metadata__name="liar", status={"attempt": 7}))
    assert "status" not in kubectl.json("get", "ckt", "liar")


def test_kubectl_shows_a_task_by_its_short_name_and_category(apply: Callable[..., str], kubectl: Kubectl) -> None:
    apply(task(metadata__name="shown"))
    header, *_ = kubectl("get", "ckt", "shown").splitlines()
    columns = ["NAME", "STATE", "ATTEMPT", "PREEMPTIONS", "LAST STEP", "AGE"]
    assert re.split(r"\s{2,}", header.strip()) == columns
    assert "checkpointedtask.waypost.dev/shown" in kubectl("get", "waypost", "-o", "name")


def test_kubectl_explains_every_field_of_the_spec(kubectl: Kubectl) -> None:
    text = kubectl("explain", "ckt.spec", "--recursive")
    assert "credentialsSecretRef" in text
    assert "Can't change" in kubectl("explain", "ckt.spec.checkpoint.uri")
