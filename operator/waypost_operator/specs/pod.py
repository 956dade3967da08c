"""The pod of one attempt: the user's template, and what Waypost adds to it.

Waypost owns the name, its labels, the controller reference, the env contract and the termination message of the
task container; there the template is overruled, because the verdict rests on them. It fills in what spot machines
need where the template is silent: a grace that fits into a two-minute notice, and half a minute instead of five
on a node that has gone quiet. Everything else passes through untouched.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from waypost import contract
from waypost_operator.model.raw import Json, mapping

NODE_LOSS_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class TemplateError(ValueError):
    """The template can't become a pod, and only the user can mend it."""


OVERLAY = ("nodeSelector", "affinity", "tolerations", "priorityClassName")
"""Fields of a pod that preemptionPolicy.onDemand may replace."""


def build(task: Json, attempt: int, *, on_demand: bool = False) -> Json:
    """The body of the pod of that attempt of the task (a raw CheckpointedTask); `on_demand`: with the overlay.

    Raises TemplateError when no container of the template can be the task container.
    """
    metadata, spec = task["metadata"], task["spec"]
    template = copy.deepcopy(spec["template"])
    pod_spec: Json = template["spec"]
    pod_spec["restartPolicy"] = "Never"
    if on_demand:
        pod_spec |= overlay(spec)
    if pod_spec.get("terminationGracePeriodSeconds") is None:
        pod_spec["terminationGracePeriodSeconds"] = contract.DEFAULT_GRACE_SECONDS
    pod_spec["tolerations"] = _tolerations(_objects(pod_spec, "tolerations"))

    container = task_container(task, pod_spec)
    container["terminationMessagePath"] = contract.TERMINATION_LOG_PATH
    container["terminationMessagePolicy"] = "File"
    ours = _environment(metadata, spec, attempt, grace=pod_spec["terminationGracePeriodSeconds"])
    theirs = [entry for entry in _objects(container, "env") if entry.get("name") not in contract.ENV_NAMES]
    container["env"] = [*ours, *theirs]  # ours first: the template's variables may refer to them as $(NAME)
    add_credentials(container, spec)

    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": contract.pod_name(metadata["name"], attempt),
            "namespace": metadata["namespace"],
            "labels": {**mapping(template, "metadata", "labels"), **labels(metadata, attempt)},
            "annotations": {
                contract.ANNOTATION_DEFAULT_CONTAINER: container["name"],
                **mapping(template, "metadata", "annotations"),
            },
            "ownerReferences": [controller_reference(metadata)],
        },
        "spec": pod_spec,
    }


def overlay(spec: Json) -> Json:
    """The fields of a pod's spec that attempts on demand have in place of the template's."""
    found = mapping(spec, "preemptionPolicy", "onDemand")
    return {field: copy.deepcopy(found[field]) for field in OVERLAY if found.get(field) is not None}


def add_credentials(container: Json, spec: Json) -> None:
    """Let the container have the secret of checkpoint.credentialsSecretRef as environment variables."""
    secret = mapping(spec, "checkpoint", "credentialsSecretRef").get("name")
    if secret:
        container["envFrom"] = [*_objects(container, "envFrom"), {"secretRef": {"name": secret}}]


def labels(metadata: Json, attempt: int) -> dict[str, str]:
    """Labels by which people and the operator's watch find the pods of a task."""
    return {
        contract.LABEL_TASK: metadata["name"],
        contract.LABEL_TASK_UID: metadata["uid"],
        contract.LABEL_ATTEMPT: str(attempt),
    }


def controller_reference(metadata: Json) -> Json:
    """Makes the pod the task's own: collected with it, drained like a Job's, and recognised by its UID."""
    return {
        "apiVersion": contract.API_VERSION,
        "kind": contract.KIND,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def task_container(task: Json, pod_spec: Json) -> Json:
    """The container that gets the contract: spec.container, else the annotated default, else the first."""
    containers: list[Json] = pod_spec.get("containers") or []
    annotations = mapping(task, "spec", "template", "metadata", "annotations")
    for field, wanted in (
        ("spec.container", task["spec"].get("container")),
        (
            f"the annotation {contract.ANNOTATION_DEFAULT_CONTAINER}",
            annotations.get(contract.ANNOTATION_DEFAULT_CONTAINER),
        ),
    ):
        if wanted:
            for container in containers:
                if container.get("name") == wanted:
                    return container
            there = ", ".join(str(container.get("name")) for container in containers)
            raise TemplateError(f"{field} names the container {wanted!r}, but the template has only: {there}")
    if not containers:
        raise TemplateError("the template has no containers")
    return containers[0]


def _objects(parent: Json, field: str) -> list[Json]:
    """A list of objects in a part of the template that the CRD doesn't type; absent and null are empty."""
    found = parent.get(field) or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise TemplateError(f"{field} in the template must be a list of objects, but is: {found!r:.200}")
    return found


def _environment(metadata: Json, spec: Json, attempt: int, *, grace: int) -> list[Json]:
    store = contract.store_uri(spec["checkpoint"]["uri"], metadata["namespace"], metadata["name"], metadata["uid"])
    start_point = spec["checkpoint"].get("from")
    values = {
        contract.ENV_CHECKPOINT_DST: store,
        contract.ENV_CHECKPOINT_SRC: store,
        **({contract.ENV_CHECKPOINT_FROM: start_point} if start_point else {}),
        contract.ENV_ATTEMPT: str(attempt),
        contract.ENV_TASK: metadata["name"],
        contract.ENV_NAMESPACE: metadata["namespace"],
        contract.ENV_TASK_UID: metadata["uid"],
        contract.ENV_RETENTION: json.dumps(_retention(spec)),
        contract.ENV_GRACE_SECONDS: str(grace),
        contract.ENV_TERMINATION_LOG: contract.TERMINATION_LOG_PATH,
    }
    pod_uid = {"name": contract.ENV_POD_UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    return [*({"name": name, "value": value} for name, value in values.items()), pod_uid]


def _retention(spec: Json) -> Mapping[str, Any]:
    """The rules as the task has them: the SDK reads the same names."""
    return {"keepLast": contract.DEFAULT_KEEP_LAST, **mapping(spec, "checkpoint", "retention")}


def _tolerations(given: list[Json]) -> list[Json]:
    """The template's tolerations, and ours for the two taints of a lost node where it has none."""
    return [
        *given,
        *(
            {
                "key": taint,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": contract.DEFAULT_NODE_LOSS_TOLERATION_SECONDS,
            }
            for taint in NODE_LOSS_TAINTS
            if not any(_covers(toleration, taint) for toleration in given)
        ),
    ]


def _covers(toleration: dict[str, Any], taint: str) -> bool:
    return toleration.get("key", "") in (taint, "") and toleration.get("effect", "") in ("NoExecute", "")
