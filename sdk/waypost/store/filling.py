"""A pack while it is being filled, in memory of ours or as parts of the files that it comes from.

Where a place can be sent parts of open files, a large file's chunks only pass through memory, to be hashed, and the
pack remembers where they stand. Everything else is kept in memory until the pack is sent; one pack may have of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from blake3 import blake3

from waypost.backends.protocol import Direct, FilePart, Part
from waypost.store.buffers import Buffer


class Filling:
    """A pack that isn't full yet. Owned by one thread at a time."""

    def __init__(
        self,
        size: int,
        memory: Callable[[int], Buffer],
        direct: Direct | None = None,
        scratch: memoryview | None = None,
    ) -> None:
        """`size`: most bytes. `memory` gives a buffer of so many, at the first need.

        Of files whose parts `direct` sends, what is read for the pack goes into `scratch`; `refer` needs none.
        """
        self.size: Final = size
        self.length = 0
        self.checksum = 0
        """Of all that it has, as `direct` makes it; without it 0."""
        self.index: int | None = None
        """Its place in the list of packs, once something is in it."""
        self.digests: blake3 = blake3()
        """Hash of the hashes of its chunks: it tells packs of one upload apart, without hashing every byte again."""
        self.direct: Final = direct is not None
        """Whether it has a checksum, and may be sent as parts."""
        self._memory, self._direct, self._scratch = memory, direct, scratch
        self.buffer: Buffer | None = None
        self._end = 0
        """Of what stands in the buffer."""
        self._places: list[FilePart | tuple[int, int]] = []

    def has_room(self, length: int) -> bool:
        """Whether so many bytes more are not too many."""
        return self.length + length <= self.size

    def room(self, length: int, *, refers: bool) -> memoryview:
        """Memory for what comes next, to be released by its caller; `refers`: a file's, which stays as it is."""
        if self.in_place(refers=refers):
            assert self._scratch is not None
            return self._scratch[:length]
        if self.buffer is None:
            self.buffer = self._memory(self.size)
        return memoryview(self.buffer)[self._end :][:length]

    def in_place(self, *, refers: bool) -> bool:
        """Whether what is read next is only looked at, and stays where it is."""
        return refers and self._direct is not None

    def keep(self, room: memoryview, digest: str, part: FilePart | None) -> int:
        """Take what was read into the `room`, all of it, and say where it stands. `part`: the file that it stays in."""
        if self._direct is not None:
            self.checksum = self._direct.checksum(room, self.checksum)
        if part is not None and self._direct is not None:
            self._places.append(part)
        else:
            self._places.append((self._end, len(room)))
            self._end += len(room)
        self.digests.update(bytes.fromhex(digest))
        at, self.length = self.length, self.length + len(room)
        return at

    def refer(self, part: FilePart, digest: str, checksum: int) -> int:
        """Take what stands in a file and was looked at before, with a checksum of its own; say where it stands."""
        assert self._direct is not None
        self.checksum = self._direct.combined(self.checksum, checksum, part.length)
        self._places.append(part)
        self.digests.update(bytes.fromhex(digest))
        at, self.length = self.length, self.length + part.length
        return at

    @property
    def refers(self) -> bool:
        """Whether parts of it stand in files."""
        return any(isinstance(place, FilePart) for place in self._places)

    def parts(self) -> Sequence[Part]:
        """What it consists of, one behind the other, as few as possible."""
        found: list[Part] = []
        memory = memoryview(self.buffer) if self.buffer is not None else memoryview(b"")
        for place in _joined(self._places):
            found.append(place if isinstance(place, FilePart) else memory[place[0] :][: place[1]])
        return found


def _joined(places: Sequence[FilePart | tuple[int, int]]) -> Sequence[FilePart | tuple[int, int]]:
    """The same, with neighbours that follow on each other as one."""
    joined: list[FilePart | tuple[int, int]] = []
    for place in places:
        last = joined[-1] if joined else None
        if isinstance(place, FilePart):
            if isinstance(last, FilePart) and (last.descriptor, last.offset + last.length) == (
                place.descriptor,
                place.offset,
            ):
                joined[-1] = FilePart(last.descriptor, last.offset, last.length + place.length, last.path)
                continue
        elif isinstance(last, tuple) and last[0] + last[1] == place[0]:
            joined[-1] = (last[0], last[1] + place[1])
            continue
        joined.append(place)
    return joined
