"""Large pages for memory that is about to be filled.

The system finds, clears and maps a page at the first touch, which for pages of 4 KiB takes ten times what the copy into
them takes. What is filled from end to end loses nothing by pages of 2 MiB, and the system is asked for them (by default
Linux gives them to who asks: `madvise` in /sys/kernel/mm/transparent_hugepage/enabled). numpy asks by itself, torch
doesn't.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Final

from waypost.backends.aligned import mapped
from waypost.store.keys import MIB

LARGE: Final = 2 * MIB
"""Of x86-64, and of arm64 with pages of 4 KiB; elsewhere a part of one, or of none."""
_LEAST: Final = 2 * LARGE
_MADV_HUGEPAGE: Final = 14


def ask_for_large_pages(address: int, size: int) -> bool:
    """Whether the system takes so many bytes from `address` on, still untouched, for worth it."""
    first, end = -(-address // LARGE) * LARGE, (address + size) // LARGE * LARGE
    advise = _madvise()
    if advise is None or size < _LEAST or end <= first:
        return False
    return advise(first, end - first, _MADV_HUGEPAGE) == 0


def untouched(size: int) -> memoryview:
    """New memory of so many bytes, all zero."""
    if size < _LEAST:
        return memoryview(bytearray(size))  # which writes the zeros, page by page
    return memoryview(mapped(size))


@functools.cache
def _madvise() -> Callable[[int, int, int], int] | None:
    if sys.platform != "linux":
        return None
    try:
        found = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    found.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    found.restype = ctypes.c_int
    advise: Callable[[int, int, int], int] = found
    return advise
