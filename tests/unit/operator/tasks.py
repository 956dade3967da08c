"""A CheckpointedTask as the API server would hold it, small enough to read."""

from __future__ import annotations

from waypost import contract
from waypost_operator.model.raw import Json

UID = "0d5dfdb4-00a6-41f1-a986-eb6b1a5579ec"
STORE = "s3://bucket/runs/ml/train-0d5dfdb4"


def task(
    *,
    name: str = "train",
    uid: str = UID,
    max_failures: int = 3,
    initial_seconds: int = 10,
    max_seconds: int = 600,
    recoverable: tuple[int, ...] = (),
    rules: tuple[Json, ...] = (),
    status: Json | None = None,
    template: Json | None = None,
    **spec: object,
) -> Json:
    """A stored task: defaults filled in, as the API server does."""
    body: Json = {
        "apiVersion": contract.API_VERSION,
        "kind": contract.KIND,
        "metadata": {"name": name, "namespace": "ml", "uid": uid, "generation": 1, "resourceVersion": "1"},
        "spec": {
            "checkpoint": {"uri": "s3://bucket/runs"},
            "failurePolicy": {
                "maxFailures": max_failures,
                "recoverableExitCodes": list(recoverable),
                "rules": list(rules),
                "backoff": {"initialSeconds": initial_seconds, "maxSeconds": max_seconds},
            },
            "template": template
            or {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}},
            **spec,
        },
    }
    if status is not None:
        body["status"] = status
    return body
