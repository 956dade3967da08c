"""Copying host memory as fast as it goes, by several threads, without holding the interpreter up.

Every copy goes through `memmove` by way of ctypes, which lets go of the interpreter's lock; assigning to a slice of a
memoryview doesn't. One core doesn't fill the memory bus of a large machine, two do on a small one: so large copies are
shared among a few threads. These are started bare: `threading` takes locks of its own, and a save may come from a
signal handler that has interrupted another save of the same thread.
"""

from __future__ import annotations

import _thread
import ctypes
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Final

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
    threads = max(1, min(MOST_THREADS, _cores(), total // ENOUGH))
    first, *others = _shares(blocks, total, threads)
    done = [_started(share) for share in others]
    try:
        _copy(first)
    finally:
        _await_all(done)


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


def _started(blocks: Sequence[Block]) -> _thread.LockType:
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            _copy(blocks)
        finally:
            done.release()

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # no more threads may be started: then this one does it
        run()
    return done


def _await_all(done: Sequence[_thread.LockType]) -> None:
    """Wait for all of them whatever is raised meanwhile (Ctrl-C, a signal handler): they write to the buffer."""
    interrupted: BaseException | None = None
    for lock in done:
        while True:
            try:
                lock.acquire()
                break
            except BaseException as error:  # noqa: BLE001 - raised below, once nobody writes any more
                interrupted = interrupted or error
    if interrupted is not None:
        raise interrupted


def _cores() -> int:
    return len(os.sched_getaffinity(0))
