"""What must not be overwritten unseen is written under the version it was read at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from kubernetes.aio.client import ApiClient

from waypost import contract
from waypost_operator.runtime.client import JSON, MERGE_PATCH, Accepted, Answer, Client
from waypost_operator.runtime.objects import Key, Object

TASK: Object = {
    "metadata": {
        "namespace": "ml",
        "name": "train",
        "uid": "1234",
        "resourceVersion": "7",
        "finalizers": ["theirs/one"],
    }
}


class Recording(Client):
    """Notes what would be sent."""

    sent: tuple[str, str, Object, str] = ("", "", {}, "")

    async def _write(
        self, method: str, path: str, query: Mapping[str, str], body: Object, content: str = JSON
    ) -> Answer:
        object.__setattr__(self, "sent", (method, path, body, content))
        return Accepted({})


def recording() -> Recording:
    return Recording(cast(ApiClient, None))


def preconditions(body: Object) -> dict[str, Any]:
    found = body.get("preconditions") or body["metadata"]
    return {name: found[name] for name in ("uid", "resourceVersion")}


async def test_the_list_of_finalizers_is_replaced_only_as_it_was_read() -> None:
    client = recording()
    await client.patch_finalizers(TASK, "7", ["theirs/one", contract.FINALIZER])
    method, path, body, content = client.sent
    assert (method, content) == ("PATCH", MERGE_PATCH)
    assert path.endswith("/namespaces/ml/checkpointedtasks/train")
    assert preconditions(body) == {"uid": "1234", "resourceVersion": "7"}
    assert body["metadata"]["finalizers"] == ["theirs/one", contract.FINALIZER]


async def test_a_status_is_put_only_onto_what_it_was_decided_from() -> None:
    client = recording()
    await client.put_status(TASK, "7", {"attempt": 1})
    assert preconditions(client.sent[2]) == {"uid": "1234", "resourceVersion": "7"}


async def test_a_task_is_deleted_only_as_it_was_seen() -> None:
    client = recording()
    await client.delete_task(Key("ml", "train"), "1234", "7")
    assert preconditions(client.sent[2]) == {"uid": "1234", "resourceVersion": "7"}


async def test_a_pod_is_deleted_only_if_it_is_that_one() -> None:
    client = recording()
    await client.delete_pod(Key("ml", "train-1"), "1234")
    assert client.sent[2]["preconditions"] == {"uid": "1234"}
