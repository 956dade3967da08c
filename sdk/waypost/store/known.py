"""What the checkpoints of this fence hold: what a save needn't send again, and may name again.

Rule 5 is why it is this and nothing more. A pack may be named again only if a checkpoint names it that this very fence
has committed, and that is live right before the entry: of those the writer knows for certain that nobody condemned
them. That a pack exists is never a reason, and neither is that an earlier attempt's checkpoint names it; so an
attempt's first save sends everything.

Not all that may be named is: of a pack that is mostly garbage, the rest is sent anew, so that what is pruned frees its
space (at most half of each pack is in vain for its newest checkpoint), and so is what would make a restore read many
small ranges.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from waypost.store.keys import KIB, MIB
from waypost.store.manifest import INLINE, Chunk, Manifest
from waypost.store.packing import Held, Stock
from waypost.store.sequences import Sequences
from waypost.store.settled import Identity
from waypost.store.trails import Mark, followable

_REMEMBERED: Final = 4
"""The newest checkpoints of this fence that are known: what stands only in older ones is sent again."""
_GAP: Final = 256 * KIB
"""Chunks that are no farther apart are one range to read."""
_FEWEST_RANGES: Final = 16
_MIB_PER_RANGE: Final = 8
"""A restore of a GiB shall take at most 128 ranges."""


@dataclasses.dataclass(frozen=True)
class Saved:
    """What one entry names."""

    names: frozenset[str]
    """Of packs and of the manifest."""
    chunks: Mapping[str, Held]
    """By their hashes, those that are worth being named again."""
    files: Mapping[Identity, Sequence[Chunk]] = dataclasses.field(default_factory=dict)
    """Of settled files, what they consist of."""
    trails: Mapping[bytes, Sequence[Mark]] = dataclasses.field(default_factory=dict)
    """By the path of a file, how it was cut; empty where that is better forgotten."""


class Known:
    """The live checkpoints that this fence committed."""

    def __init__(self) -> None:
        self._sent: dict[str, Saved] = {}
        """By nonce, what was sent and isn't known to stand."""
        self._standing: collections.OrderedDict[int, Saved] = collections.OrderedDict()

    def sending(self, nonce: str, saved: Saved) -> None:
        """An entry with this nonce is about to be sent."""
        self._sent[nonce] = saved

    def stands(self, sequence: int, nonce: str, *, newest: bool = True) -> None:
        """The entry with this nonce stands. `newest`: and no other that was sent can come to stand any more."""
        saved = self._sent.pop(nonce, None)
        if newest:
            self._sent.clear()
        if saved is not None and saved.names:
            self._standing[sequence] = saved

    def follow(self, live: Sequences) -> None:
        """The log says that these are live: nothing else may be named."""
        for sequence in [sequence for sequence in self._standing if sequence not in live]:
            del self._standing[sequence]
        while len(self._standing) > _REMEMBERED:
            self._standing.popitem(last=False)

    @property
    def names(self) -> frozenset[str]:
        """The objects that may be named."""
        return frozenset().union(*(saved.names for saved in self._standing.values()))

    @property
    def stock(self) -> Stock:
        """The chunks that need not be sent, and how each file was cut the last time that it was cut at all."""
        chunks: dict[str, Held] = {}
        trails: dict[bytes, Sequence[Mark]] = {}
        for saved in self._standing.values():
            chunks.update(saved.chunks)
            trails.update(saved.trails)
        return Stock(chunks, trails)

    @property
    def files(self) -> Mapping[Identity, Sequence[Chunk]]:
        """Of files that needn't be read while they have these identities, the chunks, by their hashes and lengths."""
        found: dict[Identity, Sequence[Chunk]] = {}
        for saved in self._standing.values():
            found.update(saved.files)
        return found


def worth_naming(packed: Manifest) -> Mapping[str, Held]:
    """The chunks of a checkpoint that a later one should name: those in packs that are of use as a whole."""
    used: dict[int, dict[int, Chunk]] = {}
    for row in packed.chunks:
        for chunk in row:
            if not chunk.is_hole and packed.packs[chunk.pack].name != INLINE:
                used.setdefault(chunk.pack, {})[chunk.offset] = chunk
    shapes = [_Shape.of(pack, chunks.values()) for pack, chunks in used.items()]
    kept = [shape for shape in shapes if 2 * shape.length >= packed.packs[shape.pack].size]
    allowed = max(_FEWEST_RANGES, sum(shape.length for shape in shapes) // (_MIB_PER_RANGE * MIB))
    kept.sort(key=lambda shape: shape.length / shape.ranges, reverse=True)
    ranges = sum(shape.ranges for shape in kept)
    while ranges > allowed and kept and kept[-1].ranges > 1:
        ranges -= kept.pop().ranges - 1  # sent anew it is one range, or a part of one
    return {
        chunk.digest: Held(packed.packs[shape.pack], chunk.offset)
        for shape in kept
        for chunk in used[shape.pack].values()
    }


@dataclasses.dataclass(frozen=True, slots=True)
class _Shape:
    """How much of a pack is of use, and in how many pieces."""

    pack: int
    length: int
    ranges: int

    @classmethod
    def of(cls, pack: int, chunks: Collection[Chunk]) -> _Shape:
        length = ranges = 0
        end = -_GAP - 1
        for chunk in sorted(chunks, key=lambda chunk: chunk.offset):
            ranges += chunk.offset - end > _GAP
            length += chunk.length
            end = max(end, chunk.offset + chunk.length)
        return cls(pack, length, ranges)


def trails_of(packed: Manifest) -> Mapping[bytes, Sequence[Mark]]:
    """By the path of each file of several chunks, how it was cut; nothing for one that should be cut anew.

    It has to be named all the same: how an earlier save cut it is worth no more.
    """
    found = {}
    for node, row in zip(packed.nodes, packed.chunks, strict=True):
        marks = [Mark(chunk.head, chunk.length, chunk.digest) for chunk in row if chunk.head]
        if len(marks) > 1:
            found[node.path] = marks if followable(marks) else []
    return found
