"""What is saved goes into packs, read, hashed and sent at the same time, in memory that doesn't depend on its size.

One thread reads the content chunk by chunk right into the pack that is being filled (`waypost.store.filling`), and
hashes it there while it is in the processor's cache; at what stays in its file until it is sent two may look
(`waypost.store.looking`). Full packs are sent beside it, two at once, or as many as help
(`waypost.store.sending`). The memory for all is the same: the more there are, the smaller they get. Small files share a
pack, large ones are cut into chunks (`waypost.store.edges`). A chunk that is known, from earlier in this content or
from what the caller may name, isn't stored again; zeros are stored nowhere.

A function of what it is given and nothing else: no state is left behind, so it can do its work in another process.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Final

from blake3 import blake3

from waypost.backends.protocol import FilePart
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.edges import cuts, edges_of
from waypost.store.filling import Filling
from waypost.store.keys import KIB, MIB, Upload
from waypost.store.looking import AT_ONCE, Looks, Seen, by_two, is_hole
from waypost.store.manifest import Chunk, Manifest, Pack
from waypost.store.pickled import by_values
from waypost.store.sending import Flight
from waypost.store.sizes import SIZES, Sizes
from waypost.store.sources import Content, Reader
from waypost.store.trails import HEAD, Mark, Patience, Trail
from waypost.store.tree import Kind


@by_values
@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """Where a chunk stands that is in the store already."""

    pack: Pack
    offset: int


@dataclasses.dataclass(frozen=True)
class Stock:
    """What is in the store already and may be named again."""

    chunks: Mapping[str, Held] = dataclasses.field(default_factory=dict)
    """By their hashes."""
    trails: Mapping[bytes, Sequence[Mark]] = dataclasses.field(default_factory=dict)
    """By the path of a file, the chunks that it was cut into when it was saved last."""


NOTHING_HELD: Final = Stock()

_CHUNK: Final = MIB
_MOST_CHUNKS: Final = 2**16
"""Of a content; of a larger one each chunk is larger, so that the manifest stays within its bounds."""
_OWN_EDGES: Final = 4
"""A part of a file has chunks of its own, if it is at least this part of a chunk long."""
_WORTH_SENDING: Final = MIB
"""Bytes of a file from which on packs refer to it: it costs an open file and a system call."""
_MOST_OPEN: Final = 64
"""Files that packs refer to."""
_WORTH_SHARING: Final = 64 * KIB
"""Bytes of a small file, on average, from which on two threads are quicker than one."""


def by_one() -> bool:
    """Whether one thread is to do all reading and hashing: yes, in the program's own process."""
    return True


