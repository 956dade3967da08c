"""What the person at the terminal reads while something takes its time.

One plain line per step with the seconds since the start of the command, and for a long step a line of its
own that keeps counting: on a terminal it rewrites itself, in a log it comes again every half minute.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType

_STARTED = time.monotonic()
_LOG_EVERY_SECONDS = 30.0


def say(message: str) -> None:
    """Print one progress line on stderr, so that stdout stays free for a command's result."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {message}", file=sys.stderr, flush=True)


class LongStep:
    """A step that takes minutes: call `tick` now and then, and it shows how long it has been going.

    Used as a context manager it prints the first line on entry and the time taken on success.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._begun = time.monotonic()
        self._shown = self._begun
        self._terminal = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._begun

    def tick(self) -> None:
        """Show the elapsed time, not more often than a reader wants it."""
        if self._terminal:
            print(f"\r{self._message} ... {self.seconds:.0f} s ", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._shown >= _LOG_EVERY_SECONDS:
            self._shown = time.monotonic()
            say(f"{self._message} ... {self.seconds:.0f} s")

    def __enter__(self) -> LongStep:
        if self._terminal:
            self.tick()
        else:
            say(self._message)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr)
        outcome = "done in" if error is None else "failed after"
        say(f"{self._message}: {outcome} {self.seconds:.0f} s")
