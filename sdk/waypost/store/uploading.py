"""What one fence uploads, and what its entries may name of it.

A pack's name is used by one upload only (rule 5): the names that a CHECKPOINT may carry are those that were uploaded
for it under this process's fence, and those that a checkpoint carries which this fence committed and which is live
(`waypost.store.known`). Several ranks name nothing again: rank 0 couldn't upload another rank's data anew.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from blake3 import blake3

from waypost.errors import ConfigurationError
from waypost.store import keys, manifest
from waypost.store.calls import Calls
from waypost.store.entries import ManifestObject
from waypost.store.keys import Upload
from waypost.store.known import Known, Saved, trails_of, worth_naming
from waypost.store.manifest import Chunk, Manifest, Pack
from waypost.store.packing import Held, Stock, pack_content
from waypost.store.progress import moving
from waypost.store.sequences import Sequences
from waypost.store.settled import Identity, Settled
from waypost.store.sizes import SIZES, Sizes
from waypost.store.sources import Content, Hole
from waypost.store.trails import Mark


@dataclasses.dataclass(frozen=True)
class Uploaded:
    """A save whose bytes are in the store, or small enough to stand in its entry: what is missing is the entry."""

    manifest: Mapping[str, Any] | ManifestObject
    data: bytes | None
    size: int
    objects: frozenset[str]
    """Names of the packs and the manifest that the entry will name."""
    chunks: Mapping[str, Held] = dataclasses.field(default_factory=dict)
    """Those of them that a later save should name again."""
    files: Mapping[Identity, Sequence[Chunk]] = dataclasses.field(default_factory=dict)
    """Of settled files, what they consist of."""
    trails: Mapping[bytes, Sequence[Mark]] = dataclasses.field(default_factory=dict)
    """By the path of a file, how it was cut."""


class Packer(Protocol):
    """What `packing.pack_content` does, by whatever means."""

    def __call__(self, content: Content, calls: Calls, upload: Upload, sizes: Sizes, held: Stock, /) -> Manifest:
        """Upload what isn't held of the content, and say in which packs it is: they are in the store then."""


