"""Packs are filled and sent at the same time: several at once, in memory that doesn't grow, and no byte is mixed up."""

from __future__ import annotations

import dataclasses
import gc
import mmap
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from tests.unit.store.stepped import BUDGET, SteppedBackend, World, lose_answer, refuse
from waypost.backends.protocol import BackendError, ThrottledError, UnreachableError
from waypost.errors import StorageError
from waypost.store import keys, sending
from waypost.store.buffers import Buffers
from waypost.store.calls import Budget, Calls
from waypost.store.filling import Filling
from waypost.store.keys import MIB
from waypost.store.manifest import Manifest
from waypost.store.packing import pack_content
from waypost.store.seams import Seams
from waypost.store.sizes import Sizes
from waypost.store.sources import Content, look
from waypost.store.tree import Kind, Node
from waypost.store.waiting import inline

UPLOAD = (1, 1)


def content_of(*files: bytes) -> Content:
    nodes = [Node(b"%d" % number, Kind.FILE, 0o644, 0, len(file)) for number, file in enumerate(files)]
    return Content(nodes, [[file] if file else [] for file in files], copied=True)


def unpacked(backend: SteppedBackend, packed: Manifest) -> list[bytes]:
    """The files as any reader puts them together."""
    packs = [backend.objects[keys.PACKS + pack.name] for pack in packed.packs]
    assert [len(pack) for pack in packs] == [pack.size for pack in packed.packs]
    return [
        b"".join(
            bytes(chunk.length) if chunk.is_hole else packs[chunk.pack][chunk.offset :][: chunk.length] for chunk in row
        )
        for row in packed.chunks
    ]


class Slow(SteppedBackend):
    """Packs take a while, several at a time; a test decides how each try ends."""

    def __init__(self, seconds: float = 0.0, end: Callable[[str, int], None] = lambda key, tries: None) -> None:
        super().__init__()
        self._seconds, self._end, self._lock = seconds, end, threading.Lock()
        self.at_once = self.most_at_once = 0
        self.tries: dict[str, int] = {}

    def put(self, key: str, data: bytes | memoryview) -> None:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            tries = self.tries[key] = self.tries.get(key, 0) + 1
        try:
            time.sleep(self._seconds)
            self._end(key, tries)
            self.objects[key] = bytes(data)
        finally:
            with self._lock:
                self.at_once -= 1


def quick(backend: SteppedBackend, budget: Budget = BUDGET) -> Calls:
    """With real threads for packs, and no thread for each request."""
    return Calls(backend, dataclasses.replace(Seams(), in_time=inline), budget)


def test_packs_are_bounded_and_small_files_share_them() -> None:
    backend, chance = SteppedBackend(), os.urandom
    files = [chance(size) for size in (1, 15 * MIB, 10, 40 * MIB, 5, 5)]
    packed = pack_content(content_of(*files), Calls(backend, World().seams(), BUDGET), UPLOAD)
    sizes = [pack.size for pack in packed.packs]
    assert all(size <= keys.PACK_TARGET <= keys.MAX_PACK for size in sizes)
    assert len(sizes) == 3, "none is closed before it has to be"
    assert unpacked(backend, packed) == files


def test_a_thousand_files_of_256_kib_take_ten_packs() -> None:
    backend = SteppedBackend()
    files = [number.to_bytes(4, "big") * (64 * keys.KIB) for number in range(1, 1001)]
    packed = pack_content(content_of(*files), Calls(backend, World().seams(), BUDGET), UPLOAD)
    assert len(packed.packs) == len(backend.packs()) == 10


def test_what_occurs_twice_is_stored_once() -> None:
    backend, data = SteppedBackend(), os.urandom(3 * MIB)
    packed = pack_content(content_of(data, b"x", data), Calls(backend, World().seams(), BUDGET), UPLOAD)
    assert sum(pack.size for pack in packed.packs) == 3 * MIB + 1
    assert unpacked(backend, packed) == [data, b"x", data]


def test_written_zeros_become_holes_and_nothing_else_does() -> None:
    backend = SteppedBackend()
    almost = bytearray(4 * MIB)
    almost[2 * MIB - 1] = almost[3 * MIB] = 1  # the last byte of one chunk, the first of another
    files = [bytes(5 * MIB), bytes(MIB - 1), bytes(almost), b"x" + bytes(3 * MIB)]
    packed = pack_content(content_of(*files), Calls(backend, World().seams(), BUDGET), UPLOAD)
    assert [[(chunk.length, chunk.is_hole) for chunk in row] for row in packed.chunks] == [
        [(5 * MIB, True)],
        [(MIB - 1, False)],
        [(MIB, True), (MIB, False), (MIB, True), (MIB, False)],
        [(MIB, False), (2 * MIB, True), (1, False)],
    ]
    assert unpacked(backend, packed) == files


def test_packs_are_sent_at_the_same_time_and_no_more_of_them_than_the_pace_says() -> None:
    backend = Slow(0.05)
    data = os.urandom(40 * 1000)
    packed = pack_content(content_of(data), quick(backend), UPLOAD, Sizes(pack=1000, memory=3000))
    assert backend.most_at_once == 2
    assert unpacked(backend, packed) == [data]


def test_a_pack_that_fails_ends_the_save_and_what_is_on_its_way() -> None:
    def end(key: str, tries: int) -> None:
        if len(backend.tries) > 1:
            raise BackendError("403 Forbidden, AccessDenied")
        raise UnreachableError("timed out")

    backend = Slow(0.01, end)
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"write a pack to .*403"):
        pack_content(content_of(os.urandom(9000)), quick(backend, Budget(seconds=60.0)), UPLOAD, Sizes(pack=1000))
    assert time.monotonic() - began < 10, "the other one isn't tried until its patience ends"
    assert backend.at_once == 0
    tried = sum(backend.tries.values())
    time.sleep(0.5)
    assert sum(backend.tries.values()) == tried, "nothing goes on behind the failure"


