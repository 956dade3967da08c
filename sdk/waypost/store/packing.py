"""What is saved goes into packs of 16-32 MiB, in bounded memory.

Small files share a pack, large ones are cut into chunks over several. Nothing larger than a pack is ever in memory.
A function of what it is given and nothing else: no state is left behind, so it can do its work in another process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from blake3 import blake3

from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.keys import Upload
from waypost.store.manifest import Chunk, Manifest, Pack
from waypost.store.sources import Content, Data, Hole


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What goes where, in bytes; within the format's bounds every writer may choose."""

    inline: int = keys.MAX_INLINE
    """Content up to this size stands inside the entry."""
    manifest: int = keys.MAX_INLINE
    """Likewise a manifest."""
    pack: int = keys.PACK_TARGET
    """A pack is closed once it holds this much."""


SIZES: Final = Sizes()


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """Where a chunk stands that is in the store already."""

    pack: Pack
    offset: int


NOTHING_HELD: Final[Mapping[str, Held]] = {}


def pack_content(
    content: Content, calls: Calls, upload: Upload, sizes: Sizes = SIZES, held: Mapping[str, Held] = NOTHING_HELD
) -> Manifest:
    """Upload the content, in packs that are named as of `upload`.

    The packs of the manifest are in the store when this returns. Raises StorageError, OSError when the content can't
    be read.
    """
    sent: set[str] = set()

    def put(data: memoryview) -> str:
        name = keys.object_name(*upload, blake3(data).hexdigest())
        if name not in sent:  # twice the same content in one save is one pack
            calls.put("write a pack to", keys.PACKS + name, data)
            sent.add(name)
        return name

    return fill(content, put, sizes.pack)


def fill(content: Content, put: Callable[[memoryview], str], target: int) -> Manifest:
    """Cut the content into packs of `target` bytes, or a little more; `put` gives each its name."""
    packer = _Packer(put, target)
    chunks = [packer.add(content.pieces(index)) for index in range(len(content.nodes))]
    return Manifest(content.nodes, chunks, packer.close())


class _Packer:
    """Fills packs with pieces of files, and remembers where each piece went."""

    def __init__(self, put: Callable[[memoryview], str], target: int) -> None:
        self._put, self._target = put, target
        self._packs: list[Pack] = []
        self._buffer = bytearray()

    def add(self, pieces: Iterator[Data | Hole]) -> Sequence[Chunk]:
        chunks = []
        for piece in pieces:
            if isinstance(piece, Hole):
                chunks.append(Chunk.hole(len(piece)))
                continue
            place = Chunk(len(self._packs), len(self._buffer), len(piece), blake3(piece).hexdigest())
            self._buffer += piece
            chunks.append(place)
            if len(self._buffer) >= self._target:
                self._flush()
        return chunks

    def close(self) -> Sequence[Pack]:
        if self._buffer:
            self._flush()
        return self._packs

    def _flush(self) -> None:
        view = memoryview(self._buffer)
        self._packs.append(Pack(self._put(view), len(view)))
        self._buffer = bytearray()  # a new one: a request that was given up may still hold the old one
