"""An event loop whose time jumps to the next timer instead of passing: waits cost nothing and are exact.

For code that does no I/O. Each test runs its coroutine with `run`; `now` is the loop's clock, to be given to
whatever takes a clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Jumps to the first timer whenever nothing is ready to run."""

    def __init__(self) -> None:
        self._jumped = 1000.0
        super().__init__()

    def time(self) -> float:
        """Virtual seconds."""
        return self._jumped

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]  # the loop's own queues, which the stubs hide
        timers: Any = self._scheduled  # type: ignore[attr-defined]
        if not ready and timers:
            self._jumped = max(self._jumped, timers[0].when())
        super()._run_once()  # type: ignore[misc]


def run(work: Coroutine[Any, Any, T], limit: float = 3600.0) -> T:
    """Run to the end in virtual time; fails after `limit` virtual seconds."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(asyncio.wait_for(work, limit))


def now() -> float:
    """The running loop's virtual time."""
    return asyncio.get_running_loop().time()
