"""What is restored comes out of packs, each chunk verified, in bounded memory.

Of a pack only what is wanted is fetched. Bytes that arrive wrong are read again before they are called damaged.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from blake3 import blake3

from waypost.errors import ConfigurationError
from waypost.log import logger
from waypost.store import keys, manifest
from waypost.store.calls import Calls
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint, ManifestObject
from waypost.store.manifest import Chunk, Manifest, Pack

_LOOKS: Final = 3
"""How often bytes are read that arrive with a wrong hash, before they are called damaged."""


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Verified bytes of one file."""

    node: int
    offset: int
    data: memoryview


def read_manifest(calls: Calls, entry: Checkpoint) -> Manifest:
    """The manifest of a checkpoint, verified. Raises DamagedError, StorageError."""
    if entry.manifest is None:
        raise DamagedError("its data were removed: it is pruned")
    found = load_manifest(calls, entry.manifest)
    size = sum(node.size for node in found.nodes)
    if size != entry.size:
        raise DamagedError(f"its manifest lists {size} bytes, its entry says {entry.size}")
    return found


def load_manifest(calls: Calls, reference: Mapping[str, Any] | ManifestObject) -> Manifest:
    """The manifest that a record holds or names, verified. Raises DamagedError, StorageError."""
    if isinstance(reference, ManifestObject):
        return manifest.decode(_read_manifest_object(calls, reference))
    return manifest.from_json(reference)


def _read_manifest_object(calls: Calls, reference: ManifestObject) -> bytes:
    raw = calls.get("read a manifest of", keys.MANIFESTS + reference.name, reference.size)
    if raw is None:
        raise DamagedError(f"its manifest {reference.name} is missing")
    if len(raw) != reference.size or blake3(raw).hexdigest() != reference.digest:
        raise DamagedError(f"its manifest {reference.name} doesn't have the content that was saved")
    return raw


def object_keys(calls: Calls, entry: Checkpoint) -> frozenset[str]:
    """Keys of the packs and the manifest that a checkpoint names; none for a stub. Raises as `read_manifest`."""
    match entry.manifest:
        case None:
            return frozenset()
        case ManifestObject() as reference:
            packs = manifest.pack_names(manifest.parse(_read_manifest_object(calls, reference)))
            return frozenset({keys.MANIFESTS + reference.name, *(keys.PACKS + name for name in packs)})
        case record:
            return frozenset(keys.PACKS + name for name in manifest.pack_names(record))


def read_pieces(calls: Calls, entry: Checkpoint, found: Manifest) -> Iterator[Piece]:
    """The bytes of all files but their holes, pack by pack, each chunk verified. Raises DamagedError, StorageError.

    Of a pack only what these files need is fetched, by as few requests as that takes.
    """
    wanted: dict[int, list[_Wanted]] = {}
    for node, chunks in enumerate(found.chunks):
        offset = 0
        for chunk in chunks:
            if not chunk.is_hole:
                wanted.setdefault(chunk.pack, []).append(_Wanted(chunk, node, offset))
            offset += chunk.length
    for index in sorted(wanted):
        pack = found.packs[index]
        for run in _runs(wanted[index]):
            start, end = run[0].chunk.offset, max(part.end for part in run)
            data = _read_whole(calls, entry, pack, start, end - start, [part.chunk for part in run])
            for part in run:
                yield Piece(part.node, part.offset, data[part.chunk.offset - start : part.end - start])


def read_file(calls: Calls, entry: Checkpoint, found: Manifest) -> bytes:
    """The content of a checkpoint whose one node with content is a file.

    Raises ConfigurationError when the memory of this machine couldn't hold it (a few bytes of an entry may declare an
    enormous hole), DamagedError, StorageError.
    """
    size = sum(node.size for node in found.nodes)
    if size > _memory():
        raise ConfigurationError(
            f"can't read checkpoint {entry.sequence} of {calls.backend.uri} as bytes: it has {size} of them, more than "
            "this machine has memory; restore it to a folder"
        )
    content = bytearray(size)
    for piece in read_pieces(calls, entry, found):
        content[piece.offset : piece.offset + len(piece.data)] = piece.data
    return bytes(content)


def _memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_GAP: Final = 256 * keys.KIB
"""Fetching so many bytes that nobody needs is as quick as another request."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Wanted:
    """A chunk, and where in which file it goes."""

    chunk: Chunk
    node: int
    offset: int

    @property
    def end(self) -> int:
        return self.chunk.offset + self.chunk.length


def _runs(parts: Iterable[_Wanted]) -> Iterator[Sequence[_Wanted]]:
    """The chunks of one pack, by their place in it, in groups worth one request each."""
    run: list[_Wanted] = []
    end = 0
    for part in sorted(parts, key=lambda part: part.chunk.offset):
        if run and part.chunk.offset > end + _GAP:
            yield run
            run = []
        run.append(part)
        end = max(end, part.end)
    if run:
        yield run


def _read_whole(
    calls: Calls, entry: Checkpoint, pack: Pack, start: int, length: int, chunks: Sequence[Chunk]
) -> memoryview:
    """A part of a pack, every chunk of it verified. What arrives wrong is read again: it may be whole in the store."""
    for look in range(1, _LOOKS + 1):
        data = memoryview(_read_pack(calls, entry, pack, start, length))
        wrong = _wrong(data, start, length, chunks)
        if wrong is None:
            break
        if look == _LOOKS:
            raise DamagedError(f"its pack {pack.name} {wrong}")
        logger.warning("a pack of checkpoint %d of %s %s; reading it again", entry.sequence, calls.backend.uri, wrong)
    return data


def _wrong(data: memoryview, start: int, length: int, chunks: Sequence[Chunk]) -> str | None:
    if len(data) != length:
        return "is truncated"
    for chunk in chunks:
        if blake3(data[chunk.offset - start :][: chunk.length]).hexdigest() != chunk.digest:
            return "doesn't have the content that was saved"
    return None


def _read_pack(calls: Calls, entry: Checkpoint, pack: Pack, start: int, length: int) -> bytes:
    if pack.name == manifest.INLINE:
        if entry.data is None or len(entry.data) != pack.size:
            raise DamagedError("its entry doesn't hold the data that its manifest speaks of")
        return entry.data[start : start + length]
    data = calls.get_range("read a pack of", keys.PACKS + pack.name, start, length)
    if data is None:
        raise DamagedError(f"its pack {pack.name} is missing")
    return data
