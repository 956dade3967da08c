"""What was learnt about a node: where a pod was bound to, or when its end had to be judged."""

from __future__ import annotations

import dataclasses
import enum
from datetime import datetime

from waypost_operator.model.raw import NO_TIME, Json


class NodeFate(enum.Enum):
    """The answer to `GET node`."""

    PRESENT = "present"
    GONE = "gone"
    """404: no node of that name."""
    UNREADABLE = "unreadable"
    """403: the operator was installed without the right to read nodes."""


@dataclasses.dataclass(frozen=True)
class NodeSeen:
    """One live GET of a node, asked for the sake of one pod; `raw` only when PRESENT."""

    name: str
    fate: NodeFate
    raw: Json | None = None
    at: datetime = NO_TIME
    """When the operator got the answer (UTC)."""
