"""Where Waypost's own words go: the logger `waypost`, or standard error when the program configured no logging.

Python shows nothing below WARNING to a program without logging, and a pod whose log doesn't say where it resumed is
of no use at 2 a.m.; so Waypost brings a handler that speaks exactly as long as nobody else does. It writes with one
`os.write`: the line can't be torn, and a signal handler that interrupted a `print` can't stumble over its buffer.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Final

logger: Final = logging.getLogger("waypost")

STDERR: Final = 2


def say(line: str) -> None:
    """Write one line to standard error by one system call; safe in a signal handler, silent when it is closed."""
    with contextlib.suppress(OSError):  # nobody is left who could read about it
        os.write(STDERR, f"waypost: {line}\n".encode(errors="replace"))


class _UntilConfigured(logging.Handler):
    """Speaks for `waypost` as long as neither the program nor its framework has set up logging."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record unless some other handler of the chain gets it too."""
        if len(logger.handlers) == 1 and not logging.getLogger().handlers:
            say(self.format(record))


if not logger.handlers:
    logger.addHandler(_UntilConfigured())
    logger.setLevel(logging.INFO)
