"""What belongs to users stays theirs: the operator writes status and its own pods and Events, and nothing else."""

from __future__ import annotations

import json

import pytest

from waypost import contract

from .course import drive
from .kubelet import Kubelet
from .process import OperatorProcess
from .stage import Stage

pytestmark = pytest.mark.integration

FOREIGN = "kopf.zalando.org/KopfFinalizerMarker"
"""The default finalizer of every operator built with kopf; ours must not mistake another's for its own."""


async def test_metadata_and_spec_of_tasks_and_pods_are_never_touched(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    created = await stage.apply("train")
    await stage.patch(contract.PLURAL, "train", {"metadata": {"finalizers": [FOREIGN]}})
    pod = await stage.pod("train-1")
    await stage.patch("pods", "train-1", {"metadata": {"finalizers": [FOREIGN]}})
    await drive(stage, kubelet, "train", seconds=60)
    task = await stage.task("train")
    assert task["metadata"]["finalizers"] == [FOREIGN]
    assert task["metadata"].get("annotations") is None
    assert task["spec"] == created["spec"]
    ours = [entry for entry in task["metadata"]["managedFields"] if entry["manager"] == contract.FIELD_MANAGER]
    assert [entry.get("subresource") for entry in ours] == ["status"]
    kept = await stage.get("pods", "train-1")
    assert kept is not None
    assert kept["metadata"]["finalizers"] == [FOREIGN]
    assert kept["metadata"]["annotations"] == pod["metadata"]["annotations"]
    assert "kopf" not in json.dumps([kept["metadata"]["annotations"], task["status"]])
    for name, kind in (("train-1", "pods"), ("train", contract.PLURAL)):
        await stage.patch(kind, name, {"metadata": {"finalizers": None}})


async def test_a_pod_that_loses_our_label_is_still_known_to_run(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await stage.apply("train")
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await stage.status("train", lambda status: status.get("state") == "Running", "is running")
    await stage.patch("pods", "train-1", {"metadata": {"labels": {contract.LABEL_TASK: None}}})
    operator.wait_for("LookAtPod")
    await stage.apply("other")
    await stage.pod("other-1")
    assert sorted(await stage.pods()) == ["other-1", "train-1"], "to the watch it was deleted, and it runs on"
