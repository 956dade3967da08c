"""What was learnt about a node when a pod's end had to be judged."""

from __future__ import annotations

import dataclasses
import enum

from waypost_operator.model.raw import Json


class NodeFate(enum.Enum):
    """The answer to `GET node`."""

    PRESENT = "present"
    GONE = "gone"
    """404: no node of that name."""
    UNREADABLE = "unreadable"
    """403: the operator was installed without the right to read nodes."""


@dataclasses.dataclass(frozen=True)
class NodeSeen:
    """One live GET of a node, asked because one pod's end needs it; `raw` only when PRESENT."""

    name: str
    fate: NodeFate
    raw: Json | None = None
