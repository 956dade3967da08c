"""What is restored comes out of packs, each chunk verified, in bounded memory, several requests at once.

Of a pack only what is wanted is fetched. Bytes that arrive wrong are read again before they are called damaged.

A request reads into memory of its own, and what is verified is taken from there: one that was given up may still
be reading when its successor is done, and must not write into what somebody else already relies on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from blake3 import blake3

from waypost.log import logger
from waypost.store import keys, manifest
from waypost.store.calls import Calls
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint, ManifestObject
from waypost.store.flight import fly
from waypost.store.manifest import Manifest
from waypost.store.ranges import Request, Span, requests

_LOOKS: Final = 3
"""How often bytes are read that arrive with a wrong hash, before they are called damaged."""


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Verified bytes of one file. They are `take`'s only until it returns."""

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


Take = Callable[[Piece], None]


def read_pieces(
    calls: Calls, entry: Checkpoint, found: Manifest, take: Take, spans: Mapping[int, Sequence[Span]] | None = None
) -> None:
    """Give the bytes of all files but their holes to `take`, each chunk verified. Raises DamagedError, StorageError.

    Several requests are in flight: `take` is called in threads, several at once, in any order; it may keep nothing of
    what it is given, and what it raises ends the reading. With `spans` (of a file, by its node; ascending, apart from
    each other) only those chunks are read that have a part in them. Of a pack only what is needed is fetched, by as few
    requests as that takes.
    """

    def deal(lane: Calls, request: Request) -> None:
        data = _read_whole(lane, entry, request)
        for piece in _pieces(request, data):
            take(piece)

    fly(calls, lambda longest: requests(found, longest, spans), deal)


def _pieces(request: Request, data: memoryview) -> Iterator[Piece]:
    """What of these bytes goes where, in as few pieces as that takes."""
    node = first = start = end = 0
    for part in request.parts:
        begin = part.chunk.offset - request.start
        if begin != end or part.node != node or part.offset - first != begin - start:
            if end > start:
                yield Piece(node, first, data[start:end])
            node, first, start = part.node, part.offset, begin
        end = begin + part.chunk.length
    yield Piece(node, first, data[start:end])


def _read_whole(calls: Calls, entry: Checkpoint, request: Request) -> memoryview:
    """A part of a pack, every chunk of it verified. What arrives wrong is read again: it may be whole in the store."""
    name = request.pack.name
    for look in range(1, _LOOKS + 1):
        data = memoryview(_read_pack(calls, entry, request))
        wrong = _wrong(data, request)
        if wrong is None:
            break
        if look == _LOOKS:
            raise DamagedError(f"its pack {name} {wrong}")
        logger.warning("a pack of checkpoint %d of %s %s; reading it again", entry.sequence, calls.backend.uri, wrong)
    return data


def _wrong(data: memoryview, request: Request) -> str | None:
    if len(data) != request.length:
        return "is truncated"
    for chunk in {part.chunk for part in request.parts}:  # the same one may go to several places
        start = chunk.offset - request.start
        if blake3(data[start : start + chunk.length]).hexdigest() != chunk.digest:
            return "doesn't have the content that was saved"
    return None


def _read_pack(calls: Calls, entry: Checkpoint, request: Request) -> bytes | memoryview:
    pack, start, length = request.pack, request.start, request.length
    if pack.name == manifest.INLINE:
        if entry.data is None or len(entry.data) != pack.size:
            raise DamagedError("its entry doesn't hold the data that its manifest speaks of")
        return memoryview(entry.data)[start : start + length]
    data = calls.get_range("read a pack of", keys.PACKS + pack.name, start, length)
    if data is None:
        raise DamagedError(f"its pack {pack.name} is missing")
    return data
