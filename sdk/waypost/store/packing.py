"""What is saved goes into packs, read, hashed and sent at the same time, in memory that doesn't depend on its size.

One thread reads the content chunk by chunk right into the pack that is being filled, and hashes it there while it is
in the processor's cache; full packs are sent beside it, two at once, or as many as help (`waypost.store.width`). The
memory for all is the same: the more there are, the smaller they get. Small files share a pack, large ones are cut into
chunks (`waypost.store.edges`). A chunk that is known, from earlier in this content or from what the caller may name,
isn't stored again; zeros are stored nowhere.

A function of what it is given and nothing else: no state is left behind, so it can do its work in another process.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Final, Self

from blake3 import blake3

from waypost.errors import StorageError
from waypost.store import keys, width
from waypost.store.buffers import Buffer, Buffers
from waypost.store.calls import Calls
from waypost.store.edges import cuts, edges_of
from waypost.store.keys import MIB, Upload
from waypost.store.manifest import Chunk, Manifest, Pack
from waypost.store.progress import EVERY, current
from waypost.store.sources import MIN_HOLE, Content, Reader
from waypost.store.trails import HEAD, Mark, Patience, Trail
from waypost.store.tree import Kind
from waypost.store.width import Width


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What goes where, in bytes; within the format's bounds every writer may choose."""

    inline: int = keys.MAX_INLINE
    """Content up to this size stands inside the entry."""
    manifest: int = keys.MAX_INLINE
    """Likewise a manifest."""
    pack: int = keys.PACK_TARGET
    """A pack holds at most so much."""
    memory: int = keys.PACKS_IN_MEMORY
    """All packs that are being filled or sent, together."""
    whole: int = 0
    """Bytes of the whole that a content is a part of: it decides how large chunks are, so that those of a file that is
    sent alone are those that were sent with all others."""


SIZES: Final = Sizes()


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
_START: Final = 2
"""Packs sent at once: while one is answered the other is on its way, and that fills a fast line."""
_SLOW: Final = 0.25
"""Seconds over one pack that are worth finding out whether more at once go faster."""
_ZEROS: Final = bytearray(MIN_HOLE)


