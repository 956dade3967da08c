"""How dense a JSON text is: what holds little but brackets takes twenty times its size in memory once it is read.

A reader that may be handed a text by an enemy looks at this first. So it takes little itself, in memory and in time,
whatever it is given: stretch by stretch, and nothing is tried twice. (A pattern that matches whole texts remembers too
much of one long text or of many short ones, and looks for the end of each that has none.) It is exact up to where the
JSON goes wrong, if it does: nobody reads on behind that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from waypost.store.keys import KIB, MIB

_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
_SMALL: Final = MIB
"""Bytes that may be as dense as they like."""
_STRETCH: Final = 64 * KIB


def too_dense(raw: bytes, marks: bytes, apart: int) -> bool:
    """Whether it has more than one of these marks, outside of texts, for each `apart` bytes."""
    return len(raw) > _SMALL and len(raw) < apart * count(raw, marks)


def count(raw: bytes, marks: bytes) -> int:
    """How many of these marks it has outside of texts."""
    return sum(bare.count(mark) for bare in _bare(raw) for mark in marks)


def _bare(raw: bytes) -> Iterator[bytes]:
    """All but its texts."""
    inside, half = 0, b""
    for at in range(0, len(raw), _STRETCH):
        stretch = _ESCAPED.sub(b"", half + raw[at : at + _STRETCH])
        half = b"\\" if stretch.endswith(b"\\") else b""  # of an escape that goes on in the next one
        parts = stretch.removesuffix(half).split(b'"')
        yield b"".join(parts[inside::2])
        inside = (inside + len(parts) - 1) % 2