def pack_content(
    content: Content,
    calls: Calls,
    upload: Upload,
    sizes: Sizes = SIZES,
    held: Stock = NOTHING_HELD,
    alone: Callable[[], bool] = by_one,
) -> Manifest:
    """Upload what isn't `held`, in packs that are named as of `upload`. `alone`: whether one thread has to do.

    Those packs of the manifest that carry this upload's name are in the store when this returns, and are named by
    nobody. Raises StorageError, OSError when the content can't be read; what was sent is given up then.
    """
    chunk = _chunk_size(max(content.size, sizes.whole), sizes)
    if (expect := getattr(calls.backend, "expect", None)) is not None:
        expect(content.size)
    sizes = dataclasses.replace(sizes, pack=min(sizes.pack, max(content.size, 1)))
    with (
        contextlib.ExitStack() as opened,
        Flight(calls, sizes, chunk) as flight,
        calls.seams.pool(1, "waypost-look") as pool,
    ):
        helper = _Helper(pool, alone)
        packing = _Packing(flight, upload, chunk, held, Patience(content.size // chunk), opened, helper)
        chunks = packing.add_all(content)
        packing.close()
    return Manifest(content.nodes, chunks, packing.packs)


def _chunk_size(size: int, sizes: Sizes) -> int:
    chunk = _CHUNK
    while size > chunk * _MOST_CHUNKS and chunk < keys.MAX_CHUNK:
        chunk *= 2
    return min(chunk, sizes.pack)


@dataclasses.dataclass(frozen=True, slots=True)
class _Helper:
    """A second thread, and whether it has to be done without, now."""

    pool: Executor
    alone: Callable[[], bool]


class _Packing:
    """Fills packs with the chunks of files, and remembers where each one is."""

    def __init__(
        self,
        flight: Flight,
        upload: Upload,
        chunk: int,
        held: Stock,
        patience: Patience,
        opened: contextlib.ExitStack,
        helper: _Helper,
    ) -> None:
        """`opened` gets the files that packs refer to, and closes them, and tells if one has changed."""
        self._helper = helper
        self._looks: Looks | None = None
        self._flight, self._upload, self._chunk, self._held = flight, upload, chunk, held
        self._opened, self._open = opened, 0
        self._closing: contextlib.ExitStack | None = None
        """What closes the file that is being read, unless a pack refers to it."""
        self.packs: list[Pack] = []
        """Those that hold what is new, and those that hold what is held."""
        self._indexes: dict[str, int] = {}
        """Of those that hold what is held, by name."""
        self._places: dict[str, Chunk] = {}
        """By its hash, each chunk that stands in a pack."""
        self._filling: Filling | None = None
        self._patience = patience
        self._window = bytearray()
        """What is searched."""

    def add_all(self, content: Content) -> Sequence[Sequence[Chunk]]:
        """All nodes, in their order."""
        rows: list[Sequence[Chunk]] = [()] * len(content.nodes)
        for some in self._alike(content):
            size = sum(content.nodes[index].size for index in some)
            if len(some) > 1 and size >= len(some) * _WORTH_SHARING and not self._helper.alone():
                self._add_together(content, some, rows)
            else:
                for index in some:
                    rows[index] = self.add(content, index)
        return rows

    def _alike(self, content: Content) -> Iterator[Sequence[int]]:
        """All files that have content: small ones that two threads may share, some at a time, and others."""
        some: list[int] = []
        for index, node in enumerate(content.nodes):
            if node.kind is not Kind.FILE or not node.size:
                continue
            small = node.size < min(_WORTH_SENDING, self._chunk) and isinstance(content.places[index], bytes)
            if small and node.path not in self._held.trails:
                some.append(index)
                if len(some) == AT_ONCE:
                    yield some
                    some = []
                continue
            if some:
                yield some
                some = []
            yield [index]
        if some:
            yield some

    def _add_together(self, content: Content, indexes: Sequence[int], rows: list[Sequence[Chunk]]) -> None:
        """Small files, read and hashed by two threads right where they stand in the pack if they are new."""
        coming = collections.deque(indexes)
        while coming:
            filling = self._room(content.nodes[coming[0]].size)
            some, size = [], 0
            while coming and filling.has_room(size + content.nodes[coming[0]].size):
                size += content.nodes[coming[0]].size
                some.append(coming.popleft())
            if len(some) == 1:
                rows[some[0]] = self.add(content, some[0])
                continue
            with filling.room(size, refers=False) as room:
                self._add_read(content, some, filling, room, rows)

    def _add_read(
        self, content: Content, some: Sequence[int], filling: Filling, room: memoryview, rows: list[Sequence[Chunk]]
    ) -> None:
        """Small files, into the `room` that the pack has for all of them."""
        ends = list(itertools.accumulate(content.nodes[index].size for index in some))
        places = list(itertools.pairwise([0, *ends]))

        def look(one: tuple[int, tuple[int, int]]) -> str:
            index, (start, end) = one
            with room[start:end] as part, content.open(index) as reader:
                reader.read_into(0, part)
                return blake3(part).hexdigest()

        digests = by_two(self._helper.pool, lambda: look, list(zip(some, places, strict=True)))
        self._refers = False
        kept = 0
        for index, (start, end), digest in zip(some, places, digests, strict=True):
            at, length = start, end - start
            if not self._is_known(digest):
                at, kept = kept, kept + length
                if at < start:  # one before it is known, and left its room
                    room[at:kept] = room[start:end]
            rows[index] = [self._placed(filling, digest, room[at : at + length])]

    def _is_known(self, digest: str) -> bool:
        """Whether a chunk isn't sent, for it is in the store, or on its way."""
        return digest in self._places or digest in self._held.chunks

    def add(self, content: Content, index: int) -> Sequence[Chunk]:
        """The file at `index`."""
        node = content.nodes[index]
        marks = self._held.trails.get(node.path, ())
        if node.size < _WORTH_SENDING:
            self._refers = False
            with content.open(index) as reader:
                return self._file(reader, node.size, marks)
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(content.open(index))
            self._refers = reader.part(0, 0) is not None
            self._closing = stack
            chunks = self._file(reader, node.size, marks)
        if self._open >= _MOST_OPEN:
            self._send_all()
            self._opened.close()
            self._open = 0
        return chunks

    def close(self) -> None:
        """Send what is left, and wait until all has arrived."""
        self._send_all()

    def _send_all(self) -> None:
        if self._filling is not None:
            self._send(self._filling)
            self._filling = None
        self._flight.finish()

    def _file(self, reader: Reader, size: int, marks: Sequence[Mark]) -> Sequence[Chunk]:
        chunks: list[Chunk] = []
        edges = self._edges(reader, size)
        follows = marks and not _tells_all(edges, size)
        trail = Trail(marks, self._held.chunks, self._chunk, size, self._patience) if follows else None
        at = 0
        for start, end in reader.written():
            _add_hole(chunks, start - at)
            if trail is None:
                self._add_row(chunks, reader, cuts(edges, start, end, self._chunk))
            else:
                for begin, until in cuts(edges, start, end, size):
                    self._add_along(trail, chunks, reader, begin, until)
            at = end
        _add_hole(chunks, size - at)
        return chunks

    def _add_along(self, trail: Trail, chunks: list[Chunk], reader: Reader, start: int, end: int) -> None:
        """Cut where the last save was cut, as far as what it found is there, wherever it has moved to."""
        at = start
        while at < end:
            at += self._add_next(trail, chunks, reader, at, end - at)

    def _add_next(self, trail: Trail, chunks: list[Chunk], reader: Reader, at: int, rest: int) -> int:
        """Returns the length of the chunk."""

        def read(offset: int, length: int) -> bytes:
            return _read(reader, at + offset, length)

        most = min(self._chunk, rest)
        filling = self._room(most)
        with filling.room(most, refers=self._refers) as room:
            reader.read_into(at, room)
            if is_hole(room):
                _add_hole(chunks, most)
                return most
            length = trail.guess(room, rest)
            digest = blake3(room[:length]).hexdigest()
            if not self._is_known(digest):
                found = self._look_on(trail, room, read, rest)
                if found is not None:
                    length = found
                    digest = blake3(room[:length]).hexdigest()
            chunks.append(self._placed(filling, digest, room[:length], reader, at))
        trail.passed(digest)
        return length

    def _look_on(self, trail: Trail, room: memoryview, read: Callable[[int, int], bytes], rest: int) -> int | None:
        """Where the trail goes on in what has been read, `rest` bytes before the file's end."""
        if not trail.may_search():
            return None
        self._window[: len(room)] = room  # a mapping is searched byte by byte
        beyond = read(len(room), min(HEAD - 1, rest - len(room)))  # where a beginning may end
        self._window[len(room) :] = beyond
        return trail.search(self._window, rest, lambda at, length: blake3(read(at, length)).hexdigest())

    def _edges(self, reader: Reader, size: int) -> Sequence[int]:
        if size <= self._chunk:
            return ()

        return edges_of(functools.partial(_read, reader), size, max(1, self._chunk // _OWN_EDGES))

    def _add_row(self, chunks: list[Chunk], reader: Reader, row: Iterator[tuple[int, int]]) -> None:
        while some := list(itertools.islice(row, AT_ONCE)):
            if len(some) > 1 and self._refers and (looks := self._looked()) is not None:
                for (start, end), seen in zip(some, looks.look(reader, some), strict=True):
                    self._add_seen(chunks, reader, start, end - start, seen)
            else:
                for start, end in some:
                    self._add_chunk(chunks, reader, start, end - start)

    def _looked(self) -> Looks | None:
        """What looks at chunks beside this thread; None if they can't be sent from where they stand, or it's alone."""
        direct = self._flight.direct()
        if direct is None or self._helper.alone():
            return None
        if self._looks is None:
            places, held = self._places, self._held.chunks  # not by way of `self`, which holds what it makes
            self._looks = Looks(
                self._helper.pool, direct.checksum, self._chunk, lambda one: one in places or one in held
            )
        return self._looks

    def _add_seen(self, chunks: list[Chunk], reader: Reader, at: int, length: int, seen: Seen | None) -> None:
        if seen is None:
            _add_hole(chunks, length)
            return
        chunk = self._places.get(seen.digest)
        if chunk is None:
            place = self._held_place(seen.digest)
            if place is None:
                filling = self._room(length)
                part = self._part(filling, reader, at, length)
                if part is None or seen.checksum is None:  # it has to be in memory by now
                    self._add_chunk(chunks, reader, at, length)
                    return
                place = self._index_of(filling), filling.refer(part, seen.digest, seen.checksum)
            chunk = self._places[seen.digest] = Chunk(*place, length, seen.digest, seen.head)
        chunks.append(chunk)

    def _add_chunk(self, chunks: list[Chunk], reader: Reader, at: int, length: int) -> None:
        filling = self._room(length)
        with filling.room(length, refers=self._refers) as room:
            reader.read_into(at, room)
            if is_hole(room):
                _add_hole(chunks, length)
                return
            chunks.append(self._placed(filling, blake3(room).hexdigest(), room, reader, at))

    def _placed(
        self, filling: Filling, digest: str, room: memoryview, reader: Reader | None = None, at: int = 0
    ) -> Chunk:
        """Where what has just been read into the room stands: where it stood before, or in this pack."""
        with room:
            chunk = self._places.get(digest)
            if chunk is None:
                place = self._held_place(digest) or self._keep(filling, digest, room, reader, at)
                chunk = self._places[digest] = Chunk(*place, len(room), digest, bytes(room[:HEAD]))
            return chunk

    def _held_place(self, digest: str) -> tuple[int, int] | None:
        held = self._held.chunks.get(digest)
        if held is None:
            return None
        index = self._indexes.get(held.pack.name)
        if index is None:
            index = self._indexes[held.pack.name] = self._begin(held.pack)
        return index, held.offset

    def _keep(self, filling: Filling, digest: str, room: memoryview, reader: Reader | None, at: int) -> tuple[int, int]:
        part = self._part(filling, reader, at, len(room))
        return self._index_of(filling), filling.keep(room, digest, part)

    def _part(self, filling: Filling, reader: Reader | None, at: int, length: int) -> FilePart | None:
        """Where in its file it stands, if the pack may refer to it; the file stays open from now on."""
        part = reader.part(at, length) if reader is not None and filling.in_place(refers=self._refers) else None
        if part is not None and self._closing is not None:
            # until its packs are sent, or given up: else they might send another file
            self._opened.push(self._closing.pop_all())
            self._closing, self._open = None, self._open + 1
        return part

    def _index_of(self, filling: Filling) -> int:
        if filling.index is None:
            filling.index = self._begin(_UNNAMED)
        return filling.index

    def _begin(self, pack: Pack) -> int:
        self.packs.append(pack)
        return len(self.packs) - 1

    def _room(self, length: int) -> Filling:
        """The pack that is being filled; a new one, if this has no room for so much."""
        filling = self._filling
        if filling is not None and filling.has_room(length):
            return filling
        if filling is not None:
            self._send(filling)
        self._filling = filling = self._flight.filling()
        return filling

    def _send(self, filling: Filling) -> None:
        if filling.index is None:
            self._flight.drop(filling)
            return
        name = keys.object_name(*self._upload, filling.digests.hexdigest())
        self.packs[filling.index] = Pack(name, filling.length)
        self._flight.send(name, filling)


_UNNAMED: Final = Pack("", 0)


def _tells_all(edges: Sequence[int], size: int) -> bool:
    """Whether the format says where to cut; not where most of the file is one part, as a `.keras` is one HDF5 file."""
    return bool(edges) and 2 * max(end - start for start, end in itertools.pairwise([0, *edges, size])) <= size


def _read(reader: Reader, at: int, length: int) -> bytes:
    found = bytearray(length)
    reader.read_into(at, memoryview(found))
    return bytes(found)


def _add_hole(chunks: list[Chunk], length: int) -> None:
    if length and chunks and chunks[-1].is_hole:
        chunks[-1] = Chunk.hole(chunks[-1].length + length)
    elif length:
        chunks.append(Chunk.hole(length))
