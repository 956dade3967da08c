"""A task that is right in every respect, and the means to make one thing about it wrong."""

from __future__ import annotations

import copy
from typing import Any

GOOD: dict[str, Any] = {
    "apiVersion": "waypost.dev/v1alpha1",
    "kind": "CheckpointedTask",
    "metadata": {"name": "good"},
    "spec": {
        "checkpoint": {"uri": "s3://bucket/runs"},
        "template": {"spec": {"containers": [{"name": "main", "image": "example", "command": ["true"]}]}},
    },
}
ABSENT = object()


def task(**changes: Any) -> dict[str, Any]:
    """GOOD with values set at dotted paths, given with __ for the dots; ABSENT removes.

    `task(metadata__name="a", spec__failurePolicy__maxFailures=-1)`; a number in a path is an index of a list.
    """
    result = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place: Any = result
        for word in parents:
            place = place[int(word)] if isinstance(place, list) else place.setdefault(word, {})
        if value is ABSENT:
            del place[last]
        else:
            place[last] = value
    return result
