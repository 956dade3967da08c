"""What is saved, and how it is read: from memory, from a file where it is, or from one that is Waypost's own.

Files may have holes (ranges that are zero because nothing was ever written there); large ones stay holes all the way,
so that neither a copy nor the upload spends anything on them. What is read where the program could change it is
compared before and behind: a change under the reader's eyes is an error, because the checkpoint would be a mixture.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import errno
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from waypost.backends.protocol import FilePart
from waypost.errors import ConfigurationError, SupersededError
from waypost.store import tree
from waypost.store.keys import MAX_CHUNK, MIB
from waypost.store.tree import Kind, Node

Source = bytes | bytearray | memoryview | str | os.PathLike[str]

BYTES_NAME: Final = b"_dst_cp"
"""Under this name bytes come back as a file; Flyte's own choice."""
MIN_HOLE: Final = MIB
"""Shorter holes are read as the zeros they are: each one kept would cost a line of the manifest."""
_NANO: Final = 10**9
_FILE_MODE: Final = 0o644
READING: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclasses.dataclass(frozen=True, slots=True)
class Hole:
    """So many zero bytes that nobody has written."""

    length: int

    def __len__(self) -> int:
        return self.length


@dataclasses.dataclass(frozen=True, slots=True)
class SharedMemory:
    """Bytes in memory that has a descriptor, so that another process can map it too."""

    descriptor: int
    offset: int
    length: int


Data = bytes | memoryview
Pieces = Sequence[Data | Hole]


class Reader(Protocol):
    """The content of one file, wherever it is: read into memory of the caller's, any part, in any order."""

    def written(self) -> Iterator[tuple[int, int]]:
        """The ranges that somebody has written, ascending; all around them is zero."""

    def read_into(self, at: int, room: memoryview) -> None:
        """Fill `room` with what stands from `at` on. Raises OSError, also where the file has become too short."""

    def part(self, at: int, length: int) -> FilePart | None:
        """Where so much of it stands in a file that is open as long as this is; None where it doesn't."""


@dataclasses.dataclass
class Content:
    """The nodes of one save, and where the bytes of its files are: in memory, or at a path."""

    nodes: Sequence[Node]
    places: Sequence[Pieces | SharedMemory | bytes | None]
    """For each node: pieces in memory, shared memory, a path to read it from, or None for folders and links."""
    copied: bool
    """Whether the source may change while this is read."""
    lasting: bool = False
    """Whether the program may go on while this is read, although it isn't a copy; a change is noticed and fails it."""
    withdrawn: bool = False
    """Whether the program may have begun to change what was to be read in place."""
    release: Callable[[], None] | None = None
    """To be called once, when nothing reads it any more."""

    @property
    def size(self) -> int:
        """Bytes of its files together."""
        return sum(node.size for node in self.nodes)

    @property
    def shared(self) -> bool:
        """Whether it is in shared memory, which a newer save can use."""
        return any(isinstance(place, SharedMemory) for place in self.places)

    def pieces(self, index: int, most: int = MAX_CHUNK) -> Iterator[Data | Hole]:
        """The content of the file at `index`: holes, and pieces of at most `most` bytes, none empty.

        Raises OSError when it can't be read, or isn't the same as when the node was made.
        """
        with self.open(index) as reader:
            at = 0
            for start, end in reader.written():
                if start > at:
                    yield Hole(start - at)
                for at in range(start, end, most):
                    piece = bytearray(min(end - at, most))
                    reader.read_into(at, memoryview(piece))
                    yield memoryview(piece)
                at = end
            if at < self.nodes[index].size:
                yield Hole(self.nodes[index].size - at)

    @contextlib.contextmanager
    def open(self, index: int) -> Iterator[Reader]:
        """The content of the file at `index`, to be read within the `with`.

        Raises OSError when it can't be read; at the end also when it isn't the same as when the node was made.
        """
        place = self.places[index]
        if isinstance(place, SharedMemory):
            yield _Shared(place)
            return
        if not isinstance(place, bytes):
            yield _Pieces(place or ())
            return
        node = self.nodes[index]
        descriptor = os.open(place, READING)
        try:
            if not self.copied:
                require_unchanged(descriptor, place, node)
            yield _OpenFile(descriptor, place, node)
            if not self.copied:
                require_unchanged(descriptor, place, node)
        finally:
            os.close(descriptor)

    def require_kept(self) -> None:
        """Raise SupersededError when its caller was interrupted, and may change it.

        To be asked behind the last reading: what was read before the interruption is as it was.
        """
        if self.withdrawn:
            raise SupersededError("its caller was interrupted while it was read in place, and may change it since")

    def close(self) -> None:
        """Let go of the content, and remove what was made for it. Nothing may read it any more."""
        self.places = ()
        release, self.release = self.release, None
        if release is not None:
            release()


