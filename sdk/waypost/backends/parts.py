"""What parts of open files hold, read as they are."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import Final

from waypost.backends.aligned import between
from waypost.backends.protocol import Part

_PIECE: Final = 1024 * 1024


def pieces_of(parts: Sequence[Part]) -> Iterator[memoryview]:
    """What the parts hold, piece by piece; each is the caller's until the next. Raises OSError."""
    memory = between(_PIECE)
    for part in parts:
        if isinstance(part, memoryview):
            yield part
            continue
        at, end = part.offset, part.offset + part.length
        while at < end:
            size = os.preadv(part.descriptor, [memory[: end - at]], at)
            if not size:
                raise changed(part.path)
            yield memory[:size]
            at += size


def changed(path: bytes) -> OSError:
    """The error for a file that isn't any more what was hashed."""
    return OSError(errno.EBUSY, "it changed while it was being sent, so it was not taken", os.fsdecode(path))
