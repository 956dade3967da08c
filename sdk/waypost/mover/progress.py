"""How far an upload has come, for the log: a line every ten seconds of those that take longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from waypost.log import logger
from waypost.store.keys import MIB

EVERY: Final = 10.0
"""Seconds."""


class Progress:
    """One upload, from now on."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`total`: bytes of its files; what is known or zero needn't be sent."""
        self._total, self._clock, self._sent = total, clock, 0
        self._began = self._told = clock()

    def add(self, size: int) -> None:
        """So many bytes more are in the store."""
        self._sent += size

    def tell(self) -> None:
        """Write a line, if it is time for one."""
        now = self._clock()
        if now - self._told < EVERY:
            return
        self._told = now
        seconds = now - self._began
        logger.info(
            "saving %.0f MiB: %.0f MiB are in the store after %.0f s (%.1f MiB/s)",
            self._total / MIB,
            self._sent / MIB,
            seconds,
            self._sent / MIB / seconds,
        )
