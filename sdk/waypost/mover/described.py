"""A content as another process can read it: by paths, by descriptors of shared memory, or as it is while it is small.

What stands in memory is copied into a file in memory (memfd) that both have; what is larger than such a copy should be
stays with the program, unless it stands in such a file already.
"""

from __future__ import annotations

import dataclasses
import mmap
import os
from collections.abc import Sequence
from typing import Final

from waypost.store.keys import KIB, MIB
from waypost.store.sources import Content, Data, Hole, Pieces, SharedMemory
from waypost.store.tree import Node

_MOST_INLINE: Final = 256 * KIB
_MOST_COPIED: Final = 64 * MIB


@dataclasses.dataclass(frozen=True, slots=True)
class Shared:
    """A range of a file that was passed by its descriptor."""

    descriptor: int
    """Its place among those that were passed."""
    offset: int
    length: int


Part = bytes | Shared | Hole
Place = bytes | tuple[Part, ...] | Shared | None


@dataclasses.dataclass(frozen=True)
class Description:
    """The nodes of a content, and for each of them a path, its parts, or nothing."""

    nodes: Sequence[Node]
    places: Sequence[Place]
    copied: bool

    @property
    def size(self) -> int:
        """Bytes of its files together."""
        return sum(node.size for node in self.nodes)


class Described:
    """A description and the files that go with it; to be closed."""

    def __init__(self, content: Content) -> None:
        """Raises OSError when there is no room for a copy, ValueError when the content is too large for one."""
        self.descriptors: list[int] = []
        inline = _in_memory(content)
        if inline > _MOST_COPIED:
            raise ValueError(f"{inline} bytes stand in memory")
        self._copy: int | None = None
        self._end = 0
        try:
            if inline > _MOST_INLINE:
                self._copy = os.memfd_create("waypost-save")
                self.descriptors.append(self._copy)
            places = [self._place(place) for place in content.places]
        except BaseException:
            self.close()
            raise
        self.description = Description(content.nodes, places, content.copied)

    def close(self) -> None:
        """Let go of the copy."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def _place(self, place: Pieces | SharedMemory | bytes | None) -> Place:
        if place is None:
            return None
        if isinstance(place, SharedMemory):
            self.descriptors.append(os.dup(place.descriptor))
            return Shared(len(self.descriptors) - 1, place.offset, place.length)
        if isinstance(place, bytes):
            return os.path.join(os.getcwdb(), place)  # as it is: `link/..` is where the link leads, not where it stands
        return tuple(piece if isinstance(piece, Hole) else self._part(piece) for piece in place)

    def _part(self, piece: Data) -> Part:
        if self._copy is None:
            return bytes(piece)
        view, start = memoryview(piece).cast("B"), self._end
        while view:
            written = os.pwrite(self._copy, view, self._end)
            view, self._end = view[written:], self._end + written
        return Shared(0, start, self._end - start)


def content_of(description: Description, descriptors: Sequence[int]) -> Content:
    """The content, on the other side."""
    maps: dict[int, memoryview] = {}

    def piece(part: Part) -> Data | Hole:
        if not isinstance(part, Shared):
            return part
        if part.descriptor not in maps:
            maps[part.descriptor] = memoryview(mmap.mmap(descriptors[part.descriptor], 0, prot=mmap.PROT_READ))
        return maps[part.descriptor][part.offset :][: part.length]

    def place(described: Place) -> Pieces | SharedMemory | bytes | None:
        match described:
            case tuple():
                return [piece(part) for part in described]
            case Shared(index, offset, length):
                return SharedMemory(descriptors[index], offset, length)
            case _:
                return described

    return Content(description.nodes, [place(described) for described in description.places], description.copied)


def _in_memory(content: Content) -> int:
    """Bytes that stand in the program's memory."""
    return sum(
        len(piece)
        for place in content.places
        if place is not None and not isinstance(place, bytes | SharedMemory)
        for piece in place
        if not isinstance(piece, Hole)
    )
