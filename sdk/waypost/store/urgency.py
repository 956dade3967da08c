"""How much of the machine an upload may take from the program."""

from __future__ import annotations

import enum


class Urgency(enum.IntEnum):
    """Ascending."""

    IDLE = 0
    """What nobody else wants to have."""
    POLITE = 1
    """Some hundredths of busy cores: idle time alone brings it nowhere."""
    KEEN = 2
    """A tenth of busy cores: a newer save is waiting behind it."""
    NORMAL = 3
    """As the program itself: somebody waits for it, or the machine is being taken away."""