def pack_content(
    content: Content, calls: Calls, upload: Upload, sizes: Sizes = SIZES, held: Stock = NOTHING_HELD
) -> Manifest:
    """Upload what isn't `held`, in packs that are named as of `upload`.

    Those packs of the manifest that carry this upload's name are in the store when this returns, and are named by
    nobody. Raises StorageError, OSError when the content can't be read; what was sent is given up then.
    """
    chunk = _chunk_size(max(content.size, sizes.whole), sizes)
    if (expect := getattr(calls.backend, "expect", None)) is not None:
        expect(content.size)
    sizes = dataclasses.replace(sizes, pack=min(sizes.pack, max(content.size, 1)))
    with _Flight(calls, sizes, chunk) as flight:
        packing = _Packing(flight, upload, chunk, held, Patience(content.size // chunk))
        chunks = [
            packing.add(content, index) if node.kind is Kind.FILE and node.size else ()
            for index, node in enumerate(content.nodes)
        ]
        packing.close()
    return Manifest(content.nodes, chunks, packing.packs)


def _chunk_size(size: int, sizes: Sizes) -> int:
    chunk = _CHUNK
    while size > chunk * _MOST_CHUNKS and chunk < keys.MAX_CHUNK:
        chunk *= 2
    return min(chunk, sizes.pack)


class _Packing:
    """Fills packs with the chunks of files, and remembers where each one is."""

    def __init__(self, flight: _Flight, upload: Upload, chunk: int, held: Stock, patience: Patience) -> None:
        self._flight, self._upload, self._chunk, self._held = flight, upload, chunk, held
        self.packs: list[Pack] = []
        """Those that hold what is new, and those that hold what is held."""
        self._indexes: dict[str, int] = {}
        """Of those that hold what is held, by name."""
        self._places: dict[str, Chunk] = {}
        """By its hash, each chunk that stands in a pack."""
        self._filling: _Filling | None = None
        self._patience = patience
        self._window = bytearray()
        """What is searched."""

    def add(self, content: Content, index: int) -> Sequence[Chunk]:
        """The file at `index`."""
        with content.open(index) as reader:
            node = content.nodes[index]
            return self._file(reader, node.size, self._held.trails.get(node.path, ()))

    def close(self) -> None:
        """Send what is left, and wait until all has arrived."""
        if self._filling is not None:
            self._send(self._filling)
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
                for begin, until in cuts(edges, start, end, self._chunk):
                    self._add_chunk(chunks, reader, begin, until - begin)
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
        with memoryview(filling.buffer) as whole, whole[filling.length :][:most] as room:
            reader.read_into(at, room)
            if most >= MIN_HOLE and _is_zero(room):
                _add_hole(chunks, most)
                return most
            length = trail.guess(room, rest)
            digest = blake3(room[:length]).hexdigest()
            if digest not in self._places and digest not in self._held.chunks:
                found = self._look_on(trail, room, read, rest)
                if found is not None:
                    length = found
                    digest = blake3(room[:length]).hexdigest()
            head = bytes(room[:HEAD])[:length]
        chunks.append(self._placed(filling, digest, length, head))
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

    def _add_chunk(self, chunks: list[Chunk], reader: Reader, at: int, length: int) -> None:
        filling = self._room(length)
        with memoryview(filling.buffer) as whole, whole[filling.length :][:length] as room:
            reader.read_into(at, room)
            if length >= MIN_HOLE and _is_zero(room):
                _add_hole(chunks, length)
                return
            digest, head = blake3(room).hexdigest(), bytes(room[:HEAD])
        chunks.append(self._placed(filling, digest, length, head))

    def _placed(self, filling: _Filling, digest: str, length: int, head: bytes) -> Chunk:
        """Where what has just been read into the pack stands: where it stood before, or there."""
        chunk = self._places.get(digest)
        if chunk is None:
            place = self._held_place(digest) or self._keep(filling, digest, length)
            chunk = self._places[digest] = Chunk(*place, length, digest, head)
        return chunk

    def _held_place(self, digest: str) -> tuple[int, int] | None:
        held = self._held.chunks.get(digest)
        if held is None:
            return None
        index = self._indexes.get(held.pack.name)
        if index is None:
            index = self._indexes[held.pack.name] = self._begin(held.pack)
        return index, held.offset

    def _keep(self, filling: _Filling, digest: str, length: int) -> tuple[int, int]:
        if filling.index is None:
            filling.index = self._begin(_UNNAMED)
        place = filling.index, filling.length
        filling.length += length
        filling.digests.update(bytes.fromhex(digest))
        return place

    def _begin(self, pack: Pack) -> int:
        self.packs.append(pack)
        return len(self.packs) - 1

    def _room(self, length: int) -> _Filling:
        """The pack that is being filled; a new one, if this has no room for so much."""
        filling = self._filling
        if filling is not None and len(filling.buffer) - filling.length >= length:
            return filling
        if filling is not None:
            self._send(filling)
        self._filling = filling = _Filling(self._flight.buffer())
        return filling

    def _send(self, filling: _Filling) -> None:
        if filling.index is None:
            return
        name = keys.object_name(*self._upload, filling.digests.hexdigest())
        self.packs[filling.index] = Pack(name, filling.length)
        self._flight.send(name, filling.buffer, filling.length)


@dataclasses.dataclass
class _Filling:
    """A pack that isn't full yet."""

    buffer: Buffer
    length: int = 0
    index: int | None = None
    """Its place in the list of packs, once something is in it."""
    digests: blake3 = dataclasses.field(default_factory=blake3)
    """Hash of the hashes of its chunks: it tells packs of one upload apart, without hashing every byte again."""


_UNNAMED: Final = Pack("", 0)


def _tells_all(edges: Sequence[int], size: int) -> bool:
    """Whether the format says where to cut; not where most of the file is one part, as a `.keras` is one HDF5 file."""
    return bool(edges) and 2 * max(end - start for start, end in itertools.pairwise([0, *edges, size])) <= size


def _read(reader: Reader, at: int, length: int) -> bytes:
    found = bytearray(length)
    reader.read_into(at, memoryview(found))
    return bytes(found)


def _is_zero(data: memoryview) -> bool:
    return all(_ZEROS.startswith(data[at : at + MIN_HOLE]) for at in range(0, len(data), MIN_HOLE))


def _add_hole(chunks: list[Chunk], length: int) -> None:
    if length and chunks and chunks[-1].is_hole:
        chunks[-1] = Chunk.hole(chunks[-1].length + length)
    elif length:
        chunks.append(Chunk.hole(length))


class _GivenUpError(Exception):
    """Ends a thread whose pack nobody wants any more."""


class _Flight:
    """The packs on their way, and the memory for all: for use in a `with`, whose end waits for them."""

    def __init__(self, calls: Calls, sizes: Sizes, chunk: int) -> None:
        most = max(1, min(width.most_at(calls.backend), sizes.memory // chunk - 1))
        self._width = Width(calls.seams.clock, min(_START, most), most)
        self._calls = calls.beside(self._check, self._width.throttled, lambda: self._width.now)
        self._clock, self._sizes = calls.seams.clock, sizes
        self._buffers = Buffers(sizes.memory)
        self._pool = calls.seams.pool(most, "waypost-pack")
        self._flying: dict[Future[float], int] = {}
        self._given_up = False
        self._progress = current()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._given_up = kind is not None
        self._pool.shutdown()
        self._buffers.close()  # else it would wait for the garbage collector, for `_calls` leads back here

    def buffer(self) -> Buffer:
        """An empty pack; waits until there is memory for it. Raises what sending the others raises, StorageError."""
        patience = self._calls.patience(self._sizes.memory)
        while True:
            size = min(self._sizes.pack, self._sizes.memory // (self._width.now + 1))
            if (buffer := self._buffers.take(size)) is not None:
                return buffer
            if self._flying:
                self._land()
            elif not patience.pause():
                raise StorageError(
                    "write a pack to",
                    self._calls.backend.uri,
                    f"requests that were given up still hold all the memory for packs ({patience.spent})",
                )

    def send(self, name: str, buffer: Buffer, length: int) -> None:
        """Send a pack beside the caller. Raises what sending the others raises."""
        while len(self._flying) >= self._width.now:
            self._land()
        self._flying[self._pool.submit(self._put, name, buffer, length)] = length

    def finish(self) -> None:
        """Wait until all has arrived. Raises what sending raises."""
        while self._flying:
            self._land()

    def _land(self) -> None:
        """Wait until one has arrived, or a while."""
        for future in wait(self._flying, EVERY / 2, FIRST_COMPLETED).done:
            length = self._flying.pop(future)
            if future.result() >= _SLOW:
                self._width.landed(length)
            if self._progress is not None:
                self._progress.add(length)
        if self._progress is not None:
            self._progress.tell()

    def _put(self, name: str, buffer: Buffer, length: int) -> float:
        """Returns the seconds it took."""
        began = self._clock()
        view = memoryview(buffer)[:length]
        self._calls.put("write a pack to", keys.PACKS + name, view)
        del view
        self._buffers.give_back(buffer)
        return self._clock() - began

    def _check(self) -> None:
        if self._given_up:
            raise _GivenUpError
