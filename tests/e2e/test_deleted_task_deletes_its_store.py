"""With deletionPolicy Delete a deleted task takes its store along: on the server itself, and nobody else's."""

from __future__ import annotations

import pytest

from tests.e2e.scene import Scene
from tests.e2e.stage import BUCKET, STORAGE
from tests.e2e.tasks import FILE_URI, S3_URI, Json, stepping, task
from waypost import contract
from waypost.contract import EventReason

TOMBSTONE = 2
"""What stays of a deleted store, in files: its format, and the FENCE that no writer can outbid."""


def files(scene: Scene, uri: str) -> list[str]:
    """The files behind a store, as the storage itself has them."""
    scheme, _, path = uri.partition("://")
    if scheme == "s3":
        find = ("/busybox", "find", f"/data/{path}", "-type", "f")
        found = scene.stage.cluster.kubectl("-n", STORAGE, "exec", "deployment/s3", "-c", "versitygw", "--", *find)
        return found.split()
    folder = f"/shared/{scene.namespace}{path.removeprefix('/shared')}"
    return "\n".join(scene.stage.in_shared_folder(f"find {folder} -type f")).split()


def deleted_with_its_store(scene: Scene, name: str, uri: str) -> Json:
    """A task that saves for as long as it may, and whose store is to go with it."""
    body = task(scene, name, stepping(scene, name, "--on-sigterm=save", steps=500, every=2), uri=uri)
    body["spec"]["checkpoint"]["deletionPolicy"] = "Delete"
    return body


@pytest.mark.parametrize("base", [S3_URI, FILE_URI], ids=["s3", "file"])
def test_the_store_is_gone_before_the_task_and_a_neighbours_stands(scene: Scene, base: str) -> None:
    scene.apply(deleted_with_its_store(scene, "train", base))
    scene.apply(task(scene, "neighbour", stepping(scene, "neighbour", steps=40, every=2), uri=base))
    for name in ("train", "neighbour"):
        scene.wait_saved(name, 4)
    assert contract.FINALIZER in scene.task("train")["metadata"]["finalizers"]
    uris = {name: scene.status(name)["checkpoint"]["uri"] for name in ("train", "neighbour")}
    assert f"{BUCKET}/e2e/{scene.namespace}/train-" in uris["train"] or base == FILE_URI
    assert len(files(scene, uris["train"])) > TOMBSTONE

    scene.kubectl("delete", "checkpointedtask", "train", "--timeout=120s")  # returns when the task is gone
    left = files(scene, uris["train"])
    assert len(left) <= TOMBSTONE, left
    assert uris["train"] in scene.wait_event("train", EventReason.CHECKPOINTS_DELETED)["note"]
    told = scene.ledger("train")
    assert told.runs[0].told_to_stop, "the pod was not given its grace"
    assert told.runs[0].saved[-1] == told.runs[0].done[-1], "the last save was not let through"
    scene.wait("its pods to go with it", lambda: not [p for p in scene.recorder.all_of("Pod") if is_of("train", p)])

    scene.wait_finished("neighbour")
    assert scene.outcome("neighbour") == "Succeeded"
    assert scene.ledger("neighbour").complaints == []
    assert scene.history().broken_promises() == [], "the clean-up began while a pod of the task might still write"
    assert len(files(scene, uris["neighbour"])) > TOMBSTONE


def is_of(name: str, pod: Json) -> bool:
    return bool(pod["metadata"]["labels"].get(contract.LABEL_TASK) == name)


def test_a_deleted_namespace_takes_the_task_along_and_leaves_the_store(scene: Scene) -> None:
    scene.apply(deleted_with_its_store(scene, "train", S3_URI))
    scene.wait_saved("train", 4)
    uri = scene.status("train")["checkpoint"]["uri"]
    scene.stage.cluster.kubectl("delete", "namespace", scene.namespace, "--timeout=120s")
    assert len(files(scene, uri)) > TOMBSTONE
    scene.wait("the log to name what stays", lambda: named(scene, uri))


def named(scene: Scene, uri: str) -> bool:
    lines = scene.stage.operator_log(200).splitlines()
    return any(uri in line and "namespace is being deleted" in line for line in lines)
