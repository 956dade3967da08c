"""Host memory for snapshots of states: taken once, and used again by the next saves.

Fresh memory costs ten times what the copy into it costs, because the system has to find and clear every page. So a
buffer that was uploaded is kept for the next snapshot, and grows when a state has grown. One is filled while another
is uploaded, so there are two, and the second one is made when it is first needed. A third is for a save that comes
while one uploads and one waits: without it, the one that waits has to be given up before the newer one is there, and
that may fail. It is made only where as much again stays free for the program. A buffer is lent to one content at a
time, and comes back only when that content is closed, which is behind its upload: never while somebody reads it.

The memory has a descriptor (memfd), so that another process can map it. It counts as memory of the container: where
there isn't as much left, none is taken, and the save reads the state in place. It goes when the last process lets go of
it, and a forked one (a data loader's worker) holds all that this one had: so it lets go at once, and what is given back
is emptied before.

Nothing here takes a lock: a save may come from a signal handler that has interrupted another one.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import mmap
import os
import weakref
from pathlib import Path
from typing import Final

from waypost.store.keys import MIB

COUNT: Final = 2
_SPARE: Final = 64 * MIB
"""Left to the program."""


class Buffer:
    """Memory with a descriptor."""

    def __init__(self, size: int, *, third: bool = False) -> None:
        """Raises OSError when the system has none."""
        self.size, self.third = size, third
        self.descriptor = os.memfd_create("waypost-state", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.descriptor, size)
            self.memory = mmap.mmap(self.descriptor, size)
        except BaseException:
            os.close(self.descriptor)
            raise
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        _made.add(self)

    def close(self) -> None:
        """Give the memory back; whoever still maps it finds zeros there."""
        if self.descriptor >= 0:
            os.ftruncate(self.descriptor, 0)
            os.ftruncate(self.descriptor, self.size)
        self.let_go()

    def let_go(self) -> None:
        """This process doesn't need it any more; others may."""
        with contextlib.suppress(BufferError):  # a traceback still shows it to somebody: it goes with that
            self.memory.close()
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


_made: Final[weakref.WeakSet[Buffer]] = weakref.WeakSet()


def _let_go_in_child() -> None:
    for buffer in list(_made):
        buffer.let_go()


os.register_at_fork(after_in_child=_let_go_in_child)


class Buffers:
    """The buffers of one store."""

    def __init__(self, count: int = COUNT) -> None:
        self._free: collections.deque[Buffer | None] = collections.deque([None] * count)
        """The one used last on top, so that the second is only made when the first is in use."""
        self._third: collections.deque[Buffer | None] = collections.deque([None])
        self._closed = False

    def borrow(self, size: int) -> Buffer | None:
        """A buffer for `size` bytes, to be given back; None when all are in use, or the memory isn't there."""
        return self._take(self._free, size) or self._take(self._third, size)

    def _take(self, free: collections.deque[Buffer | None], size: int) -> Buffer | None:
        try:
            found = free.pop()
        except IndexError:
            return None
        if found is not None and found.size >= size:
            return found
        third = free is self._third
        try:
            if found is not None:
                found.close()
                found = None
            if size * (2 if third else 1) > memory_left() - _SPARE:
                return None
            found = Buffer(-(-size // MIB) * MIB, third=third)
        except OSError:
            return None
        else:
            return found
        finally:
            if found is None:
                free.appendleft(None)

    def give_back(self, buffer: Buffer) -> None:
        """Nobody reads or writes it any more."""
        (self._third if buffer.third else self._free).append(buffer)
        if self._closed:
            self.close()

    def close(self) -> None:
        """Give back the memory of those that aren't lent, and of the others when they come back."""
        self._closed = True
        for free in (self._free, self._third):
            while free:
                with contextlib.suppress(IndexError):
                    buffer = free.pop()
                    if buffer is not None:
                        buffer.close()


def memory_left() -> int:
    """Bytes that can still be taken without anybody being killed for it: of the machine, or of this container."""
    left = _members(Path("/proc/meminfo")).get("MemAvailable", 0) * 1024
    for usage, limit, reclaimable in (
        ("memory.current", "memory.max", "inactive_file"),  # control groups, version 2
        ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes", "total_inactive_file"),
    ):
        group = Path("/sys/fs/cgroup")
        used, most = _number(group / usage), _number(group / limit)
        if used is not None and most is not None:
            cached = _members((group / usage).with_name("memory.stat")).get(reclaimable, 0)
            left = min(left, most - used + cached)
    return left


def _members(path: Path) -> dict[str, int]:
    """The numbers of a file with a name and a number in each line; empty if it isn't there."""
    try:
        lines = path.read_text("ascii").splitlines()
    except OSError:
        return {}
    words = [line.split() for line in lines]
    return {line[0].rstrip(":"): int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}


def _number(path: Path) -> int | None:
    """None if it isn't there, or says "max"."""
    try:
        text = path.read_text("ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
