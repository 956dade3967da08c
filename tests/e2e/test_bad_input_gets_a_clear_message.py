"""What only turns out when the program runs: the task says what is wrong where a person looks, and loses nothing.

Whatever can be put right outside the task (a bucket, a key, a permission, a secret) leaves it waiting, without using
its retries; once it is put right, the task goes on by itself where its last save stood.
"""

from __future__ import annotations

import uuid

from tests.cluster.s3_in_cluster import credentials_secret
from tests.e2e.scene import SECRET, Json, Scene
from tests.e2e.stage import STORAGE
from tests.e2e.tasks import quick, stepping, task
from waypost.contract import ConditionReason, ConditionType, EventReason


def program(scene: Scene) -> list[str]:
    return stepping(scene, "train", steps=10, every=5, pace=0.1)


def storage_trouble(scene: Scene) -> Json:
    """Wait for the condition that names the trouble."""

    def look() -> Json | None:
        condition = scene.condition("train", ConditionType.STORAGE_AVAILABLE)
        return condition if condition is not None and condition["status"] == "False" else None

    return scene.wait("the task to say that its storage is not available", look)


def assert_it_recovered(scene: Scene) -> None:
    status = scene.wait_finished("train")
    assert scene.outcome("train") == "Succeeded"
    assert status["counts"]["failures"] == 0, "trouble with the storage used up retries"
    condition = scene.condition("train", ConditionType.STORAGE_AVAILABLE)
    assert condition is None or condition["status"] == "True"
    assert scene.ledger("train").complaints == []
    assert scene.history().broken_promises() == []


def test_a_missing_bucket_is_named_and_the_task_starts_once_it_is_there(scene: Scene) -> None:
    bucket = f"late-{uuid.uuid4().hex}"  # none that an earlier run has made
    scene.apply(task(scene, "train", program(scene), uri=f"s3://{bucket}/runs", policy=quick(failures=0)))
    condition = storage_trouble(scene)
    assert condition["reason"] == ConditionReason.STORAGE_UNAVAILABLE
    assert bucket in condition["message"]
    assert "bucket" in condition["message"].lower()
    assert bucket in scene.wait_event("train", EventReason.STORAGE_UNAVAILABLE)["note"]
    assert bucket in scene.log("train-1")
    _in_s3_server(scene, "mkdir", f"/data/{bucket}")
    assert_it_recovered(scene)


def test_wrong_credentials_are_called_that_and_what_was_saved_before_is_still_there(scene: Scene) -> None:
    right = credentials_secret(STORAGE, scene.namespace, SECRET)
    wrong = {**right, "stringData": {**right["stringData"], "AWS_SECRET_ACCESS_KEY": "wrong"}}
    command = stepping(scene, "train", steps=20, every=5, pace=0.2)
    scene.apply(task(scene, "train", command, policy=quick(failures=0)))
    scene.wait_saved("train", 5)
    scene.apply(wrong)
    scene.evict("train-1")
    message = storage_trouble(scene)["message"]
    assert "s3://" in message
    assert any(word in message.lower() for word in ("denied", "credentials", "signature", "forbidden"))
    scene.apply(right)
    assert_it_recovered(scene)
    assert scene.ledger("train").runs[-1].resumed_at in (5, 10)


def test_a_path_that_cant_be_written_is_named_with_the_reason(scene: Scene) -> None:
    scene.stage.in_shared_folder(f"mkdir -p -m 755 /shared/{scene.namespace}/locked")
    locked = task(scene, "train", program(scene), uri="file:///shared/locked/runs", policy=quick(failures=0))
    scene.apply(locked)
    message = storage_trouble(scene)["message"]
    assert "/shared/locked" in message
    assert "permission" in message.lower()
    scene.stage.in_shared_folder(f"chmod 777 /shared/{scene.namespace}/locked")
    assert_it_recovered(scene)


def test_a_secret_that_does_not_exist_is_named_and_the_pod_starts_once_it_does(scene: Scene) -> None:
    scene.apply(task(scene, "train", program(scene), secret="absent", policy=quick(failures=0)))

    def waits() -> str | None:
        conditions = scene.status("train").get("conditions", ())
        told = [condition["message"] for condition in conditions if condition["status"] == "False"]
        return next((message for message in told if "absent" in message), None)

    message = scene.wait("the task to say what its pod waits for", waits)
    assert "secret" in message.lower()
    scene.apply(credentials_secret(STORAGE, scene.namespace, "absent"))
    assert_it_recovered(scene)
    assert len(scene.history().lives("train")) == 1, "the pod that waited for its secret was given up"


def test_an_unknown_uri_scheme_fails_the_task_at_once_and_names_what_would_work(scene: Scene) -> None:
    scene.apply(task(scene, "train", program(scene), uri="nosuch://bucket/runs"))
    status = scene.wait_finished("train")
    verdict = scene.condition("train", ConditionType.SUCCEEDED)
    assert verdict is not None
    assert verdict["status"] == "False"
    assert "nosuch" in verdict["message"]
    assert "s3" in verdict["message"], "the message does not say what would work"
    assert len(status["attempts"]) == 1, "what can't get better was tried again"


def _in_s3_server(scene: Scene, *command: str) -> None:
    scene.stage.cluster.kubectl("-n", STORAGE, "exec", "deployment/s3", "--", "/busybox", *command)
