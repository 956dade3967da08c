"""How far a transfer has come, for the log: a line every ten seconds of those that take longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from waypost.log import logger
from waypost.store.keys import MIB

EVERY: Final = 10.0
"""Seconds."""


class Progress:
    """One transfer, from now on. To be told of from any thread."""

    def __init__(self, doing: str, done: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`doing` what with how many bytes, of which some are `done`; what is known or zero needn't be moved."""
        self._doing, self._done, self._total, self._clock = doing, done, total, clock
        self._changing = threading.Lock()
        self._moved = 0
        self._began = self._told = clock()

    def add(self, size: int) -> None:
        """So many bytes more have been moved."""
        with self._changing:
            self._moved += size

    def tell(self) -> None:
        """Write a line, if it is time for one."""
        with self._changing:
            now, moved = self._clock(), self._moved
            if now - self._told < EVERY:
                return
            self._told = now
        seconds = now - self._began
        logger.info(
            "%s %.0f MiB: %.0f MiB %s after %.0f s (%.1f MiB/s)",
            self._doing,
            self._total / MIB,
            moved / MIB,
            self._done,
            seconds,
            moved / MIB / seconds,
        )
