"""A progress bar for whoever sits at a terminal. Everybody else gets the log's line every ten seconds.

click's own bar: a dependency that is there already.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from waypost.store.keys import MIB
from waypost.store.progress import Progress, watched

_EVERY: Final = 0.1
"""Seconds between two looks of the bar."""


@contextlib.contextmanager
def progress_bar() -> Iterator[None]:
    """Show the transfers meanwhile on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with contextlib.ExitStack() as shown, watched(_Bar(shown)):
        yield


class _Bar:
    """Appears when it is known how much is to come, and stays, as far as it came."""

    def __init__(self, shown: contextlib.ExitStack) -> None:
        self._shown, self._began, self._drawn = shown, time.monotonic(), 0.0
        self._at = 0
        self._bar: Any = None

    def __call__(self, progress: Progress) -> None:
        """Draw it anew, unless that was just done."""
        now = time.monotonic()
        if now - self._drawn < _EVERY and progress.moved < progress.total:
            return
        with contextlib.suppress(OSError):  # the terminal is gone, and the transfer goes on
            self._draw(progress, now)

    def _draw(self, progress: Progress, now: float) -> None:
        if self._bar is None:
            self._bar = self._shown.enter_context(
                click.progressbar(
                    length=progress.total, label=progress.doing, item_show_func=lambda text: text, file=sys.stderr
                )
            )
        self._drawn = now
        self._bar.length = progress.total
        rate = progress.moved / MIB / max(now - self._began, _EVERY)
        step, self._at = progress.moved - self._at, progress.moved
        self._bar.update(step, f"{self._at / MIB:.0f} of {progress.total / MIB:.0f} MiB, {rate:.0f} MiB/s")
