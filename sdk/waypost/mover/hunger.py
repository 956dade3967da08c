"""Whether a process in the idle class gets anything of the machine.

Seen from outside, for it may not get to look itself. How long a pack takes would say too little: on a slow line it
takes its time whoever gets the cores. Hungry is who could run most of the time, and doesn't get the half of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

PATIENCE: Final = 2.0
"""Seconds."""
_SAMPLES: Final = 4
_STATE, _USER_TIME, _SYSTEM_TIME = 0, 11, 12
"""Behind the name in /proc/PID/stat, which ends with the last parenthesis (proc(5))."""


class Hunger:
    """Looks at a process from now on."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """`folder`: /proc/PID."""
        self._folder, self._clock = folder, clock
        self._began = clock()
        self._at_first = self._used()
        self._looks = self._could_run = 0

    def starves(self) -> bool:
        """Look once more: whether it has wanted to run for some seconds, and mostly couldn't."""
        self._looks += 1
        self._could_run += self._wants_to_run()
        passed = self._clock() - self._began
        if passed < PATIENCE or self._looks < _SAMPLES:
            return False
        return self._could_run > self._looks / 2 and self._used() - self._at_first < passed / 2

    def _used(self) -> float:
        """Seconds of a core."""
        fields = _fields(self._folder / "stat")
        return (int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])) / os.sysconf("SC_CLK_TCK") if fields else 0.0

    def _wants_to_run(self) -> bool:
        try:
            threads = os.listdir(self._folder / "task")
        except OSError:
            return False
        states = (_fields(self._folder / "task" / thread / "stat") for thread in threads)
        return any(state and state[_STATE] == "R" for state in states)


def _fields(path: Path) -> list[str]:
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []
