"""The pod of an attempt is the user's template plus what the verdict rests on, and what spot machines need."""

from __future__ import annotations

import copy

import pytest

from tests.unit.operator.tasks import STORE, UID, task
from waypost import contract
from waypost.store.retention import KeepBest, KeepEvery, Retention
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import NO_TIME, Json
from waypost_operator.specs.pod import TemplateError, build

MAIN = {"name": "main", "image": "trainer:1", "command": ["python", "train.py"]}


def with_template(spec: Json | None = None, metadata: Json | None = None, task_spec: Json | None = None) -> Json:
    template: Json = {"spec": {"containers": [copy.deepcopy(MAIN)], **(spec or {})}}
    if metadata is not None:
        template["metadata"] = metadata
    body = task(template=template)
    body["spec"] |= task_spec or {}
    return body


def environment(pod: Json, container: int = 0) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][container]["env"]}


def test_it_carries_the_whole_contract() -> None:
    pod = build(with_template(), 7)
    assert environment(pod) == {
        "WAYPOST_CHECKPOINT_DST": STORE,
        "WAYPOST_CHECKPOINT_SRC": STORE,
        "WAYPOST_ATTEMPT": "7",
        "WAYPOST_TASK": "train",
        "WAYPOST_NAMESPACE": "ml",
        "WAYPOST_TASK_UID": UID,
        "WAYPOST_RETENTION": '{"keepLast": 3}',
        "WAYPOST_GRACE_SECONDS": "110",
        "WAYPOST_TERMINATION_LOG": "/dev/termination-log",
        "WAYPOST_POD_UID": "",
    }
    assert set(environment(pod)) == set(contract.ENV_NAMES) - {contract.ENV_CHECKPOINT_FROM}
    (by_downward_api,) = [entry for entry in pod["spec"]["containers"][0]["env"] if "valueFrom" in entry]
    assert by_downward_api == {"name": "WAYPOST_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}


def test_every_attempt_is_told_where_the_task_starts_from() -> None:
    """Also the later ones: the first may have been preempted before its first save (rule 10)."""
    start = "s3://bucket/runs/ml/base-1c2d3e4f#12"
    body = with_template(
        {"containers": [MAIN | {"env": [{"name": "WAYPOST_CHECKPOINT_FROM", "value": "s3://elsewhere"}]}]},
        task_spec={"checkpoint": {"uri": "s3://bucket/runs", "from": start}},
    )
    for attempt in (1, 2, 30):
        assert environment(build(body, attempt))["WAYPOST_CHECKPOINT_FROM"] == start
    del body["spec"]["checkpoint"]["from"]
    assert "WAYPOST_CHECKPOINT_FROM" not in environment(build(body, 1)), "and the template can't make one up"


def test_it_tells_the_retention_in_the_words_of_the_spec_which_the_sdk_reads() -> None:
    body = with_template()
    body["spec"]["checkpoint"]["retention"] = {
        "keepLast": 5,
        "keepEvery": {"steps": 1000},
        "keepBest": {"metric": "loss", "mode": "min", "count": 2},
    }
    assert Retention.parse(environment(build(body, 2))["WAYPOST_RETENTION"]) == Retention(
        keep_last=5,
        keep_every=KeepEvery(steps=1000),
        keep_best=KeepBest(metric="loss", mode="min", count=2),
    )


def test_its_name_labels_and_controller_say_whose_attempt_it_is() -> None:
    pod = build(with_template(metadata={"labels": {"team": "a", "waypost.dev/attempt": "99"}}), 7)
    assert pod["metadata"]["name"] == "train-7"
    assert pod["metadata"]["labels"] == {
        "team": "a",
        "waypost.dev/task": "train",
        "waypost.dev/task-uid": UID,
        "waypost.dev/attempt": "7",
    }
    assert pod["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "waypost.dev/v1alpha1",
            "kind": "CheckpointedTask",
            "name": "train",
            "uid": UID,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert Pod(pod, NO_TIME).owned_by(UID)
    assert pod["spec"]["restartPolicy"] == "Never"


def test_a_template_cannot_overrule_the_contract_but_may_refer_to_it() -> None:
    theirs = [
        {"name": "WAYPOST_ATTEMPT", "value": "1"},
        {"name": "WAYPOST_POD_UID", "value": "mine"},
        {"name": "RUN", "value": "$(WAYPOST_TASK)-$(WAYPOST_ATTEMPT)"},
    ]
    pod = build(with_template({"containers": [MAIN | {"env": theirs, "terminationMessagePath": "/tmp/x"}]}), 7)
    names = [entry["name"] for entry in pod["spec"]["containers"][0]["env"]]
    assert len(names) == len(set(names))
    assert environment(pod)["WAYPOST_ATTEMPT"] == "7"
    assert names[-1] == "RUN", "ours stand first, so that $(NAME) finds them"
    assert pod["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert pod["spec"]["containers"][0]["terminationMessagePolicy"] == "File"


def test_credentials_come_from_the_secret_beside_the_template_s_own_sources() -> None:
    own = {"configMapRef": {"name": "settings"}}
    body = with_template(
        {"containers": [MAIN | {"envFrom": [own]}]},
        task_spec={"checkpoint": {"uri": "s3://bucket/runs", "credentialsSecretRef": {"name": "s3"}}},
    )
    assert build(body, 1)["spec"]["containers"][0]["envFrom"] == [own, {"secretRef": {"name": "s3"}}]
    assert "envFrom" not in build(with_template(), 1)["spec"]["containers"][0]


def test_everything_else_of_the_template_passes_through_untouched() -> None:
    spec = {
        "nodeSelector": {"pool": "spot"},
        "someFieldOfTomorrow": {"x": [1, 2]},
        "containers": [MAIN | {"resources": {"limits": {"nvidia.com/gpu": 1}}}, {"name": "proxy", "image": "p"}],
    }
    pod = build(with_template(spec, metadata={"annotations": {"karpenter.sh/do-not-disrupt": "true"}}), 1)
    assert pod["spec"]["nodeSelector"] == {"pool": "spot"}
    assert pod["spec"]["someFieldOfTomorrow"] == {"x": [1, 2]}
    assert pod["spec"]["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert pod["spec"]["containers"][1] == {"name": "proxy", "image": "p"}
    assert pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


def test_building_a_pod_leaves_the_task_as_it_was() -> None:
    body = with_template({"tolerations": [{"key": "spot", "operator": "Exists"}]})
    before = copy.deepcopy(body)
    build(body, 1)["spec"]["tolerations"].clear()
    assert body == before


@pytest.mark.parametrize(("given", "expected"), [(None, 110), (600, 600), (0, 0)])
def test_the_grace_is_the_template_s_or_fits_a_two_minute_notice(given: int | None, expected: int) -> None:
    pod = build(with_template({"terminationGracePeriodSeconds": given}), 1)
    assert pod["spec"]["terminationGracePeriodSeconds"] == expected
    assert environment(pod)["WAYPOST_GRACE_SECONDS"] == str(expected)


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}),
        ([{"key": "spot", "operator": "Exists"}], {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}),
        (
            [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
            {"node.kubernetes.io/unreachable"},
        ),
        (
            [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoSchedule"}],
            {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"},
        ),
        ([{"operator": "Exists"}], set()),
    ],
)
def test_a_lost_node_is_left_after_30_seconds_unless_the_template_says_otherwise(
    given: list[Json], added: set[str]
) -> None:
    tolerations = build(with_template({"tolerations": given}), 1)["spec"]["tolerations"]
    ours = [entry for entry in tolerations if entry.get("tolerationSeconds") == 30]
    assert {entry["key"] for entry in ours} == added
    assert [entry for entry in tolerations if entry not in ours] == given


@pytest.mark.parametrize(
    ("container", "annotation", "expected"),
    [(None, None, "main"), (None, "side", "side"), ("side", None, "side"), ("main", "side", "main")],
)
def test_the_task_container_is_the_named_the_annotated_or_the_first(
    container: str | None, annotation: str | None, expected: str
) -> None:
    metadata = {"annotations": {contract.ANNOTATION_DEFAULT_CONTAINER: annotation}} if annotation else None
    more = {"container": container} if container else {}
    pod = build(with_template({"containers": [MAIN, {"name": "side", "image": "s"}]}, metadata, more), 1)
    assert Pod(pod, NO_TIME).task_container == expected
    (with_contract,) = [entry["name"] for entry in pod["spec"]["containers"] if "env" in entry]
    assert with_contract == expected


def test_a_pod_tells_its_own_task_container_whatever_a_webhook_put_in_front_of_it() -> None:
    pod = build(with_template(), 1)
    pod["spec"]["containers"].insert(0, {"name": "istio-proxy", "env": [{"name": "A", "value": "1"}]})
    assert Pod(pod, NO_TIME).task_container == "main"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"containers": []}, "no containers"),
        ({"tolerations": "all"}, "tolerations in the template must be a list of objects"),
        ({"containers": [MAIN | {"env": {"A": "1"}}]}, "env in the template must be a list of objects"),
        ({"containers": [MAIN | {"env": ["A=1"]}]}, "env in the template must be a list of objects"),
    ],
)
def test_a_template_that_no_pod_can_be_built_from_is_named(spec: Json, said: str) -> None:
    with pytest.raises(TemplateError, match=said):
        build(with_template(spec), 1)


def test_an_annotation_that_names_no_container_lists_those_there_are() -> None:
    metadata = {"annotations": {contract.ANNOTATION_DEFAULT_CONTAINER: "trainer"}}
    with pytest.raises(TemplateError, match="'trainer', but the template has only: main"):
        build(with_template(metadata=metadata), 1)