def look(source: Source) -> Content:
    """The source as it stands, to be read in place. Raises OSError, and ConfigurationError."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        kept = source if isinstance(source, bytes) else bytes(source)
        node = Node(BYTES_NAME, Kind.FILE, _FILE_MODE, time.time_ns(), len(kept))
        return Content([node], [[kept]], copied=True)
    if not isinstance(source, (str, os.PathLike)):
        raise ConfigurationError(
            f"can't save a {type(source).__name__}: give bytes, the path of a file or a folder, or a mapping of "
            "arrays (a text is a path; to save text, encode it)"
        )
    path = os.fsencode(source)
    if os.path.isdir(path):
        nodes = tree.scan(path)
        above = os.path.join(path, b"")
        places = [above + node.path if node.kind is Kind.FILE else None for node in nodes]
        return Content(nodes, places, copied=False)
    real = os.path.realpath(path)
    status = os.stat(real)
    if not os.path.isfile(real):
        raise ConfigurationError(f"can't save {tree.show(path)}: it is neither a file nor a folder")
    node = tree.file_node(os.path.basename(os.path.normpath(path)), status)
    return Content([node], [real], copied=False)


class _Pieces:
    """Pieces in memory."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._starts = [0, *itertools.accumulate(map(len, pieces))]

    def written(self) -> Iterator[tuple[int, int]]:
        ranges = zip(self._pieces, self._starts, self._starts[1:], strict=False)
        written = [(start, end) for piece, start, end in ranges if not isinstance(piece, Hole)]
        yield from _joined(written)

    def read_into(self, at: int, room: memoryview) -> None:
        index = bisect.bisect_right(self._starts, at) - 1
        while room:
            piece, skipped = self._pieces[index], at - self._starts[index]
            if isinstance(piece, Hole):  # whoever looks for a file's structure looks there, too
                part = memoryview(bytes(min(len(piece) - skipped, len(room))))
            else:
                part = memoryview(piece)[skipped:][: len(room)]
            room[: len(part)] = part
            at, room, index = at + len(part), room[len(part) :], index + 1

    def part(self, at: int, length: int) -> None:
        """In no file."""


def _joined(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same, with those that touch as one."""
    at = 0
    while at < len(ranges):
        start, end = ranges[at]
        while (at := at + 1) < len(ranges) and ranges[at][0] == end:
            end = ranges[at][1]
        if start < end:
            yield start, end


class _Shared:
    """Shared memory: copied out of it, so that nobody holds on to what the next save is going to fill."""

    def __init__(self, place: SharedMemory) -> None:
        self._place = place

    def written(self) -> Iterator[tuple[int, int]]:
        if self._place.length:
            yield 0, self._place.length

    def read_into(self, at: int, room: memoryview) -> None:
        while room:
            done = os.preadv(self._place.descriptor, [room], self._place.offset + at)
            if not done:
                raise OSError(errno.EIO, "shared memory that holds a save has become too short")
            at, room = at + done, room[done:]

    def part(self, at: int, length: int) -> FilePart:
        return FilePart(self._place.descriptor, self._place.offset + at, length, b"shared memory")


class _OpenFile:
    """A file on a disk."""

    def __init__(self, descriptor: int, path: bytes, node: Node) -> None:
        self._descriptor, self._path, self._size = descriptor, path, node.size

    def written(self) -> Iterator[tuple[int, int]]:
        return written(self._descriptor, self._size)

    def read_into(self, at: int, room: memoryview) -> None:
        while room:
            count = os.preadv(self._descriptor, [room], at)
            if not count:
                raise changed(self._path)
            at, room = at + count, room[count:]

    def part(self, at: int, length: int) -> FilePart:
        return FilePart(self._descriptor, at, length, self._path)


def written(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The ranges of a file that somebody has written, ascending, with only large holes around them."""
    if size < MIN_HOLE:
        if size:
            yield 0, size
        return
    start = at = 0  # from `start` on data is wanted, and up to `at` it has been looked for
    while at < size:
        data = _seek(descriptor, at, os.SEEK_DATA, size)
        if data - at >= MIN_HOLE:
            if at > start:
                yield start, at
            start = data
        at = size if data == size else _seek(descriptor, data, os.SEEK_HOLE, size)
    if start < size:
        yield start, size


def _seek(descriptor: int, at: int, what: int, size: int) -> int:
    """Where the next data, or the next hole, begins; the end of the file without one."""
    try:
        return min(os.lseek(descriptor, at, what), size)
    except OSError as error:
        if error.errno == errno.ENXIO:  # no data behind
            return size
        if error.errno == errno.EINVAL:  # a file system that doesn't tell: everything is data
            return at if what == os.SEEK_DATA else size
        raise


def require_unchanged(descriptor: int, path: bytes, node: Node) -> None:
    """Raise OSError (EBUSY) when an open file isn't as its node says."""
    status = os.fstat(descriptor)
    if (status.st_size, status.st_mtime_ns) != (node.size, node.mtime_ns):
        raise changed(path)


def changed(path: bytes) -> OSError:
    """The error for a file that isn't as it was when it was looked at."""
    return OSError(
        errno.EBUSY,
        "it changed while it was being saved, so the checkpoint would be a mixture and was not taken; save when "
        "nothing writes to it",
        tree.show(path),
    )
