"""Restoring into memory: verified bytes go straight to where the program wants them, with no file in between."""

from __future__ import annotations

import bisect
import dataclasses
import io
import os
from collections.abc import Iterator, Sequence
from typing import Final

from waypost.errors import ConfigurationError
from waypost.store.calls import Calls
from waypost.store.entries import Checkpoint
from waypost.store.fetching import read_pieces
from waypost.store.incoming import Piece
from waypost.store.keys import KIB, MIB
from waypost.store.manifest import Manifest
from waypost.store.ranges import Span

_ZEROS: Final = bytes(MIB)
_WORTH: Final = 64 * KIB
"""Bytes that are read to their place by themselves; for fewer it's quicker to read on, and to copy."""


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Memory that gets a part of one file: as many bytes as it has, from `offset` on."""

    node: int
    """Which file, by its place in the manifest."""
    offset: int
    memory: memoryview
    """Contiguous, writable, of bytes."""

    @property
    def end(self) -> int:
        """Where the part ends in its file."""
        return self.offset + len(self.memory)


def read_into(calls: Calls, entry: Checkpoint, found: Manifest, targets: Sequence[Target]) -> None:
    """Fill all targets with what the files hold there, verified. Raises DamagedError, StorageError.

    Targets of one file may not overlap, nor reach beyond its end. Only chunks that have a part in a target are fetched.
    Whatever is raised, nothing writes to the targets any more; what they hold then is undefined.
    """
    _fill(calls, entry, found, targets, zeroed=False)


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
    content = io.BytesIO(bytes(size))  # nothing is copied into it, nor out of it: it is the one owner of these zeros
    node = next((index for index, node in enumerate(found.nodes) if node.size), 0)
    with content.getbuffer() as memory:
        _fill(calls, entry, found, [Target(node, 0, memory)], zeroed=True)
    return content.getvalue()


def _memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _fill(calls: Calls, entry: Checkpoint, found: Manifest, targets: Sequence[Target], *, zeroed: bool) -> None:
    by_node: dict[int, list[Target]] = {}
    for target in targets:
        if len(target.memory):
            by_node.setdefault(target.node, []).append(target)
    spans: dict[int, list[Span]] = {}
    for node, wanted in by_node.items():
        wanted.sort(key=lambda target: target.offset)
        spans[node] = [(target.offset, target.end) for target in wanted]

    def take(piece: Piece) -> None:
        _place(piece.offset, piece.data, by_node[piece.node])

    def room(node: int, offset: int, most: int) -> memoryview | None:
        return _room(offset, most, by_node[node])

    if not zeroed:
        for node, wanted in by_node.items():
            _clear_holes(found, node, wanted)
    read_pieces(calls, entry, found, take, spans, room)


def _place(offset: int, data: memoryview, targets: Sequence[Target]) -> None:
    """Copy what of `data`, which stands at `offset` of its file, belongs to these targets of that file."""
    end = offset + len(data)
    for target in _meeting(offset, end, targets):
        first, last = max(offset, target.offset), min(end, target.end)
        target.memory[first - target.offset : last - target.offset] = data[first - offset : last - offset]


def _room(offset: int, most: int, targets: Sequence[Target]) -> memoryview | None:
    """Where the bytes from `offset` on belong, if that is a target with room enough for at most so many."""
    target = next(_meeting(offset, offset + 1, targets), None)
    if target is None:
        return None
    start = offset - target.offset
    room = target.memory[start : start + most]
    return room if len(room) >= _WORTH else None


def _clear_holes(found: Manifest, node: int, targets: Sequence[Target]) -> None:
    """Each hole meets only the targets that have a part in it: one file may have very many of both."""
    offset = 0
    for chunk in found.chunks[node]:
        end = offset + chunk.length
        if chunk.is_hole:
            for target in _meeting(offset, end, targets):
                first, last = max(offset, target.offset), min(end, target.end)
                for start in range(first, last, MIB):
                    stop = min(last, start + MIB)
                    target.memory[start - target.offset : stop - target.offset] = _ZEROS[: stop - start]
        offset = end


def _meeting(start: int, end: int, targets: Sequence[Target]) -> Iterator[Target]:
    """Those of a file's targets, which ascend and don't overlap, that have a part between the two."""
    index = bisect.bisect_right(targets, start, key=lambda target: target.end)
    while index < len(targets) and targets[index].offset < end:
        yield targets[index]
        index += 1
