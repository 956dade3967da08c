"""The clean-up pod: Waypost's image where the task ran, with all that reaches its storage, without its program."""

from __future__ import annotations

import copy

import pytest

from tests.unit.operator.runtime import CLEANUP_IMAGE
from tests.unit.operator.tasks import STORE, UID, task
from waypost import contract
from waypost_operator.model.observed import CleanupImage
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import NO_TIME, Json
from waypost_operator.specs import cleanup
from waypost_operator.specs.pod import TemplateError

TEMPLATE: Json = {
    "metadata": {
        "labels": {"azure.workload.identity/use": "true", contract.LABEL_TASK: "forged"},
        "annotations": {"gke-gcsfuse/volumes": "true"},
    },
    "spec": {
        "serviceAccountName": "trainer",
        "imagePullSecrets": [{"name": "registry"}],
        "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
        "nodeSelector": {"pool": "spot"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"some": "term"}, "podAntiAffinity": {"some": "term"}},
        "dnsConfig": {"nameservers": ["10.0.0.1"]},
        "priorityClassName": "high",
        "initContainers": [{"name": "fetch", "image": "i"}],
        "volumes": [{"name": "shared", "hostPath": {"path": "/shared"}}, {"name": "scratch", "emptyDir": {}}],
        "containers": [
            {"name": "proxy", "image": "mesh"},
            {
                "name": "main",
                "image": "program",
                "command": ["program"],
                "env": [{"name": "AWS_ENDPOINT_URL", "value": "http://s3"}],
                "envFrom": [{"configMapRef": {"name": "settings"}}],
                "securityContext": {"allowPrivilegeEscalation": False},
                "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
                "resources": {"limits": {"nvidia.com/gpu": 8}},
                "livenessProbe": {"exec": {"command": ["true"]}},
            },
        ],
    },
}
CHECKPOINT = {"uri": "s3://bucket/runs/", "credentialsSecretRef": {"name": "s3"}}


def built() -> Json:
    return cleanup.build(task(template=TEMPLATE, container="main", checkpoint=CHECKPOINT), CLEANUP_IMAGE)


def test_it_deletes_the_tasks_own_store_and_is_content_with_none() -> None:
    [container] = built()["spec"]["containers"]
    assert container["image"] == "registry.example/waypost:1"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["command"] == ["waypost", "checkpoints", "delete", STORE, "--missing-ok", "--yes"]


def test_it_has_all_that_reaches_the_storage() -> None:
    pod = built()["spec"]
    [container] = pod["containers"]
    source = TEMPLATE["spec"]
    for field in (
        "serviceAccountName",
        "imagePullSecrets",
        "securityContext",
        "nodeSelector",
        "tolerations",
        "dnsConfig",
    ):
        assert pod[field] == source[field]
    assert pod["affinity"] == {"nodeAffinity": {"some": "term"}}
    assert container["env"] == source["containers"][1]["env"]
    assert container["envFrom"] == [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "s3"}}]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False}
    assert container["volumeMounts"] == [{"name": "shared", "mountPath": "/shared"}]
    assert [volume["name"] for volume in pod["volumes"]] == ["shared"]


def test_it_has_nothing_of_the_program() -> None:
    pod = built()["spec"]
    [container] = pod["containers"]
    assert "initContainers" not in pod
    assert "priorityClassName" not in pod
    assert "nvidia.com/gpu" not in str(container["resources"])
    assert "livenessProbe" not in container
    assert pod["restartPolicy"] == "Never"


def test_it_is_the_tasks_own_and_never_taken_for_an_attempt() -> None:
    metadata = built()["metadata"]
    assert metadata["name"] == "train-cleanup"
    assert metadata["labels"] == {
        "azure.workload.identity/use": "true",
        contract.LABEL_TASK: "train",
        contract.LABEL_TASK_UID: UID,
        contract.LABEL_CLEANUP: "true",
    }
    assert metadata["annotations"]["gke-gcsfuse/volumes"] == "true"
    [owner] = metadata["ownerReferences"]
    assert owner["uid"] == UID
    assert owner["controller"] is True
    assert owner["blockOwnerDeletion"] is False, "a deletion in the foreground would delete it before its work is done"


def test_where_the_last_attempt_ran_on_demand_it_does_too() -> None:
    policy = {"onDemand": {"nodeSelector": {"pool": "on-demand"}}}
    body = task(template=TEMPLATE, container="main", checkpoint=CHECKPOINT, preemptionPolicy=policy)
    assert cleanup.build(body, CLEANUP_IMAGE, on_demand=True)["spec"]["nodeSelector"] == {"pool": "on-demand"}


def test_the_smallest_template_gets_the_smallest_pod() -> None:
    pod = cleanup.build(task(), CleanupImage("waypost:1"))["spec"]
    assert set(pod) == {"restartPolicy", "terminationGracePeriodSeconds", "activeDeadlineSeconds", "containers"}
    assert "imagePullPolicy" not in pod["containers"][0]


def test_its_end_is_that_of_its_own_container_whatever_a_webhook_put_in_front() -> None:
    pod = built()
    pod["spec"]["containers"].insert(0, {"name": "istio-proxy"})
    assert Pod(pod, NO_TIME).task_container == contract.CLEANUP_CONTAINER


def test_building_changes_nothing_and_a_missing_container_is_an_error() -> None:
    body = task(template=TEMPLATE, container="main", checkpoint=CHECKPOINT)
    before = copy.deepcopy(body)
    cleanup.build(body, CLEANUP_IMAGE)
    assert body == before
    with pytest.raises(TemplateError, match="'other'"):
        cleanup.build(task(template=TEMPLATE, container="other", checkpoint=CHECKPOINT), CLEANUP_IMAGE)
