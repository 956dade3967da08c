"""What is restored comes out of packs, each chunk verified, in bounded memory, several requests at once.

Of a pack only what is wanted is fetched. Bytes that arrive wrong are read again before they are called damaged.

Bytes go where they belong as they come in, while the processor's cache still holds them, and are hashed on the way; so
what was handed out counts only when all of it has been read. Where they belong to the program's memory, the system may
put them there by itself (`room`). A request that was given up hands out nothing more, and puts nothing in its place
(`Calls.read_range`): its successor may be done, and somebody rely on that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from blake3 import blake3

from waypost.log import logger
from waypost.store import keys, manifest
from waypost.store.calls import Calls
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint, ManifestObject
from waypost.store.flight import fly
from waypost.store.incoming import Incoming, Room, Take, no_room
from waypost.store.manifest import Manifest
from waypost.store.progress import current
from waypost.store.ranges import Request, Span, requests

_LOOKS: Final = 3
"""How often bytes are read that arrive with a wrong hash, before they are called damaged."""


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


def read_pieces(
    calls: Calls,
    entry: Checkpoint,
    found: Manifest,
    take: Take,
    spans: Mapping[int, Sequence[Span]] | None = None,
    room: Room = no_room,
) -> None:
    """Give the bytes of all files but their holes to `take`, or read them right into the memory that `room` names.

    Raises DamagedError, StorageError.

    They are verified when this returns, and not before: what turns out wrong is given once more. Several requests are
    in flight: `take` is called in threads, several at once, in any order; what it raises ends the reading. With `spans`
    (of a file, by its node; ascending, apart from each other) only chunks with a part in them are read. Of a pack only
    what is needed is fetched, by as few requests as that takes. The current transfer (`progress.current`) is told.
    """
    progress = current()
    if progress is not None:
        progress.expect(found.written if spans is None else _length(spans))

    def count(size: int) -> None:
        if progress is not None:
            progress.add(size)
            progress.tell()

    def deal(lane: Calls, request: Request) -> None:
        for look in range(1, _LOOKS + 1):
            # in memory that the program can write to, while it is hashed, nothing is ever found damaged
            place = room if look == 1 else no_room
            wrong = _read(lane, entry, request, functools.partial(Incoming, request, take, place, count))
            if wrong is None:
                return
            what = f"pack {request.pack.name} {wrong}"
            if look < _LOOKS:
                logger.warning("of checkpoint %d of %s %s; reading it again", entry.sequence, calls.backend.uri, what)
        raise DamagedError(f"its {what}")

    fly(calls, lambda longest: requests(found, longest, spans), deal)


def _length(spans: Mapping[int, Sequence[Span]]) -> int:
    return sum(end - start for ascending in spans.values() for start, end in ascending)


def _read(calls: Calls, entry: Checkpoint, request: Request, new: Callable[[], Incoming]) -> str | None:
    """Get a part of a pack; what is wrong with it. It may be whole in the store. Each try begins with a `new` one."""
    pack, start, length = request.pack, request.start, request.length
    incoming = new()
    if pack.name == manifest.INLINE:
        if entry.data is None or len(entry.data) != pack.size:
            raise DamagedError("its entry doesn't hold the data that its manifest speaks of")
        incoming.receive(memoryview(entry.data)[start : start + length])
        return incoming.wrong()

    def begin() -> Incoming:
        nonlocal incoming
        incoming = new()
        return incoming

    if not calls.read_range("read a pack of", keys.PACKS + pack.name, start, length, begin):
        raise DamagedError(f"its pack {pack.name} is missing")
    return incoming.wrong()