def test_a_request_that_was_given_up_never_sees_its_memory_used_again() -> None:
    """It hangs with the first pack's bytes, is repeated, and comes through when the others have long been filled."""
    hanging: list[tuple[str, memoryview]] = []

    class Hanging(SteppedBackend):
        def put(self, key: str, data: bytes | memoryview) -> None:
            if not hanging and isinstance(data, memoryview):
                hanging.append((key, data))  # as native code does that has got hold of it
                raise UnreachableError("timed out")
            super().put(key, data)

    backend = Hanging()
    data = os.urandom(20_000)
    sizes = Sizes(pack=1000, memory=3000)
    packed = pack_content(content_of(data), Calls(backend, World().seams(), BUDGET), UPLOAD, sizes)
    key, late = hanging[0]
    backend.objects[key] = bytes(late)
    assert unpacked(backend, packed) == [data]


def test_where_requests_that_were_given_up_hold_all_memory_the_save_fails_and_takes_no_more() -> None:
    kept: list[memoryview] = []

    class Leaking(SteppedBackend):
        def put(self, key: str, data: bytes | memoryview) -> None:
            assert isinstance(data, memoryview)
            kept.append(data)
            super().put(key, data)

    with pytest.raises(StorageError, match="given up still hold all the memory"):
        pack_content(
            content_of(os.urandom(20_000)),
            Calls(Leaking(), World().seams(), BUDGET),
            UPLOAD,
            Sizes(pack=1000, memory=3000),
        )
    assert sum(len(view) for view in kept) == 3000


@pytest.mark.parametrize("fault", [lose_answer, refuse])
def test_an_answer_that_gets_lost_costs_another_try_and_a_refusal_the_save(
    fault: Callable[[Callable[[], None]], None],
) -> None:
    backend, data = SteppedBackend(), os.urandom(5000)
    backend.plan("put", keys.PACKS, fault)
    calls = Calls(backend, World().seams(), BUDGET)
    if fault is refuse:
        with pytest.raises(StorageError, match="403"):
            pack_content(content_of(data), calls, UPLOAD, Sizes(pack=1000))
    else:
        assert unpacked(backend, pack_content(content_of(data), calls, UPLOAD, Sizes(pack=1000))) == [data]


def fill(filling: Filling, data: bytes) -> None:
    with filling.room(len(data), refers=False) as room:
        room[:] = data
        filling.keep(room, blake3(data).hexdigest(), None)


def test_slow_down_halves_how_many_are_sent_at_once() -> None:
    def end(key: str, tries: int) -> None:
        if key == keys.PACKS + "0" and tries == 1:
            raise ThrottledError("503 SlowDown")

    backend = Slow(0.02, end)
    seams = dataclasses.replace(Seams(), in_time=inline, sleep=lambda seconds: None)
    data = os.urandom(20_000)
    flight = sending.Flight(Calls(backend, seams, BUDGET), Sizes(pack=1000), 1000)
    assert flight._width.now == 2
    for number in range(6):
        filling = flight.filling()
        fill(filling, data[number * 1000 :][:1000])
        flight.send(f"{number}", filling)
    flight.finish()
    assert flight._width.now == 1


def test_where_each_connection_is_slow_many_packs_are_sent_at_once_and_they_get_smaller() -> None:
    """A place that gives each request 100 bytes a second, however many there are."""
    backend, world = SteppedBackend(), World()
    flight = sending.Flight(Calls(backend, world.seams(), BUDGET), Sizes(pack=1000, memory=3000), 10)
    lengths: list[int] = []
    backend.before = lambda operation, key: world.sleep(lengths[-1] / 100 / flight._width.now)
    for number in range(400):
        filling = flight.filling()
        lengths.append(filling.size)
        fill(filling, bytes(filling.size))
        flight.send(f"{number}", filling)
    flight.finish()
    assert lengths[0] == 1000
    assert min(lengths) == 3000 // 17


def test_a_buffer_is_used_again_only_when_nobody_looks_at_it() -> None:
    buffers = Buffers(300)
    first = buffers.take(100)
    assert first is not None
    view = memoryview(first)[:10]
    buffers.give_back(first)
    second = buffers.take(100)
    assert second is not first
    view.release()
    assert buffers.take(100) is first
    assert buffers.take(101) is None, "that would be more than there may be"
    buffers.give_back(first)
    assert buffers.take(200) is not None, "what is free makes room for another size"


def test_the_memory_of_a_save_goes_with_it_and_waits_for_no_garbage_collector() -> None:
    """Else the next one's comes on top of it, and a program that saves no more keeps it for ever."""
    mappings: list[weakref.ref[mmap.mmap]] = []

    class Recording(SteppedBackend):
        def put(self, key: str, data: bytes | memoryview) -> None:
            assert isinstance(data, memoryview)
            assert isinstance(data.obj, mmap.mmap)
            mappings.append(weakref.ref(data.obj))

    gc.disable()
    try:
        pack_content(content_of(os.urandom(10_000)), quick(Recording()), UPLOAD, Sizes(pack=1000, memory=3000))
    finally:
        gc.enable()
    assert len(mappings) == 10
    assert [mapping for ref in mappings if (mapping := ref()) is not None and not mapping.closed] == []


def test_a_file_that_shrinks_under_the_reader_fails_the_save(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1000)
    content = look(path)
    os.truncate(path, 100_000)
    os.utime(path, ns=(0, content.nodes[0].mtime_ns))
    with pytest.raises(OSError, match="changed while it was being saved"):
        pack_content(content, Calls(SteppedBackend(), World().seams(), BUDGET), UPLOAD)
