"""The pod that deletes the store of a deleted task.

The operator holds no storage credentials, so the deletion runs where the task ran: the same ServiceAccount, secrets,
environment, volumes, security contexts and nodes, but Waypost's own image and command. Labels and annotations come
along, because clouds hand out identities by them; resources, probes, sidecars and init containers don't, because they
are the program's. Deleting may be repeated, so the pod may be killed at any moment and needs no grace.
"""

from __future__ import annotations

import copy
from typing import Any

from waypost import contract
from waypost_operator.model.observed import CleanupImage
from waypost_operator.model.raw import Json, mapping
from waypost_operator.specs import pod

POD_FIELDS = (
    "serviceAccountName",
    "serviceAccount",
    "automountServiceAccountToken",
    "imagePullSecrets",
    "securityContext",
    "nodeSelector",
    "tolerations",
    "hostNetwork",
    "hostAliases",
    "dnsPolicy",
    "dnsConfig",
)
"""Of the template's pod: who it is, where it may run, and how it reaches the storage."""
CONTAINER_FIELDS = ("env", "envFrom", "securityContext", "volumeMounts")
"""Of the task container."""
RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
"""Stated, since a quota may ask for it; deleting lists keys by the thousand and holds no data."""
GRACE_SECONDS = 5
RUNS_AT_MOST_SECONDS = 6 * 3600
"""For a store of millions of objects; a pod that hangs for longer is one that failed."""


def build(task: Json, image: CleanupImage, *, on_demand: bool = False) -> Json:
    """The body of the clean-up pod of a task (a raw CheckpointedTask); `on_demand`: where its last attempt ran.

    Raises TemplateError when no container of the template can be the task container.
    """
    metadata, spec = task["metadata"], task["spec"]
    template = copy.deepcopy(spec["template"])
    theirs: Json = template["spec"]
    if on_demand:
        theirs |= pod.overlay(spec)
    container = pod.task_container(task, theirs)
    pod.add_credentials(container, spec)
    kept = _present(theirs, POD_FIELDS)
    node_affinity = mapping(theirs, "affinity").get("nodeAffinity")
    if node_affinity:
        kept["affinity"] = {"nodeAffinity": node_affinity}
    mounted = {mount.get("name") for mount in container.get("volumeMounts") or []}
    volumes = [volume for volume in theirs.get("volumes") or [] if volume.get("name") in mounted]
    if volumes:
        kept["volumes"] = volumes
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": contract.cleanup_pod_name(metadata["name"]),
            "namespace": metadata["namespace"],
            "labels": {
                **mapping(template, "metadata", "labels"),
                contract.LABEL_TASK: metadata["name"],
                contract.LABEL_TASK_UID: metadata["uid"],
                contract.LABEL_CLEANUP: "true",
            },
            "annotations": {
                **mapping(template, "metadata", "annotations"),
                contract.ANNOTATION_DEFAULT_CONTAINER: contract.CLEANUP_CONTAINER,
            },
            # Not blocking: a deletion in the foreground would wait for this pod's end by deleting it.
            "ownerReferences": [{**pod.controller_reference(metadata), "blockOwnerDeletion": False}],
        },
        "spec": {
            **kept,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "activeDeadlineSeconds": RUNS_AT_MOST_SECONDS,
            "containers": [_container(task, container, image)],
        },
    }


def _container(task: Json, theirs: Json, image: CleanupImage) -> Json:
    metadata = task["metadata"]
    uri = contract.store_uri(
        task["spec"]["checkpoint"]["uri"], metadata["namespace"], metadata["name"], metadata["uid"]
    )
    ours: dict[str, Any] = {
        "name": contract.CLEANUP_CONTAINER,
        "image": image.name,
        "command": ["waypost", "checkpoints", "delete", uri, "--missing-ok", "--yes"],
        "resources": RESOURCES,
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the reason of a failure reaches status without a log
    }
    if image.pull_policy:
        ours["imagePullPolicy"] = image.pull_policy
    return {**_present(theirs, CONTAINER_FIELDS), **ours}


def _present(parent: Json, fields: tuple[str, ...]) -> Json:
    return {field: parent[field] for field in fields if parent.get(field) is not None}
