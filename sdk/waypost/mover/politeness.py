"""What a mover takes from its program: idle time, a small share of busy cores, or as much as anybody.

Idle time is SCHED_IDLE, with which the kernel also puts reads and writes behind everybody's. A program of as many busy
threads as cores leaves none of it; there nice 15 gets 3 % of each core, nice 10 gets 10 %, and still no more than that.

Down is free. Up, out of SCHED_IDLE or to a lower nice, takes CAP_SYS_NICE or RLIMIT_NICE, which a pod doesn't have,
not even as root: there the mover says so, and its program starts another one, which begins where this one is told to
stop. Under a limit of CPU (a cgroup's quota) all this changes little: what the mover uses there, the program goes
without, whichever of the two is scheduled first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from waypost.store.urgency import Urgency

_NICE: Final = {Urgency.POLITE: 15, Urgency.KEEN: 10, Urgency.NORMAL: 0}
"""On top of the program's own."""
_TASKS: Final = Path("/proc/self/task")


class Manners:
    """The class in which this process's threads run."""

    def __init__(self, excepted: Collection[int]) -> None:
        """`excepted`: threads that stay as they are."""
        self._excepted = frozenset(excepted)
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        own = os.sched_getscheduler(0)
        self._policy = own if own in (os.SCHED_BATCH, os.SCHED_IDLE) else os.SCHED_OTHER

    def adopt(self, urgency: Urgency) -> bool:
        """Run so from now on, with all threads that there will be: False if that isn't allowed."""
        done: set[int] = set()
        while fresh := {int(name) for name in os.listdir(_TASKS)} - self._excepted - done:
            for thread in fresh:
                with contextlib.suppress(ProcessLookupError):
                    try:
                        self._put(thread, urgency)
                    except PermissionError:
                        return False
            done |= fresh  # what they have started meanwhile has inherited one or the other
        return True

    def _put(self, thread: int, urgency: Urgency) -> None:
        idle = urgency is Urgency.IDLE
        policy = os.SCHED_IDLE if idle else self._policy
        if os.sched_getscheduler(thread) != policy:
            os.sched_setscheduler(thread, policy, os.sched_param(0))
        if not idle:
            os.setpriority(os.PRIO_PROCESS, thread, min(19, self._nice + _NICE[urgency]))
