"""How dense a JSON text is: what holds little but brackets takes twenty times its size in memory once it is read.

A reader that may be handed a text by an enemy looks at this first, which takes little itself: texts inside are left out
by a pattern in which nothing is tried twice, so that nothing is remembered. (Else one long text takes a hundred times
its size right here.)
"""

from __future__ import annotations

import re
from typing import Final

from waypost.store.keys import MIB

_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SMALL: Final = MIB
"""Bytes that may be as dense as they like."""


def too_dense(raw: bytes, marks: bytes, apart: int) -> bool:
    """Whether it has more than one of these marks, outside of texts, for each `apart` bytes."""
    if len(raw) <= _SMALL:
        return False
    bare = _TEXT.sub(b"", raw)
    return len(raw) < apart * sum(bare.count(mark) for mark in marks)
