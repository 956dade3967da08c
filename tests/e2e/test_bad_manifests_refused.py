"""What can't be meant is refused when it is applied, in words that say what to write instead.

Each rule has its accepting and its refusing test in tests/integration/chart; here a user's `kubectl apply` meets the
CRD as the chart installed it.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.cluster import ClusterError
from tests.e2e.scene import Scene
from tests.e2e.tasks import stepping, task
from waypost.contract import ConditionType, EventReason

Change = tuple[str, Any]

REFUSED: dict[str, tuple[Change, str]] = {
    "a template without containers": (
        ("spec.template.spec.containers", []),
        "spec.template.spec.containers in body should have at least 1 items",
    ),
    "a name too long for its pods": (("metadata.name", "n" * 53), "52 characters"),
    "retries below 0": (("spec.failurePolicy.maxFailures", -1), "maxFailures"),
    "another restart policy": (("spec.template.spec.restartPolicy", "Always"), "restartPolicy must be Never"),
    "no uri": (("spec.checkpoint.uri", None), "spec.checkpoint.uri"),
    "a uri that is a path": (("spec.checkpoint.uri", "/mnt/checkpoints"), "must be a URI"),
    "a password in the uri": (("spec.checkpoint.uri", "s3://me:secret@bucket/a"), "can't carry a user or password"),
    "a container that isn't there": (("spec.container", "trainer"), "container must be the name of a container"),
}


def test_it_is_refused_and_the_message_says_what_is_wrong(scene: Scene) -> None:
    for fault, ((path, value), words) in REFUSED.items():
        bad = copy.deepcopy(task(scene, "bad", stepping(scene, "bad")))
        *parents, last = path.split(".")
        place = bad
        for key in parents:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
        with pytest.raises(ClusterError) as refusal:
            scene.apply(bad)
        assert words.lower() in str(refusal.value).lower(), fault
    assert not scene.history().tasks


def test_the_uri_can_not_change_under_a_task(scene: Scene) -> None:
    scene.apply(task(scene, "train", stepping(scene, "train", steps=200)))
    moved = task(scene, "train", stepping(scene, "train", steps=200), uri="s3://waypost/elsewhere")
    with pytest.raises(ClusterError, match=r"checkpoint\.uri can't change"):
        scene.apply(moved)


def test_what_only_the_api_server_can_judge_becomes_a_condition_and_a_fixed_template_starts(scene: Scene) -> None:
    bad = task(scene, "train", stepping(scene, "train", steps=4, every=2, pace=0.05))
    bad["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Sometimes"
    scene.apply(bad)
    condition = scene.wait("a condition about the pod", lambda: _refusal(scene))
    assert condition["reason"] == "TemplateInvalid"
    assert "imagePullPolicy" in condition["message"]
    assert "Sometimes" in condition["message"]
    scene.wait_event("train", EventReason.TEMPLATE_INVALID)

    scene.apply(task(scene, "train", stepping(scene, "train", steps=4, every=2, pace=0.05)))
    scene.wait_finished("train")
    assert scene.outcome("train") == "Succeeded"
    assert len(scene.history().lives("train")) == 1
    reasons = [event["reason"] for event in scene.events("train")]
    assert reasons.count("TemplateInvalid") == 1, f"told more than once: {reasons}"


def _refusal(scene: Scene) -> dict[str, Any] | None:
    condition = scene.condition("train", ConditionType.POD_CREATED)
    return condition if condition is not None and condition["status"] == "False" else None
