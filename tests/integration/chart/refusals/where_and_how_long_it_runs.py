"""What the CRD refuses about preemptions, on demand, and the limits of time."""

from __future__ import annotations

from tests.integration.chart.tasks import Refused

PREEMPTION = "spec__preemptionPolicy"

RULES: dict[str, Refused] = {
    "less than no preemption": (
        {PREEMPTION: {"maxPreemptions": -1}},
        "spec.preemptionPolicy.maxPreemptions: Invalid value: -1",
        {PREEMPTION: {"maxPreemptions": 0}},
    ),
    "on demand after no preemption": (
        {PREEMPTION: {"onDemandAfter": 0, "onDemand": {"nodeSelector": {}}}},
        "spec.preemptionPolicy.onDemandAfter: Invalid value: 0",
        {PREEMPTION: {"onDemandAfter": 1, "onDemand": {"nodeSelector": {}}}},
    ),
    "on demand without a word on what that is": (
        {PREEMPTION: {"onDemandAfter": 3}},
        "preemptionPolicy.onDemandAfter needs preemptionPolicy.onDemand: what the pods are to have then",
        {PREEMPTION: {"onDemandAfter": 3, "onDemand": {"priorityClassName": "standard"}}},
    ),
    "on demand after the task has failed": (
        {PREEMPTION: {"maxPreemptions": 2, "onDemandAfter": 3, "onDemand": {"affinity": {}}}},
        "preemptionPolicy.onDemandAfter can't be greater than maxPreemptions: the task would fail before",
        {PREEMPTION: {"maxPreemptions": 3, "onDemandAfter": 3, "onDemand": {"affinity": {}}}},
    ),
    "on demand with nothing changed": (
        {PREEMPTION: {"onDemand": {}}},
        "onDemand needs at least one of nodeSelector, affinity, tolerations and priorityClassName",
        {PREEMPTION: {"onDemand": {"tolerations": []}}},
    ),
    "a misspelt toleration on demand": (
        {PREEMPTION: {"onDemand": {"tolerations": [{"keys": "gpu"}]}}},
        'unknown field "spec.preemptionPolicy.onDemand.tolerations[0].keys"',
        {PREEMPTION: {"onDemand": {"tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 0}]}}},
    ),
    "a node label that is a number": (
        {PREEMPTION: {"onDemand": {"nodeSelector": {"pool": 1}}}},
        'spec.preemptionPolicy.onDemand.nodeSelector.pool: Invalid value: "integer"',
        {PREEMPTION: {"onDemand": {"nodeSelector": {"pool": "1"}}}},
    ),
    "a suspension in words": (
        {"spec__suspend": "yes"},
        'spec.suspend: Invalid value: "string"',
        {"spec__suspend": True},
    ),
    "no time for the task": (
        {"spec__activeDeadlineSeconds": 0},
        "spec.activeDeadlineSeconds: Invalid value: 0",
        {"spec__activeDeadlineSeconds": 1},
    ),
    "no time for an attempt": (
        {"spec__attemptDeadlineSeconds": 0},
        "spec.attemptDeadlineSeconds: Invalid value: 0",
        {"spec__attemptDeadlineSeconds": 1},
    ),
    "no time to start": (
        {"spec__pendingDeadlineSeconds": 0},
        "spec.pendingDeadlineSeconds: Invalid value: 0",
        {"spec__pendingDeadlineSeconds": 1},
    ),
    "deleted before it finished": (
        {"spec__ttlSecondsAfterFinished": -1},
        "spec.ttlSecondsAfterFinished: Invalid value: -1",
        {"spec__ttlSecondsAfterFinished": 0},
    ),
    "no wait for an unreachable node": (
        {"spec__replaceUnreachableAfterSeconds": 0},
        "spec.replaceUnreachableAfterSeconds: Invalid value: 0",
        {"spec__replaceUnreachableAfterSeconds": 1},
    ),
}
