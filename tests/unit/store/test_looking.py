"""Two threads look at a file's chunks: what they see is the same, and none of them is left behind."""

from __future__ import annotations

import gc
import mmap
import os
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from awscrt.checksums import crc64nvme
from blake3 import blake3

from waypost.backends.aligned import mapped
from waypost.backends.protocol import FilePart
from waypost.store import looking
from waypost.store.keys import MIB
from waypost.store.looking import Looks, Seen
from waypost.store.sources import MIN_HOLE
from waypost.store.trails import HEAD

CHUNK = MIN_HOLE
DATA = os.urandom(5 * CHUNK) + bytes(MIN_HOLE) + os.urandom(5 * CHUNK + 77)
ROW = [(at, min(at + CHUNK, len(DATA))) for at in range(0, len(DATA), CHUNK)]


class Memory:
    """A file in memory. Reading it waits until two do, as long as there is enough to be read."""

    def __init__(self, *, together: bool = False, fails_beside: threading.Thread | None = None) -> None:
        self.threads: set[threading.Thread] = set()
        self.reading = 0
        self._barrier = threading.Barrier(2) if together else None
        self._not_failing = fails_beside

    def written(self) -> Iterator[tuple[int, int]]:
        yield 0, len(DATA)

    def read_into(self, at: int, room: memoryview) -> None:
        self.reading += 1
        thread = threading.current_thread()
        try:
            if thread not in self.threads:
                self.threads.add(thread)
                if self._barrier is not None:
                    self._barrier.wait(20)
            if self._not_failing not in (None, thread):
                raise OSError("it can't be read")
            room[:] = DATA[at : at + len(room)]
        finally:
            self.reading -= 1

    def part(self, at: int, length: int) -> FilePart | None:
        raise NotImplementedError


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_two_threads_see_what_is_there(pool: ThreadPoolExecutor) -> None:
    known = blake3(DATA[:CHUNK]).hexdigest()
    memory = Memory(together=True)
    found = Looks(pool, crc64nvme, MIB, lambda digest: digest == known).look(memory, ROW)
    assert len(memory.threads) == 2
    for (start, end), seen in zip(ROW, found, strict=True):
        data = DATA[start:end]
        if data == bytes(CHUNK):
            assert seen is None
            continue
        digest = blake3(data).hexdigest()
        assert seen == Seen(digest, data[:HEAD], None if digest == known else crc64nvme(data))
    assert found.count(None) == 1


def test_what_goes_wrong_in_either_thread_is_told_when_none_reads_any_more(pool: ThreadPoolExecutor) -> None:
    here = threading.current_thread()
    memory = Memory(together=True, fails_beside=here)
    with pytest.raises(OSError, match="can't be read"):
        Looks(pool, crc64nvme, MIB, lambda _: False).look(memory, ROW)
    assert not memory.reading
    other = Memory(together=True, fails_beside=threading.Thread())
    with pytest.raises(OSError, match="can't be read"):
        Looks(pool, crc64nvme, MIB, lambda _: False).look(other, ROW)
    assert not other.reading


def test_no_memory_is_left_behind_by_what_goes_wrong(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even until the garbage collector comes: the next save needs as much."""
    made: list[weakref.ref[object]] = []

    def noted(size: int) -> mmap.mmap:
        memory = mapped(size)
        made.append(weakref.ref(memory))
        return memory

    monkeypatch.setattr(looking, "mapped", noted)
    here = threading.current_thread()
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(OSError, match="can't be read") as caught:
            Looks(pool, crc64nvme, MIB, lambda _: False).look(Memory(together=True, fails_beside=here), ROW)
        del caught
        assert [one() for one in made] == [None, None]
    finally:
        gc.enable()


def test_the_caller_waits_for_the_other_thread_also_when_it_fails_itself(pool: ThreadPoolExecutor) -> None:
    here, slow = threading.current_thread(), threading.Event()

    class Slow(Memory):
        def read_into(self, at: int, room: memoryview) -> None:
            if threading.current_thread() is here:
                assert slow.wait(20)
                raise OSError("it can't be read")
            self.reading += 1
            slow.set()
            time.sleep(0.2)
            self.reading -= 1

    memory = Slow()
    with pytest.raises(OSError, match="can't be read"):
        Looks(pool, crc64nvme, MIB, lambda _: False).look(memory, ROW)
    assert not memory.reading
