"""What stands in manifests/ and in the docs: as generated, and taken by a real API server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import generate
from tests.cluster.kubeconfig import Kubectl
from tests.integration.chart.helm import ROOT
from waypost_operator.specs.pod import build

pytestmark = pytest.mark.integration

SAMPLES = sorted((ROOT / "manifests/samples").glob("*.yaml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def documented_tasks() -> dict[str, str]:
    """Every whole task in a ```yaml block of the documentation, by page and number."""
    found = {}
    for page in PAGES:
        for number, block in enumerate(
            re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL), 1
        ):
            if re.search(r"^kind: CheckpointedTask$", block, re.MULTILINE):
                found[f"{page.name} block {number}"] = block
    return found


def accept(kubectl: Kubectl, namespace: str, text: str) -> None:
    """The API server takes the objects, and the pod of each task among them, without an unknown field."""
    strict = ("apply", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", "-")
    kubectl(*strict, stdin=text)
    tasks = [item for item in yaml.safe_load_all(text) if item and item["kind"] == "CheckpointedTask"]
    assert tasks
    for task in tasks:
        kubectl(*strict, stdin=yaml.safe_dump(pod(task)))


def pod(task: dict[str, Any]) -> dict[str, Any]:
    template = task["spec"]["template"]
    spec = {**template["spec"], "restartPolicy": "Never"}
    metadata = {**template.get("metadata", {}), "name": f"{task['metadata']['name']}-1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_the_sample_is_accepted(kubectl: Kubectl, new_namespace: Callable[..., str], sample: Path) -> None:
    accept(kubectl, new_namespace(), sample.read_text())


@pytest.mark.parametrize(
    "sample", [path for path in SAMPLES if path.name.startswith("spot-")], ids=lambda path: path.name
)
def test_the_pod_that_the_operator_makes_of_it_is_accepted_on_spot_and_on_demand(
    kubectl: Kubectl, new_namespace: Callable[..., str], sample: Path
) -> None:
    """An overlay with a mistake would show up only after the preemptions that lead there."""
    namespace = new_namespace()
    (task,) = yaml.safe_load_all(sample.read_text())
    task["metadata"] |= {"namespace": namespace, "uid": "0d5dfdb4-00a6-41f1-a986-eb6b1a5579ec"}
    for on_demand in (False, True):
        body = yaml.safe_dump(build(task, 1, on_demand=on_demand))
        kubectl("create", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", "-", stdin=body)


def test_a_sample_with_a_mistake_would_be_noticed(kubectl: Kubectl, new_namespace: Callable[..., str]) -> None:
    text = SAMPLES[0].read_text().replace("command:", "comand:")
    with pytest.raises(Exception, match=r"unknown field .*comand"):
        accept(kubectl, new_namespace(), text)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_the_sample_runs_its_program_as_process_1(sample: Path) -> None:
    tasks = [item for item in yaml.safe_load_all(sample.read_text()) if item["kind"] == "CheckpointedTask"]
    for container in (container for task in tasks for container in task["spec"]["template"]["spec"]["containers"]):
        assert isinstance(container["command"], list)
        assert container["command"][0] not in ("sh", "bash", "/bin/sh", "/bin/bash")


@pytest.mark.parametrize("text", documented_tasks().values(), ids=documented_tasks().keys())
def test_the_task_in_the_docs_is_accepted(kubectl: Kubectl, new_namespace: Callable[..., str], text: str) -> None:
    accept(kubectl, new_namespace(), text)


def test_generated_manifests_are_what_their_source_says() -> None:
    files = {generate.MANIFEST_CRD: generate.manifest_crd(), generate.CHART_CRD: generate.chart_crd()}
    files[generate.INSTALL] = generate.install(ROOT)
    assert "".join(generate.differences(ROOT, files)) == ""


def test_a_changed_manifest_would_be_noticed() -> None:
    changed = {generate.MANIFEST_CRD: generate.manifest_crd().replace("ckt", "ckx")}
    assert "+    - ckx\n" in list(generate.differences(ROOT, changed))


def test_install_yaml_says_nothing_of_helm_and_installs_into_its_own_namespace() -> None:
    text = (ROOT / generate.INSTALL).read_text()
    assert "helm.sh" not in text
    assert "Helm" not in text
    objects = [item for item in yaml.safe_load_all(text) if item]
    assert objects[0]["kind"] == "Namespace"
    assert {item["metadata"]["namespace"] for item in objects if "namespace" in item["metadata"]} == {"waypost-system"}
    unlabelled = [
        item["kind"] for item in objects if "app.kubernetes.io/name" not in item["metadata"].get("labels", {})
    ]
    assert unlabelled == ["CustomResourceDefinition"]
