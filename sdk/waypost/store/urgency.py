"""How much of the machine an upload may take from the program."""

from __future__ import annotations

import enum


class Urgency(enum.IntEnum):
    """Ascending."""

    IDLE = 0
    """What nobody else wants to have."""
    POLITE = 1
    """A small share of cores that are busy: newer saves are waiting, or idle time alone brings it nowhere."""
    NORMAL = 2
    """As the program itself: somebody waits for it, or the machine is being taken away."""
