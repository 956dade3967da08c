"""Ending what writes into memory that somebody is about to take away, however often Ctrl-C is pressed meanwhile.

A signal handler may raise out of any call of the main thread, and once more out of what cleans up behind the first.
Waiting for a lock or joining a thread is no cure: interrupted at the wrong moment, either is taken for done, or never
comes about. So what has to be ended says by itself whether it is still there, and its end is asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_LOOK_SECONDS: Final = 0.001


def with_its_end(action: Callable[[], T], end: Callable[[], None]) -> T:
    """Do `action`, then `end` until that has got through; also when `action` fails. Raises the first that went wrong.

    Doing `end` again has to be harmless, and it may raise nothing by itself. It is one frame from before the one to
    behind the other: between two calls, Ctrl-C could lead past the end.
    """
    interruption: BaseException | None = None
    begun = False
    while True:
        try:
            if not begun:
                begun = True
                result = action()
            end()
            break
        except BaseException as error:  # noqa: BLE001 - raised below
            interruption = interruption or error
    try:
        if interruption is not None:
            raise interruption
    finally:
        del interruption  # its traceback holds this frame, and so what the action held
    return result


def gone(nobody: Callable[[], bool]) -> None:
    """Return when `nobody()` is true. For what is over soon: it is asked again and again."""
    while not nobody():
        time.sleep(_LOOK_SECONDS)
