"""Reading raw Kubernetes JSON: the little that every typed view needs.

Objects stay raw dicts at the border (a newer server may send fields that no generated model knows), so the views
read through these functions, which take a missing field for what the API means by it: absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
"""A Kubernetes object or a part of one, as the API server sent it."""

NO_TIME = datetime.min.replace(tzinfo=UTC)
"""For what was never seen."""


def mapping(parent: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The object at `path`, or an empty one where any step of the path is absent or null."""
    here: Any = parent
    for key in path:
        here = here.get(key) if isinstance(here, Mapping) else None
    return here if isinstance(here, Mapping) else {}


def items(parent: Mapping[str, Any], *path: str) -> Sequence[Mapping[str, Any]]:
    """The list of objects at `path`, or an empty one."""
    found = mapping(parent, *path[:-1]).get(path[-1])
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def moment(text: object) -> datetime | None:
    """An API timestamp (RFC 3339, whole seconds or micros) as an aware datetime in UTC; None when absent."""
    if not isinstance(text, str) or not text:
        return None
    return datetime.fromisoformat(text).astimezone(UTC)


def timestamp(when: datetime) -> str:
    """A moment as the API writes it: RFC 3339, whole seconds (rounded down), UTC."""
    return when.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def seconds(amount: float) -> timedelta:
    return timedelta(seconds=amount)


def condition(conditions: Sequence[Mapping[str, Any]], kind: str) -> Mapping[str, Any] | None:
    """The condition of that type in a list-map, or None."""
    return next((entry for entry in conditions if entry.get("type") == kind), None)
