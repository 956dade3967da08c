"""The memory in which packs are filled: so many bytes and no more, used again and again.

Used again, because pages that are new to a process cost ten times what copying into them does. But not too early: a
request that was given up (`waypost.store.waiting`) may hang in the client library for minutes and still read what it
was given. Overwritten meanwhile, it would put other bytes under a name that its repetition has written long before. So
a buffer that came back counts as free only when nobody has a view of it, and the interpreter itself is the witness: a
mapping can't be resized while anybody does, be it a thread that hangs or native code.

They are mappings of their own because what is unmapped is given back to the system: the C library's heap, asked for
tens of MiB in changing sizes, was seen to keep twice what was in use.
"""

from __future__ import annotations

import collections
import mmap
from typing import Final

from waypost.backends.aligned import mapped

Buffer = mmap.mmap


class Buffers:
    """At most `budget` bytes. Taken by one thread, given back by any."""

    def __init__(self, budget: int) -> None:
        self._budget: Final = budget
        self._held = 0
        """Bytes of all buffers, wherever they are."""
        self._back: collections.deque[Buffer] = collections.deque()

    def take(self, size: int) -> Buffer | None:
        """A buffer of `size` bytes, of any content; None as long as there is no memory for it."""
        found = None
        for _ in range(len(self._back)):
            buffer = self._back.popleft()
            if not _is_free(buffer):
                self._back.append(buffer)
            elif found is None and len(buffer) == size:
                found = buffer
            else:
                self._back.append(buffer)
        if found is not None:
            return found
        for _ in range(len(self._back)):
            if self._held + size <= self._budget:
                break
            buffer = self._back.popleft()
            if _is_free(buffer):
                self._held -= len(buffer)
                buffer.close()
            else:
                self._back.append(buffer)
        if self._held + size > self._budget and self._held:
            return None
        self._held += size
        return mapped(size)

    def give_back(self, buffer: Buffer) -> None:
        """The caller doesn't need it any more; others may."""
        self._back.append(buffer)

    def close(self) -> None:
        """All that came back goes to the system, now or when the last view of it goes; nothing is taken any more."""
        for buffer in self._back:
            if _is_free(buffer):
                buffer.close()
        self._back.clear()


def _is_free(buffer: Buffer) -> bool:
    try:
        buffer.resize(len(buffer))
    except BufferError:
        return False
    except SystemError:  # this system can't resize a mapping; whether anybody has a view was looked at before
        pass
    return True