class Uploads:
    """Everything that one fence uploads; every upload gets names of its own."""

    def __init__(self, calls: Calls, fence: int, sizes: Sizes = SIZES, ordinal: int = 0, ranks: int = 1) -> None:
        """Ordinals go on from `ordinal`, by steps of `ranks`: several under one fence leave remainders of their own."""
        self._calls, self._fence, self._sizes = calls, fence, sizes
        self._ordinal, self._ranks = ordinal, ranks
        self._unnamed: set[str] = set()
        self._known = Known()
        self.settled = Settled()
        """Tells which files need not be read; may be replaced."""
        self._identities: Mapping[int, Identity] = {}
        """Of the settled files in what was packed last."""
        self.packer: Packer = pack_content
        """Does the work of `pack`; may be replaced by what has it done elsewhere."""
        self.sent = 0
        """Bytes of contents that were sent so far, by this process and the other ranks whose parts it has taken."""
        self._taken: dict[int, int] = {}
        """Of each other rank the last upload that was taken for an entry."""

    def upload(self, content: Content) -> Uploaded:
        """Upload what doesn't fit into an entry; what was uploaded before and not named is given up.

        Raises StorageError, OSError when the source can't be read, ConfigurationError for too many files, and
        SupersededError when what was read in place may have changed meanwhile, its caller being interrupted.
        """
        if content.size <= self._sizes.inline:
            small = _inline(content, self._sizes)
            if small is not None:
                content.require_kept()
                self._begin()
                self.sent += len(small.data or b"")
                return small
        return self.describe(self.pack(content))

    def pack(self, content: Content) -> Manifest:
        """Upload the content, however small; what was uploaded before and not named is given up. Raises as `upload`."""
        self._begin()
        upload, stock = (self._fence, self._ordinal), self._known.stock
        held = stock.chunks
        self._identities = self.settled.identities(content) if self._ranks == 1 else {}
        kept = self._unchanged(held)
        changed = [index for index in range(len(content.nodes)) if index not in kept]
        rest = dataclasses.replace(
            content,
            nodes=[content.nodes[index] for index in changed],
            places=[content.places[index] for index in changed],
        )
        sizes = dataclasses.replace(self._sizes, whole=content.size)
        with moving("saving", "are in the store", at_most=True) as progress:
            progress.expect(sum(node.size for node in rest.nodes))
            packed = self.packer(rest, self._calls, upload, sizes, stock)
        content.require_kept()
        fresh = [pack for pack in packed.packs if keys.upload_of(pack.name) == upload]
        self._unnamed |= {pack.name for pack in fresh}
        self.sent += sum(pack.size for pack in fresh)
        rows = dict(zip(changed, packed.chunks, strict=True))
        packs, indexes = list(packed.packs), {pack.name: index for index, pack in enumerate(packed.packs)}
        for file, row in kept.items():
            rows[file] = [_again(chunk, held, packs, indexes) for chunk in row]
        return Manifest(content.nodes, [rows[index] for index in range(len(content.nodes))], packs)

    def _unchanged(self, held: Mapping[str, Held]) -> Mapping[int, Sequence[Chunk]]:
        """By index, the chunks of files that need not be read: all that they consist of may be named again."""
        known = self._known.files
        found = ((index, known.get(identity)) for index, identity in self._identities.items())
        return {
            index: row
            for index, row in found
            if row is not None and all(chunk.is_hole or chunk.digest in held for chunk in row)
        }

    def describe(self, packed: Manifest) -> Uploaded:
        """What an entry says of packs that are in the store; uploads the manifest if it is too large for an entry."""
        size = sum(node.size for node in packed.nodes)
        record = packed.to_json()
        raw = _to_bytes(record)
        names = {pack.name for pack in packed.packs}
        chunks, trails = (worth_naming(packed), trails_of(packed)) if self._ranks == 1 else ({}, {})
        files = {identity: packed.chunks[index] for index, identity in self._identities.items()}
        if len(raw) <= self._sizes.manifest:
            return Uploaded(record, None, size, frozenset(names), chunks, files, trails)
        reference = self._put_manifest(raw)
        return Uploaded(reference, None, size, frozenset({*names, reference.name}), chunks, files, trails)

    def adopt(self, packed: Manifest, rank: int) -> bool:
        """Take what another rank has uploaded for the entry that comes next: whether it may be named there.

        It may if it is of this fence, of that rank, and of an upload later than all that were taken before.
        """
        names = {pack.name for pack in packed.packs}
        latest = self._taken.get(rank, 0)
        for name in names:
            upload = keys.upload_of(name)  # None for what stands in an entry
            if upload is None or upload[0] != self._fence:
                return False
            if upload[1] % self._ranks != rank or upload[1] <= latest:
                return False
            self._taken[rank] = max(upload[1], self._taken.get(rank, 0))
        self._unnamed |= names
        self.sent += sum(pack.size for pack in packed.packs)
        return True

    def _begin(self) -> None:
        self._ordinal += self._ranks
        self._unnamed.clear()

    def follow(self, live: Sequences, adopted: Iterable[tuple[int, str]] = ()) -> None:
        """These checkpoints are live; `adopted` are sequence and nonce of earlier entries of ours that stand after all.

        To be asked before every upload and before every PUT of an entry: it decides what may be named again.
        """
        for sequence, nonce in adopted:
            self._known.stands(sequence, nonce, newest=False)
        self._known.follow(live)

    def may_name(self, uploaded: Uploaded) -> bool:
        """Whether a CHECKPOINT may name these objects now (rule 5). To be asked before every PUT of the entry.

        It may name what this fence uploaded and no entry ever named, and what a live checkpoint of this fence names.
        """
        return uploaded.objects <= self._unnamed | self._known.names

    def sending(self, uploaded: Uploaded, nonce: str) -> None:
        """A CHECKPOINT naming these objects is about to be sent, and may stand from then on."""
        self._known.sending(nonce, Saved(uploaded.objects, uploaded.chunks, uploaded.files, uploaded.trails))

    def named(self, uploaded: Uploaded, sequence: int, nonce: str) -> None:
        """A CHECKPOINT naming these objects stands."""
        self._unnamed -= uploaded.objects
        self._known.stands(sequence, nonce)

    def _put_manifest(self, raw: bytes) -> ManifestObject:
        if len(raw) > keys.MAX_MANIFEST:
            raise ConfigurationError(
                f"can't save so many files: their list alone takes {len(raw) / keys.MIB:.0f} MiB, more than "
                f"{keys.MAX_MANIFEST // keys.MIB}. Pack them into archives"
            )
        digest = blake3(raw).hexdigest()
        name = keys.object_name(self._fence, self._ordinal, digest)
        self._calls.put("write a manifest to", keys.MANIFESTS + name, raw)
        self._unnamed.add(name)
        return ManifestObject(name=name, size=len(raw), digest=digest)


def _again(chunk: Chunk, held: Mapping[str, Held], packs: list[Pack], indexes: dict[str, int]) -> Chunk:
    """The same chunk where it stands among `packs`; its pack is added if need be."""
    if chunk.is_hole:
        return chunk
    place = held[chunk.digest]
    if place.pack.name not in indexes:
        indexes[place.pack.name] = len(packs)
        packs.append(place.pack)
    return dataclasses.replace(chunk, pack=indexes[place.pack.name], offset=place.offset)


def _inline(content: Content, sizes: Sizes) -> Uploaded | None:
    """The save as it stands in an entry; None when its list of files is too long for one."""
    data, chunks = bytearray(), []
    for index in range(len(content.nodes)):
        row = []
        for piece in content.pieces(index):
            if isinstance(piece, Hole):
                row.append(Chunk.hole(len(piece)))
            else:
                row.append(Chunk(0, len(data), len(piece), blake3(piece).hexdigest()))
                data += piece
        chunks.append(row)
    packs = [Pack(manifest.INLINE, len(data))] if data else []
    record = Manifest(content.nodes, chunks, packs).to_json()
    if len(_to_bytes(record)) > sizes.manifest:
        return None
    return Uploaded(record, bytes(data), content.size, frozenset())


def _to_bytes(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode("ascii")
