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
URI_CHANGED = "uri can't change: another store knows nothing of this task's progress"
FROM_CHANGED = "checkpoint.from can't change, nor come or go later: attempts of one task would have begun differently"

Refused = tuple[dict[str, Any], str, dict[str, Any]]
"""What is wrong, what the message says (" ... " stands for any text between), the nearest that is right."""


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
