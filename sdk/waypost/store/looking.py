"""Looking at what a file holds before it is sent from where it stands: chunk by chunk, each read and hashed.

Where the program doesn't need the cores, as far as is known, two threads do it: reading and hashing is all that an
upload waits for then, and neither holds on to the interpreter.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final

from blake3 import blake3

from waypost.backends.aligned import mapped
from waypost.store.sources import MIN_HOLE, Reader
from waypost.store.trails import HEAD

AT_ONCE: Final = 16
"""Chunks that the two share, before they wait for each other."""
_ZEROS: Final = bytearray(MIN_HOLE)


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A chunk that was looked at."""

    digest: str
    head: bytes
    """Its first bytes."""
    checksum: int | None
    """Of it alone, as `Direct` makes it; None where it is known, and not sent again."""


class Looks:
    """Looks at rows of chunks. Owned by one thread."""

    def __init__(
        self, pool: Executor, checksum: Callable[[memoryview], int], chunk: int, known: Callable[[str], bool]
    ) -> None:
        """`checksum` is that of `Direct`. `chunk`: most bytes of one. `known`: whether one of that hash isn't sent."""
        self._pool, self._checksum, self._known = pool, checksum, known
        self._scratches = [memoryview(mapped(chunk)) for _ in range(2)]

    def look(self, reader: Reader, row: Sequence[tuple[int, int]]) -> Sequence[Seen | None]:
        """What is at each of these places, from the first byte up to the second; None for zeros.

        Raises OSError, of reading; nobody reads any more then.
        """
        coming = collections.deque(enumerate(row))
        found: list[Seen | None] = [None] * len(row)

        def work(scratch: memoryview) -> None:
            while True:
                try:
                    index, (start, end) = coming.popleft()
                except IndexError:
                    return
                found[index] = self._look(reader, start, scratch[: end - start])

        mine, other = self._scratches
        helper = self._pool.submit(work, other)
        try:
            try:
                work(mine)
            finally:
                coming.clear()
                helper.exception()  # waits
            helper.result()
        finally:
            del helper  # its error's traceback holds this frame, and with it the memory
        return found

    def _look(self, reader: Reader, at: int, room: memoryview) -> Seen | None:
        reader.read_into(at, room)
        if is_hole(room):
            return None
        digest = blake3(room).hexdigest()
        return Seen(digest, bytes(room[:HEAD]), None if self._known(digest) else self._checksum(room))


def is_hole(data: memoryview) -> bool:
    """Whether it is zeros, and enough of them."""
    if len(data) < MIN_HOLE:
        return False
    return all(_ZEROS.startswith(data[at : at + MIN_HOLE]) for at in range(0, len(data), MIN_HOLE))
