"""Which bytes of which packs a restore needs, in requests that are worth making. Pure.

A request is as long as it pays: neighbours in a pack travel together, also across a small gap that nobody needs, for
another request costs more than that. And it is no longer than asked: what is in flight is held in memory.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from waypost.store.keys import KIB
from waypost.store.manifest import Chunk, Manifest, Pack

Span = tuple[int, int]
"""Bytes of a file, from the first up to the second."""

_GAP: Final = 256 * KIB
"""Fetching so many bytes that nobody needs is as quick as another request."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """A chunk, and where in which file it goes."""

    chunk: Chunk
    node: int
    offset: int

    @property
    def end(self) -> int:
        """Where it ends in its pack."""
        return self.chunk.offset + self.chunk.length


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A part of a pack, and the chunks in it that are wanted, by their place."""

    pack: Pack
    start: int
    length: int
    parts: Sequence[Wanted]


def requests(
    found: Manifest, longest: Callable[[], int], spans: Mapping[int, Sequence[Span]] | None = None
) -> Iterator[Request]:
    """What fetches the files' bytes but their holes; or only `spans`, by node. Each chunk is fetched whole.

    `spans` of a node ascend and don't overlap. `longest` is asked at each request how many bytes it may have, give or
    take a quarter. A longer chunk is a request of its own, and so are chunks that overlap: all of them in one.
    """
    wanted: dict[int, list[Wanted]] = {}
    for node, chunks in enumerate(found.chunks):
        if spans is not None and node not in spans:
            continue
        offset = 0
        for chunk in chunks:
            if not chunk.is_hole and (spans is None or _meets(offset, offset + chunk.length, spans[node])):
                wanted.setdefault(chunk.pack, []).append(Wanted(chunk, node, offset))
            offset += chunk.length
    for index in sorted(wanted):
        yield from _of_pack(found.packs[index], wanted.pop(index), longest)


def _meets(start: int, end: int, spans: Sequence[Span]) -> bool:
    index = bisect.bisect_right(spans, start, key=lambda span: span[1])
    return index < len(spans) and spans[index][0] < end


def _of_pack(pack: Pack, parts: list[Wanted], longest: Callable[[], int]) -> Iterator[Request]:
    parts.sort(key=lambda part: part.chunk.offset)
    run: list[Wanted] = []
    start = end = most = 0
    for part in parts:
        first = part.chunk.offset
        if run and (first > end + _GAP or (first >= end and part.end - start > most)):
            yield Request(pack, start, end - start, run)
            run = []
        if not run:
            most = longest()
            start, end, most = first, first, most + most // 4  # a small rest travels along
        run.append(part)
        end = max(end, part.end)
    if run:
        yield Request(pack, start, end - start, run)
