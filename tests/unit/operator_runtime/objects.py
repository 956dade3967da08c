"""Raw objects as the API server sends them, cut down to what the runtime looks at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from waypost import contract
from waypost_operator.runtime.objects import Key

KEY = Key("ns", "train")
EARLY = datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC)
LATE = datetime(2026, 11, 23, 9, 0, 5, tzinfo=UTC)


def task(uid: str = "task-1", version: int = 10, name: str = "train", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version), "generation": 1},
        "spec": {},
        "status": status,
    }


def pod(
    uid: str = "pod-1",
    version: int = 20,
    name: str = "train-1",
    phase: str = "Running",
    owner: str = "task-1",
    labelled: bool = True,
) -> dict[str, Any]:
    labels = {contract.LABEL_TASK: "train", contract.LABEL_TASK_UID: owner, contract.LABEL_ATTEMPT: name[-1]}
    return {
        "metadata": {
            "namespace": "ns",
            "name": name,
            "uid": uid,
            "resourceVersion": str(version),
            "labels": labels if labelled else {},
            "ownerReferences": [{"kind": contract.KIND, "name": "train", "uid": owner, "controller": True}],
        },
        "spec": {},
        "status": {"phase": phase},
    }
