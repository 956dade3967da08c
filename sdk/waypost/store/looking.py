"""Looking at what is to be sent: each piece of it read and hashed.

That are chunks of a file that is sent from where it stands, or small files in a row that are read into a pack. Where
the program doesn't need the cores, as far as is known, two threads do it: reading and hashing is all that an upload
waits for then, and neither holds on to the interpreter.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final, TypeVar

from blake3 import blake3

from waypost.backends.aligned import mapped
from waypost.store.sources import MIN_HOLE, Reader
from waypost.store.trails import HEAD

S = TypeVar("S")
T = TypeVar("T")

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
        scratches = list(self._scratches)  # one for each thread

        def begin() -> Callable[[tuple[int, int]], Seen | None]:
            scratch = scratches.pop()
            return lambda place: self._look(reader, place[0], scratch[: place[1] - place[0]])

        return by_two(self._pool, begin, row)

    def _look(self, reader: Reader, at: int, room: memoryview) -> Seen | None:
        reader.read_into(at, room)
        if is_hole(room):
            return None
        digest = blake3(room).hexdigest()
        return Seen(digest, bytes(room[:HEAD]), None if self._known(digest) else self._checksum(room))


def by_two(pool: Executor, begin: Callable[[], Callable[[T], S]], row: Sequence[T]) -> list[S]:
    """What comes of each of the row, done by this thread and one of the pool, each with what `begin` gives it.

    Raises what one of them raises; neither does anything any more then.
    """
    coming = collections.deque(enumerate(row))
    found: dict[int, S] = {}

    def work() -> None:
        act = begin()
        while True:
            try:
                index, one = coming.popleft()
            except IndexError:
                return
            found[index] = act(one)

    helper = pool.submit(work)
    try:
        try:
            work()
        finally:
            coming.clear()
            helper.exception()  # waits
        helper.result()
    finally:
        del helper  # its error's traceback holds this frame, and with it the memory
    return [found[index] for index in range(len(row))]


def is_hole(data: memoryview) -> bool:
    """Whether it is zeros, and enough of them."""
    if len(data) < MIN_HOLE:
        return False
    return all(_ZEROS.startswith(data[at : at + MIN_HOLE]) for at in range(0, len(data), MIN_HOLE))
