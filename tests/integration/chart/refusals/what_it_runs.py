"""What the CRD refuses about the template, its container, and what the spec doesn't have."""

from __future__ import annotations

from tests.integration.chart.tasks import ABSENT, Refused

FAILURES = "spec__failurePolicy__maxFailures"
CONTAINERS = "spec__template__spec__containers"

RULES: dict[str, Refused] = {
    "no template": ({"spec__template": ABSENT}, "spec.template: Required value", {}),
    "a template without spec": ({"spec__template": {}}, "spec.template.spec: Required value", {}),
    "a template without containers": ({CONTAINERS: ABSENT}, "spec.template.spec.containers: Required value", {}),
    "a template with an empty list of containers": (
        {CONTAINERS: []},
        "spec.template.spec.containers: Invalid value ... at least 1 items",
        {},
    ),
    "a container without a name": (
        {CONTAINERS: [{"image": "example"}]},
        "spec.template.spec.containers[0].name: Required value",
        {},
    ),
    "two containers of one name": (
        {CONTAINERS: [{"name": "a"}, {"name": "a"}]},
        "spec.template.spec.containers[1]: Duplicate value",
        {CONTAINERS: [{"name": "a"}, {"name": "b"}]},
    ),
    "a pod that restarts its containers": (
        {"spec__template__spec__restartPolicy": "Always"},
        "restartPolicy must be Never (or left out): Waypost starts every attempt as a new pod",
        {"spec__template__spec__restartPolicy": "Never"},
    ),
    "a pod that restarts its containers on failure": (
        {"spec__template__spec__restartPolicy": "OnFailure"},
        "restartPolicy must be Never",
        {},
    ),
    "a label longer than 63 characters": (
        {"spec__template__metadata__labels": {"a": "x" * 64}},
        "spec.template.metadata.labels.a: Too long",
        {"spec__template__metadata__labels": {"a": "x" * 63}},
    ),
    "a label that is a number": (
        {"spec__template__metadata__labels": {"a": 1}},
        'spec.template.metadata.labels.a: Invalid value: "integer"',
        {"spec__template__metadata__labels": {"a": "1"}},
    ),
    "an annotation that is a number": (
        {"spec__template__metadata__annotations": {"a": 1}},
        'spec.template.metadata.annotations.a: Invalid value: "integer"',
        {"spec__template__metadata__annotations": {"a": "1"}},
    ),
    "a task container that isn't there": (
        {"spec__container": "trainer"},
        "container must be the name of a container in template.spec.containers",
        {"spec__container": "main"},
    ),
    "a task container without a name": ({"spec__container": ""}, "spec.container: Invalid value", {}),
    "a misspelt field": (
        {"spec__failurePolicy__maxFailure": 3},
        'unknown field "spec.failurePolicy.maxFailure"',
        {FAILURES: 3},
    ),
    "a misspelt section": ({"spec__checkpoints": {}}, 'unknown field "spec.checkpoints"', {}),
}
