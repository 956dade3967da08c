"""Waiting for a condition with a deadline: nothing in these tests sleeps for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import ClusterError


class WaitError(ClusterError):
    """The deadline passed."""


_T = TypeVar("_T")
_POLL_SECONDS = 0.05


def wait_for(what: str, ask: Callable[[], _T | None], seconds: float) -> _T:
    """The first answer of `ask` that is true in Python's sense.

    Raises WaitError naming `what` when none came within `seconds`; an error of `ask` ends the wait.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise WaitError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(_POLL_SECONDS)
