"""The preemption drill: what a spot machine does to a program, done on purpose.

The time counts from the attempt's FENCE, so an attempt gets its seconds of work however long its interpreter and its
restore took: a drill must show that a program saves in time, not that Python starts slowly.
"""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Final

from waypost.local.children import Child, read_document

GRACE_SECONDS: Final = 15.0
"""Between SIGTERM and SIGKILL: what GKE leaves a pod on a spot machine, the shortest of the large clouds."""
LOOK_SECONDS: Final = 0.02
"""How often the drill looks whether the attempt has begun to work."""


@dataclasses.dataclass(frozen=True)
class Drill:
    """Preempt every attempt after `every` seconds of work: SIGTERM, then SIGKILL; with `kill` SIGKILL at once."""

    every: float
    kill: bool = False
    grace: float = GRACE_SECONDS

    def watch(self, child: Child, termination_log: Path) -> bool:
        """Wait for the end of the attempt; True when the drill brought it about."""
        while not _fenced(termination_log):
            if child.wait(LOOK_SECONDS) is not None:
                return False
        if child.wait(self.every) is not None:
            return False
        child.signal(signal.SIGKILL if self.kill else signal.SIGTERM)
        if child.wait(self.grace) is None:
            child.signal(signal.SIGKILL)
            child.wait(None)
        return True


def _fenced(termination_log: Path) -> bool:
    document = read_document(termination_log)
    return document is not None and document.fence is not None
