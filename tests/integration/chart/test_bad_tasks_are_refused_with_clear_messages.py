"""Each rule of the CRD, told by a real API server: what it refuses, in which words, and the nearest thing it takes.

A row is (what is wrong, what the message says, the nearest that is right); " ... " stands for any text between.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.cluster import ClusterError
from tests.cluster.kubeconfig import Kubectl
from tests.integration.chart.helm import ROOT
from tests.integration.chart.tasks import ABSENT, task
from waypost import contract

pytestmark = pytest.mark.integration

URI = "spec__checkpoint__uri"
FROM = "spec__checkpoint__from"
FAILURES = "spec__failurePolicy__maxFailures"
CODES = "spec__failurePolicy__recoverableExitCodes"
PREEMPTION = "spec__preemptionPolicy"
FAILURE_RULES = "spec__failurePolicy__rules"
BACKOFF = "spec__failurePolicy__backoff"
RETENTION = "spec__checkpoint__retention"
CONTAINERS = "spec__template__spec__containers"
URI_CHANGED = "uri can't change: another store knows nothing of this task's progress"
FROM_CHANGED = "checkpoint.from can't change, nor come or go later: attempts of one task would have begun differently"
MUST_BE_STORE = "checkpoint.from must be a store's URI, without spaces: <uri>, or <uri>#<number of a checkpoint>"
FROM_NO_QUERY = "checkpoint.from can't contain ? or ::"
FROM_NO_USER = "checkpoint.from can't carry a user or password: they belong into checkpoint.credentialsSecretRef"
MUST_BE_URI = "checkpoint.uri must be a URI such as s3://bucket/prefix"
NO_QUERY = "checkpoint.uri can't contain ?, # or ::"
NO_USER = "checkpoint.uri can't carry a user or password: they belong into checkpoint.credentialsSecretRef"

RULES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "a name too long for its pods": (
        {"metadata__name": "n" * 53},
        "metadata.name can't exceed 52 characters: pods are called <name>-<attempt>",
        {"metadata__name": "n" * 52},
    ),
    "no spec": ({"spec": ABSENT}, "spec: Required value", {}),
    "no checkpoint": ({"spec__checkpoint": ABSENT}, "spec.checkpoint: Required value", {}),
    "no uri": ({URI: ABSENT}, "spec.checkpoint.uri: Required value", {}),
    "an empty uri": ({URI: ""}, "spec.checkpoint.uri: Invalid value", {URI: "s3://b"}),
    "a uri without a scheme": ({URI: "/mnt/checkpoints"}, MUST_BE_URI, {URI: "file:///mnt/checkpoints"}),
    "a uri with a space": ({URI: "s3://bucket/my runs"}, MUST_BE_URI, {URI: "s3://bucket/my%20runs"}),
    "a uri with a query": ({URI: "s3://bucket/runs?versionId=1"}, NO_QUERY, {URI: "gs://bucket/runs"}),
    "a uri with a fragment": ({URI: "s3://bucket/runs#1"}, NO_QUERY, {URI: "s3://bucket/runs-1"}),
    "a chained uri": ({URI: "s3://bucket/zip::inside"}, NO_QUERY, {URI: "s3://bucket/a:b"}),
    "a uri with user and password": ({URI: "https://me:secret@host/a"}, NO_USER, {URI: "https://host/me@home"}),
    "a uri with a user": ({URI: "sftp://me@host/a"}, NO_USER, {URI: "sftp://host/a"}),
    "a uri longer than 512 characters": (
        {URI: "s3://b/" + "x" * 506},
        "spec.checkpoint.uri: Too long: may not be more than 512",
        {URI: "s3://b/" + "x" * 505},
    ),
    "an empty start point": ({FROM: ""}, "spec.checkpoint.from: Invalid value", {FROM: "s3://b"}),
    "a start point without a scheme": ({FROM: "/mnt/base"}, MUST_BE_STORE, {FROM: "file:///mnt/base"}),
    "a start point with a space": ({FROM: "s3://bucket/my base"}, MUST_BE_STORE, {FROM: "s3://bucket/my%20base"}),
    "a start point with a name for a number": ({FROM: "s3://bucket/base#last"}, MUST_BE_STORE, {FROM: "gs://b/x#12"}),
    "a start point with number 0": ({FROM: "s3://bucket/base#0"}, MUST_BE_STORE, {FROM: "s3://bucket/base#1"}),
    "a start point with two numbers": ({FROM: "s3://bucket/base#1#2"}, MUST_BE_STORE, {FROM: "s3://bucket/base#12"}),
    "a start point with nothing behind the #": ({FROM: "s3://bucket/base#"}, MUST_BE_STORE, {FROM: "s3://bucket/base"}),
    "a start point with a query": ({FROM: "s3://bucket/base?versionId=1"}, FROM_NO_QUERY, {FROM: "gs://bucket/base"}),
    "a chained start point": ({FROM: "s3://bucket/zip::inside"}, FROM_NO_QUERY, {FROM: "s3://bucket/a:b#3"}),
    "a start point with user and password": (
        {FROM: "https://me:secret@host/a"},
        FROM_NO_USER,
        {FROM: "https://host/me@home"},
    ),
    "a start point longer than any store's": (
        {FROM: "s3://b/" + "x" * 694},
        "spec.checkpoint.from: Too long: may not be more than 700",
        {FROM: "s3://b/" + "x" * 693},
    ),
    "a secret without a name": (
        {"spec__checkpoint__credentialsSecretRef": {}},
        "spec.checkpoint.credentialsSecretRef.name: Required value",
        {"spec__checkpoint__credentialsSecretRef": {"name": "s3"}},
    ),
    "a secret with an empty name": (
        {"spec__checkpoint__credentialsSecretRef": {"name": ""}},
        "spec.checkpoint.credentialsSecretRef.name: Invalid value",
        {"spec__checkpoint__credentialsSecretRef": {"name": "s"}},
    ),
    "nothing kept": (
        {RETENTION: {"keepLast": 0}},
        "spec.checkpoint.retention.keepLast: Invalid value: 0 ... greater than or equal to 1",
        {RETENTION: {"keepLast": 1}},
    ),
    "more kept than anyone means": (
        {RETENTION: {"keepLast": 1001}},
        "spec.checkpoint.retention.keepLast: Invalid value: 1001 ... less than or equal to 1000",
        {RETENTION: {"keepLast": 1000}},
    ),
    "one kept in every nothing": (
        {RETENTION: {"keepEvery": {}}},
        "retention.keepEvery needs either steps or seconds",
        {RETENTION: {"keepEvery": {"steps": 1}}},
    ),
    "one kept in every so many steps and seconds": (
        {RETENTION: {"keepEvery": {"steps": 10, "seconds": 10}}},
        "retention.keepEvery needs either steps or seconds",
        {RETENTION: {"keepEvery": {"seconds": 10}}},
    ),
    "one kept in every 0 steps": (
        {RETENTION: {"keepEvery": {"steps": 0}}},
        "spec.checkpoint.retention.keepEvery.steps: Invalid value: 0 ... greater than or equal to 1",
        {RETENTION: {"keepEvery": {"steps": 2_147_483_647}}},
    ),
    "one kept in every 0 seconds": (
        {RETENTION: {"keepEvery": {"seconds": 0}}},
        "spec.checkpoint.retention.keepEvery.seconds: Invalid value: 0 ... greater than or equal to 1",
        {RETENTION: {"keepEvery": {"seconds": 2_147_483_647}}},
    ),
    "the best of no metric": (
        {RETENTION: {"keepBest": {"mode": "min"}}},
        "spec.checkpoint.retention.keepBest.metric: Required value",
        {RETENTION: {"keepBest": {"mode": "min", "metric": "loss"}}},
    ),
    "the best of a metric without a name": (
        {RETENTION: {"keepBest": {"mode": "min", "metric": ""}}},
        "spec.checkpoint.retention.keepBest.metric: Invalid value",
        {RETENTION: {"keepBest": {"mode": "max", "metric": "m"}}},
    ),
    "the best by no measure": (
        {RETENTION: {"keepBest": {"metric": "loss", "mode": "median"}}},
        'spec.checkpoint.retention.keepBest.mode: Unsupported value: "median"',
        {RETENTION: {"keepBest": {"metric": "loss", "mode": "max"}}},
    ),
    "the best 0": (
        {RETENTION: {"keepBest": {"metric": "loss", "mode": "min", "count": 0}}},
        "spec.checkpoint.retention.keepBest.count: Invalid value: 0",
        {RETENTION: {"keepBest": {"metric": "loss", "mode": "min", "count": 1000}}},
    ),
    "less than no failure": (
        {FAILURES: -1},
        "spec.failurePolicy.maxFailures: Invalid value: -1 ... greater than or equal to 0",
        {FAILURES: 0},
    ),
    "more failures than anyone means": (
        {FAILURES: 1_000_001},
        "spec.failurePolicy.maxFailures: Invalid value: 1000001 ... less than or equal to 1000000",
        {FAILURES: 1_000_000},
    ),
    "failures as a word": (
        {FAILURES: "three"},
        'spec.failurePolicy.maxFailures: Invalid value: "string"',
        {FAILURES: 3},
    ),
    "a broken number of failures": ({FAILURES: 1.5}, "spec.failurePolicy.maxFailures: Invalid value", {FAILURES: 1}),
    "exit code 0 as recoverable": (
        {CODES: [0]},
        "spec.failurePolicy.recoverableExitCodes[0]: Invalid value: 0 ... greater than or equal to 1",
        {CODES: [1]},
    ),
    "an exit code that no process has": (
        {CODES: [256]},
        "spec.failurePolicy.recoverableExitCodes[0]: Invalid value: 256 ... less than or equal to 255",
        {CODES: [255]},
    ),
    "an exit code twice": (
        {CODES: [3, 3]},
        "spec.failurePolicy.recoverableExitCodes[1]: Duplicate value: 3",
        {CODES: [3, 4]},
    ),
    "more than 32 exit codes": (
        {CODES: list(range(1, 34))},
        "spec.failurePolicy.recoverableExitCodes: Too many: 33",
        {CODES: list(range(1, 33))},
    ),
    "a failure rule about nothing": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail"}]},
        "needs exactly one of onExitCodes, onConditions and onReasons",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onConditions": [{"type": "DisruptionTarget"}]}]},
    ),
    "a failure rule about two things": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": [1], "onReasons": ["Evicted"]}]},
        "needs exactly one of onExitCodes, onConditions and onReasons",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onReasons": ["Evicted"]}]},
    ),
    "a failure rule without a name": (
        {FAILURE_RULES: [{"action": "Fail", "onExitCodes": [1]}]},
        "spec.failurePolicy.rules[0].name: Required value",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": [1]}]},
    ),
    "a failure rule named like one of Waypost's own": (
        {FAILURE_RULES: [{"name": "Evicted", "action": "Fail", "onExitCodes": [1]}]},
        "the name of a failure rule consists of lower-case letters, digits and inner dashes",
        {FAILURE_RULES: [{"name": "evicted-2", "action": "Retry", "onExitCodes": [1]}]},
    ),
    "two failure rules of one name": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": [code]} for code in (1, 2)]},
        "spec.failurePolicy.rules[1]: Duplicate value",
        {FAILURE_RULES: [{"name": f"r{code}", "action": "Fail", "onExitCodes": [code]} for code in (1, 2)]},
    ),
    "more than 20 failure rules": (
        {FAILURE_RULES: [{"name": f"r{code}", "action": "Fail", "onExitCodes": [code]} for code in range(1, 22)]},
        "spec.failurePolicy.rules: Too many: 21",
        {FAILURE_RULES: [{"name": f"r{code}", "action": "Fail", "onExitCodes": [code]} for code in range(1, 21)]},
    ),
    "an action that isn't there": (
        {FAILURE_RULES: [{"name": "r", "action": "Ignore", "onExitCodes": [1]}]},
        'spec.failurePolicy.rules[0].action: Unsupported value: "Ignore"',
        {FAILURE_RULES: [{"name": "r", "action": "RetryFree", "onExitCodes": [1]}]},
    ),
    "a failure rule on exit code 0": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": [0]}]},
        "spec.failurePolicy.rules[0].onExitCodes[0]: Invalid value: 0",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": list(range(1, 256))}]},
    ),
    "a failure rule on no exit code": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": []}]},
        "spec.failurePolicy.rules[0].onExitCodes: Invalid value ... at least 1 items",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": [255]}]},
    ),
    "a failure rule on a reason that says nothing": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onReasons": ["Evicted", "Error"]}]},
        "onReasons can't name Error or Completed: they say no more than the exit code does",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onReasons": ["Evicted", "StartError"]}]},
    ),
    "a failure rule on a condition without a type": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onConditions": [{"status": "True"}]}]},
        "spec.failurePolicy.rules[0].onConditions[0].type: Required value",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onConditions": [{"type": "Ready", "status": "False"}]}]},
    ),
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
    "no wait for an unreachable node": (
        {"spec__replaceUnreachableAfterSeconds": 0},
        "spec.replaceUnreachableAfterSeconds: Invalid value: 0",
        {"spec__replaceUnreachableAfterSeconds": 1},
    ),
    "no wait at all": (
        {BACKOFF: {"initialSeconds": 0}},
        "spec.failurePolicy.backoff.initialSeconds: Invalid value: 0 ... greater than or equal to 1",
        {BACKOFF: {"initialSeconds": 1}},
    ),
    "a first wait longer than a day": (
        {BACKOFF: {"initialSeconds": 86_401, "maxSeconds": 86_400}},
        "spec.failurePolicy.backoff.initialSeconds: Invalid value: 86401",
        {BACKOFF: {"initialSeconds": 86_400, "maxSeconds": 86_400}},
    ),
    "a longest wait longer than a day": (
        {BACKOFF: {"maxSeconds": 86_401}},
        "spec.failurePolicy.backoff.maxSeconds: Invalid value: 86401",
        {BACKOFF: {"maxSeconds": 86_400}},
    ),
    "a longest wait of nothing": (
        {BACKOFF: {"initialSeconds": 1, "maxSeconds": 0}},
        "spec.failurePolicy.backoff.maxSeconds: Invalid value: 0",
        {BACKOFF: {"initialSeconds": 1, "maxSeconds": 1}},
    ),
    "a first wait longer than the longest": (
        {BACKOFF: {"initialSeconds": 20, "maxSeconds": 10}},
        "backoff.initialSeconds can't be greater than backoff.maxSeconds",
        {BACKOFF: {"initialSeconds": 10, "maxSeconds": 10}},
    ),
    "a first wait longer than the longest by default": (
        {BACKOFF: {"initialSeconds": 601}},
        "backoff.initialSeconds can't be greater than backoff.maxSeconds",
        {BACKOFF: {"initialSeconds": 600}},
    ),
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


@pytest.fixture(scope="module")
def apply(kubectl: Kubectl) -> Callable[..., str]:
    """Applies a task the way a user does; raises ClusterError with what kubectl says."""

    def apply(item: dict[str, Any], *options: str) -> str:
        return kubectl("apply", "-f", "-", *options, stdin=json.dumps(item))

    return apply


@pytest.mark.parametrize(("bad", "message", "good"), RULES.values(), ids=RULES.keys())
def test_the_rule_refuses_its_offender_and_takes_its_neighbour(
    apply: Callable[..., str], bad: dict[str, Any], message: str, good: dict[str, Any]
) -> None:
    with pytest.raises(ClusterError) as refusal:
        apply(task(**bad), "--dry-run=server")
    for part in message.split(" ... "):
        assert part in str(refusal.value)
    apply(task(**good), "--dry-run=server")


def test_every_rule_with_a_message_of_our_own_is_tried_here() -> None:
    def messages(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (rule["message"] for rule in node.get("x-kubernetes-validations", []))
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                yield from messages(child)

    tried = [URI_CHANGED, FROM_CHANGED, *(message for _, message, _ in RULES.values())]
    crd = yaml.safe_load((ROOT / "manifests/crd.yaml").read_text())
    untried = {rule for rule in messages(crd) if not any(message in rule for message in tried)}
    assert not untried


def test_the_largest_numbers_that_the_schema_allows_can_be_written(apply: Callable[..., str], kubectl: Kubectl) -> None:
    # A maximum of 2^63-1 would do the opposite: a double in the API server, it becomes 2^63 and refuses every write.
    apply(task(metadata__name="large"))
    version = yaml.safe_load((ROOT / "manifests/crd.yaml").read_text())["spec"]["versions"][0]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    numbers = {name: field.get("maximum", 2**63 - 1) for name, field in status.items() if field["type"] == "integer"}
    assert numbers
    patch = json.dumps({"status": numbers})
    kubectl("patch", "ckt", "large", "--subresource=status", "--type=merge", "-p", patch)


def test_one_mistake_gives_one_message(apply: Callable[..., str]) -> None:
    with pytest.raises(ClusterError) as refusal:
        apply(task(**{URI: "s3://bucket/a?b"}), "--dry-run=server")
    assert str(refusal.value).count("spec.checkpoint") == 1, refusal.value


def test_the_uri_of_a_task_cannot_change(apply: Callable[..., str]) -> None:
    apply(task(metadata__name="moves"))
    apply(task(metadata__name="moves", **{FAILURES: 7}))
    with pytest.raises(ClusterError, match=URI_CHANGED):
        apply(task(metadata__name="moves", **{URI: "s3://elsewhere/runs"}))


def test_what_a_task_starts_from_cannot_change_nor_come_or_go(apply: Callable[..., str]) -> None:
    """Attempt 1 may have begun from it already, and no later one would know."""
    apply(task(metadata__name="tunes", **{FROM: "s3://bucket/base#1"}))
    apply(task(metadata__name="tunes", **{FROM: "s3://bucket/base#1", FAILURES: 7}))
    for another in ({FROM: "s3://bucket/base#2"}, {FROM: "s3://bucket/base"}, {FROM: None}):
        with pytest.raises(ClusterError, match=re.escape(FROM_CHANGED)):
            apply(task(metadata__name="tunes", **another))
    apply(task(metadata__name="begins"))
    with pytest.raises(ClusterError, match=re.escape(FROM_CHANGED)):
        apply(task(metadata__name="begins", **{FROM: "s3://bucket/base"}))


def test_the_store_of_a_task_whose_names_are_longest_can_be_a_start_point(apply: Callable[..., str]) -> None:
    store = contract.store_uri("s3://b/" + "x" * 505, "n" * 63, "t" * 52, "0d5dfdb4-00a6-41f1-a986-eb6b1a5579ec")
    apply(task(**{FROM: f"{store}#{2**63 - 1}"}), "--dry-run=server")


def test_the_store_of_a_task_cannot_be_taken_away(apply: Callable[..., str]) -> None:
    apply(task(metadata__name="stays"))
    with pytest.raises(ClusterError, match=r"spec\.checkpoint: Required value"):
        apply(task(metadata__name="stays", spec__checkpoint=None))


def test_the_template_of_a_task_may_change_since_the_next_attempt_uses_it(apply: Callable[..., str]) -> None:
    apply(task(metadata__name="changes"))
    apply(task(metadata__name="changes", **{f"{CONTAINERS}__0__image": "example:2"}))


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
