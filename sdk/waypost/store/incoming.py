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


class Incoming:
    """The bytes of one request, in the order of the pack, as one try gets them."""

    def __init__(self, request: Request, take: Take) -> None:
        self._take, self._length, self._received = take, request.length, 0
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
            offset = stretch.offset + first - stretch.start
            self._take(Piece(stretch.node, offset, data[first - start : last - start]))
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
