"""What comes in of one request: each byte goes where it belongs, and every chunk is hashed as it passes by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from blake3 import blake3

from waypost.store.ranges import Request


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one file. They are `take`'s only until it returns."""

    node: int
    offset: int
    data: memoryview


Take = Callable[[Piece], None]
Room = Callable[[int, int, int], memoryview | None]
"""The memory that the bytes of a node belong to, from an offset on, at most so many; None if they have to be taken."""


def no_room(_node: int, _offset: int, _most: int) -> None:
    """Of who has no memory of its own for what comes."""


def _nobody_counts(_size: int) -> None:
    """Of who doesn't want to know."""


class Incoming:
    """The bytes of one request, in the order of the pack, as one try gets them."""

    def __init__(
        self, request: Request, take: Take, room: Room = no_room, count: Callable[[int], None] = _nobody_counts
    ) -> None:
        """`count` is told how many bytes have come to where they belong, each time."""
        self._take, self._room, self._count = take, room, count
        self._length, self._received = request.length, 0
        self._stretches = _Row(_stretches(request))
        # the same chunk may go to several places
        chunks = {part.chunk: part.chunk.offset - request.start for part in request.parts}
        self._hashes = _Row([_Hash(start, chunk.length, chunk.digest) for chunk, start in chunks.items()])
        self._wrong = False

    def receive(self, data: memoryview) -> None:
        """The next bytes. Raises what `take` raises."""
        start, end = self._received, self._received + len(data)
        self._received = end
        for stretch in self._stretches.meeting(start, end):
            first, last = max(start, stretch.start), min(end, stretch.end)
            self._take(Piece(stretch.node, stretch.at(first), data[first - start : last - start]))
            self._count(last - first)
        self._verify(start, data)

    def pull(self, fill: Callable[[memoryview], int], most: int) -> int | None:
        """Have the next bytes put where they belong, if that is one place: how many; None, with nothing done, if not.

        Raises what `fill` raises.
        """
        start = self._received
        if (found := self._stretches.alone(start)) is None:
            return None
        stretch, end = found
        memory = self._room(stretch.node, stretch.at(start), min(most, end - start))
        if memory is None:
            return None
        size = fill(memory)
        self._received += size
        self._count(size)
        self._verify(start, memory[:size])
        return size

    def _verify(self, start: int, data: memoryview) -> None:
        end = start + len(data)
        for chunk in self._hashes.meeting(start, end):
            chunk.hash.update(data[max(start, chunk.start) - start : min(end, chunk.end) - start])
            if chunk.end <= end and chunk.hash.hexdigest() != chunk.digest:
                self._wrong = True

    def wrong(self) -> str | None:
        """What is wrong with all that came; None when it is what was saved."""
        if self._received < self._length:
            return "is truncated"
        if self._wrong or self._received > self._length:
            return "doesn't have the content that was saved"
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class _Stretch:
    """Neighbours in a request that are neighbours in a file too."""

    start: int
    end: int
    node: int
    offset: int

    def at(self, place: int) -> int:
        """Where in its file a place of the request is."""
        return self.offset + place - self.start


def _stretches(request: Request) -> Sequence[_Stretch]:
    found: list[_Stretch] = []
    for part in request.parts:
        start = part.chunk.offset - request.start
        last = found[-1] if found else None
        if last and last.end == start and last.node == part.node and last.offset + start - last.start == part.offset:
            found[-1] = dataclasses.replace(last, end=start + part.chunk.length)
        else:
            found.append(_Stretch(start, start + part.chunk.length, part.node, part.offset))
    return found


class _Hash:
    """A chunk, hashed so far."""

    def __init__(self, start: int, length: int, digest: str) -> None:
        self.start, self.end, self.digest, self.hash = start, start + length, digest, blake3()


class _Extent(Protocol):
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


E = TypeVar("E", bound=_Extent)


class _Row(Generic[E]):
    """Extents that begin one after the other, met from left to right; they may overlap."""

    def __init__(self, extents: Sequence[E]) -> None:
        self._coming = list(reversed(extents))
        self._open: list[E] = []

    def meeting(self, start: int, end: int) -> Iterator[E]:
        """Those with a part between the two, which is where the last call ended, and how far this one goes."""
        while self._coming and self._coming[-1].start < end:
            self._open.append(self._coming.pop())
        yield from self._open
        self._open = [extent for extent in self._open if extent.end > end]

    def alone(self, start: int) -> tuple[E, int] | None:
        """The one that `start`, where the last call ended, is in, and up to where it's in no other; None if none or
        several."""
        while self._coming and self._coming[-1].start <= start:
            self._open.append(self._coming.pop())
        self._open = [extent for extent in self._open if extent.end > start]
        if len(self._open) != 1:
            return None
        one = self._open[0]
        return one, min(one.end, self._coming[-1].start) if self._coming else one.end
