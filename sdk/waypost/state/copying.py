"""Copying host memory as fast as it goes, by several threads, without holding the interpreter up.

Every copy goes through `memmove` by way of ctypes, which lets go of the interpreter's lock; assigning to a slice of a
memoryview doesn't. One core doesn't fill the memory bus of a large machine, two do on a small one: so large copies are
shared among a few threads.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Final

from waypost.store import crew
from waypost.store.keys import MIB

ENOUGH: Final = 32 * MIB
"""Bytes for which another thread pays."""
MOST_THREADS: Final = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """So many bytes from one address to another."""

    target: int
    source: int
    size: int


def copy(blocks: Sequence[Block]) -> None:
    """Copy all blocks; their targets don't overlap. Returns, or raises, only once nobody copies any more."""
    total = sum(block.size for block in blocks)
    threads = max(1, min(MOST_THREADS, crew.cores(), total // ENOUGH))
    crew.work([functools.partial(_copy, share) for share in _shares(blocks, total, threads)])


def _copy(blocks: Sequence[Block]) -> None:
    for block in blocks:
        ctypes.memmove(block.target, block.source, block.size)


def _shares(blocks: Sequence[Block], total: int, threads: int) -> Iterator[Sequence[Block]]:
    """The blocks in as many parts of about the same size; a large block is cut."""
    most = -(-total // threads)
    share: list[Block] = []
    room = most
    for block in blocks:
        at = 0
        while at < block.size:
            size = min(block.size - at, room)
            share.append(Block(block.target + at, block.source + at, size))
            at, room = at + size, room - size
            if not room:
                yield share
                share, room = [], most
    if share or not total:
        yield share
