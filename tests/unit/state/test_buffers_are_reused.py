"""A state is copied into memory that is used again, and never while an upload still reads it."""

from __future__ import annotations

import dataclasses
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from tests.unit.store.stepped import BUDGET, SteppedBackend, World, refuse
from waypost.checkpoints import Checkpoints
from waypost.errors import StorageError, SupersededError
from waypost.mover.keeper import Mover
from waypost.state import buffers, saving
from waypost.state.buffers import Buffers
from waypost.store import keys, saver
from waypost.store.entries import Checkpoint
from waypost.store.keys import MIB


class Gate:
    """Holds the first pack of the first save back until it is opened: the rest of that state is still to be read."""

    def __init__(self, backend: SteppedBackend) -> None:
        self.open, self.reached = threading.Event(), threading.Event()
        backend.before = self.pass_through

    def pass_through(self, operation: str, key: str) -> None:
        if operation == "put" and key.startswith(keys.PACKS):
            self.reached.set()
            assert self.open.wait(20)


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


@pytest.fixture
def store(backend: SteppedBackend) -> Iterator[Checkpoints]:
    with Checkpoints(attempt=1, backend=backend, seams=World().seams(), saving=BUDGET) as opened:
        yield opened


def state_of(number: int, size: int = 20 * MIB) -> dict[str, Any]:
    """More than a pack, and different everywhere from that of another number."""
    return {"x": numpy.full(size // 8, number, "int64"), "number": number}


def buffers_of(store: Checkpoints) -> Buffers:
    assert store._writing is not None
    return store._writing.buffers


def made(store: Checkpoints) -> int:
    """Buffers that lie ready."""
    return sum(buffer is not None for buffer in buffers_of(store)._free)


def numbers(store: Checkpoints) -> list[int]:
    """What the checkpoints hold, the newest first, each checked to be of one number."""
    found = []
    for info in store.list():
        restored = store.restore_state(checkpoint=info.sequence)
        assert restored is not None
        assert (restored.state["x"] == restored.state["number"]).all()
        found.append(restored.state["number"])
    return found


def test_a_state_may_change_as_soon_as_save_returns(backend: SteppedBackend, store: Checkpoints) -> None:
    gate = Gate(backend)
    state = state_of(1)
    handle = store.save(state)
    state["x"][:] = 99
    assert gate.reached.wait(10)
    gate.open.set()
    handle.result(20)
    assert numbers(store) == [1]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not enough memory for a third buffer."""
    monkeypatch.setattr(buffers, "memory_left", lambda: 100 * MIB)


@pytest.mark.parametrize("megabytes", [100, 1000])
def test_a_buffer_is_never_filled_while_its_upload_reads_it(
    backend: SteppedBackend, store: Checkpoints, megabytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many saves come meanwhile: the first is uploading, the newest waits, those between are superseded."""
    monkeypatch.setattr(buffers, "memory_left", lambda: megabytes * MIB)
    gate = Gate(backend)
    first = store.save(state_of(1))
    assert gate.reached.wait(10)
    between = [store.save(state_of(number)) for number in range(2, 6)]
    newest = store.save(state_of(6))
    gate.open.set()
    first.result(20)
    newest.result(20)
    for handle in between:
        with pytest.raises(SupersededError):
            handle.result(20)
    assert numbers(store) == [6, 1]
    assert made(store) == 2
    assert (buffers_of(store)._third[0] is None) == (megabytes == 100)


@pytest.mark.usefixtures("short")
def test_without_a_free_buffer_a_save_reads_the_state_in_place_and_blocks(
    backend: SteppedBackend, store: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    """Both are held by saves that somebody waits for, which nothing may supersede."""
    gate = Gate(backend)
    waiting = []
    for number in (1, 2):
        waiting.append(threading.Thread(target=store.save, args=(state_of(number),), kwargs={"wait": True}))
        waiting[-1].start()
        assert gate.reached.wait(10)
        wait_until(lambda number=number: len(buffers_of(store)._free) == 2 - number)  # type: ignore[misc]
    with caplog.at_level(logging.WARNING, "waypost"):
        third = threading.Thread(target=store.save, args=(state_of(3),))
        third.start()
        wait_until(lambda: "blocks until it is durable" in caplog.text)
        third.join(0.05)
        assert third.is_alive(), "it reads the state that the program would change"
    gate.open.set()
    for thread in (*waiting, third):
        thread.join(20)
    assert sorted(numbers(store)) == [1, 2, 3]


def test_an_upload_that_has_begun_keeps_its_buffer(
    backend: SteppedBackend, store: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    """Other threads are filling the second buffer and the third: there is none to be had, and no save waits."""
    gate = Gate(backend)
    pool = buffers_of(store)
    others = [pool.borrow(MIB), pool.borrow(MIB), pool.borrow(MIB)]
    first_free, *lent = [buffer for buffer in others if buffer is not None]
    pool.give_back(first_free)
    first = store.save(state_of(1))
    assert gate.reached.wait(10)
    second = threading.Thread(target=store.save, args=(state_of(2),), daemon=True)
    with caplog.at_level(logging.WARNING, "waypost"):
        second.start()
        wait_until(lambda: "blocks until it is durable" in caplog.text)
    gate.open.set()
    second.join(20)
    assert len(lent) == 2
    for buffer in lent:
        pool.give_back(buffer)
    first.result(20)
    assert numbers(store) == [2, 1]


def failing(state: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> dict[str, Any]:
    """The state, whose copy ends with this error."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("ctypes.memmove", fail)
    return state


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_waiting_save_is_given_up_only_once_the_newer_one_is_there(
    backend: SteppedBackend, store: Checkpoints, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(backend)
    store.save(state_of(1))
    assert gate.reached.wait(10)
    waiting = store.save(state_of(2))
    with monkeypatch.context() as patch, pytest.raises(error):
        store.save(failing(state_of(3), patch, error))
    gate.open.set()
    waiting.result(20)
    assert numbers(store) == [2, 1]


def test_a_waiting_save_that_has_no_buffer_is_not_given_up_for_one(
    backend: SteppedBackend, store: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, pool = Gate(backend), buffers_of(store)
    lent = [pool.borrow(MIB), pool.borrow(MIB), pool.borrow(MIB)]
    store.save(os.urandom(2 * MIB))
    assert gate.reached.wait(10)
    waiting = store.save(b"waiting")

    def fail(_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(saving, "in_place", fail)
        store.save(state_of(3))
    gate.open.set()
    waiting.result(20)
    assert store.read_bytes() == b"waiting"
    for buffer in lent:
        assert buffer is not None
        pool.give_back(buffer)


def test_a_buffer_that_comes_back_while_it_is_looked_for_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """The worker has come to the save that waited, so there is none to displace, and has given back what it had."""
    pool = Buffers()
    lent = [buffer for _ in range(3) if (buffer := pool.borrow(2 * MIB)) is not None]
    with caplog.at_level(logging.WARNING, "waypost"):
        content = saving.content_of(state_of(1, 2 * MIB), pool, lambda: pool.give_back(lent.pop()))
    assert content.copied
    assert not caplog.text
    content.close()
    for buffer in lent:
        pool.give_back(buffer)
    pool.close()


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("begun", [True, False])
def test_what_an_interrupted_save_read_in_place_is_not_committed(
    backend: SteppedBackend, store: Checkpoints, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever caught Ctrl-C computes on, with the arrays that were being read."""
    gate, state = Gate(backend), state_of(2)
    if not begun:
        store.save(state_of(1))
        assert gate.reached.wait(10)
    monkeypatch.setattr(buffers, "memory_left", lambda: 0)
    whole = saver.Latch.wait

    def interrupted(latch: saver.Latch[Any], timeout: float | None = None) -> bool:
        if timeout is not None:
            return whole(latch, timeout)
        assert gate.reached.wait(10)
        state["x"][-1] = 99
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(saver.Latch, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.save(state)
    gate.open.set()
    store.flush()
    assert numbers(store) == ([] if begun else [1])
    store.save(state_of(3), wait=True)
    assert numbers(store)[0] == 3


def test_bytes_whose_save_was_interrupted_are_stored(
    backend: SteppedBackend, store: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can change them any more."""
    gate = Gate(backend)
    store.save(state_of(1))
    assert gate.reached.wait(10)

    def interrupted(latch: saver.Latch[Any], timeout: float | None = None) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(saver.Latch, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.save(b"bytes", wait=True)
    gate.open.set()
    store.flush()
    assert store.read_bytes() == b"bytes"


def test_a_save_that_was_interrupted_before_it_was_queued_gives_its_buffer_back(
    store: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store._writing is not None

    def interrupted(job: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store._writing.saver, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.save(state_of(1))
    assert len(buffers_of(store)._free) == 2


def test_a_forked_child_holds_none_of_the_memory() -> None:
    """A data loader's workers live as long as the program; what they held would stay charged to the container."""
    pool = Buffers()
    lent = pool.borrow(8 * MIB)
    assert lent is not None
    lent.memory[:] = b"x" * len(lent.memory)
    child = os.fork()
    if child == 0:
        maps = Path("/proc/self/maps").read_text()
        files = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        os._exit(int("waypost-state" in maps or any("waypost-state" in file for file in files)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert lent.memory[-1:] == b"x", "the parent goes on with it"
    pool.give_back(lent)
    pool.close()


def test_memory_that_was_given_back_is_free_whoever_maps_it_still() -> None:
    pool = Buffers()
    lent = pool.borrow(8 * MIB)
    assert lent is not None
    lent.memory[:] = b"x" * len(lent.memory)
    other = os.dup(lent.descriptor)
    pool.give_back(lent)
    pool.close()
    assert os.fstat(other).st_blocks == 0
    os.close(other)


def test_where_memory_is_short_a_save_reads_the_state_in_place(
    store: Checkpoints, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(buffers, "memory_left", lambda: 70 * MIB)
    state = {**state_of(1), "strided": numpy.arange(2 * MIB)[::2], "raw": b"raw"}
    with caplog.at_level(logging.WARNING, "waypost"):
        handle = store.save(state)
    assert handle.done()
    assert "Give the container more memory" in caplog.text
    found = store.restore_state()
    assert found is not None
    assert (found.state["strided"] == state["strided"]).all()
    assert (numbers(store), made(store), found.state["raw"]) == ([1], 0, b"raw")
    monkeypatch.setattr(buffers, "memory_left", lambda: 200 * MIB)
    store.save(state_of(2)).result(20)
    assert made(store) == 1


def test_the_process_that_uploads_reads_the_buffer_itself(tmp_path: Path) -> None:
    """Its descriptor is passed on: no second copy is made, and the content stays one that another process can read."""
    with Checkpoints(f"file://{tmp_path}/store", attempt=1) as store:
        for number in (1, 2, 3):
            store.save(state_of(number, 100 * MIB)).result(60)
        assert store._writing is not None
        mover = store._writing._elsewhere
        assert isinstance(mover, Mover)
        assert mover.pid is not None, "it was moved by the program itself"
        assert (numbers(store), made(store)) == ([3, 2, 1], 1)


def test_one_buffer_serves_saves_that_follow_each_other_and_grows_with_the_state(store: Checkpoints) -> None:
    taken = []
    for number, size in enumerate([2 * MIB, 2 * MIB, MIB + 8, 4 * MIB]):
        store.save(state_of(number, size)).result(20)
        taken += [buffer.size for buffer in buffers_of(store)._free if buffer is not None]
    assert taken == [3 * MIB, 3 * MIB, 3 * MIB, 5 * MIB]
    assert numbers(store) == [3, 2, 1, 0]


def test_a_failed_save_gives_its_buffer_back(backend: SteppedBackend, store: Checkpoints) -> None:
    for _ in range(3):
        backend.plan("put", keys.PACKS, refuse)
        with pytest.raises(StorageError):
            store.save(state_of(1, 2 * MIB)).result(20)
    assert (made(store), len(buffers_of(store)._free)) == (1, 2)


def test_a_snapshot_that_fails_gives_its_buffer_back(store: Checkpoints) -> None:
    wanted = saving.plan(state_of(1, 2 * MIB))
    tensor, array = wanted.placed[0]

    def fail(view: memoryview) -> None:
        raise KeyboardInterrupt

    wanted.placed[0] = (tensor, dataclasses.replace(array, address=None, gather=fail))
    with pytest.raises(KeyboardInterrupt):
        saving.snapshot(wanted, buffers_of(store))
    assert len(buffers_of(store)._free) == 2


def test_closing_the_store_gives_memory_and_descriptors_back(backend: SteppedBackend) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        with Checkpoints(attempt=1, backend=backend) as store:
            store.save(state_of(number, 2 * MIB))
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert "waypost-state" not in Path("/proc/self/maps").read_text()


def test_a_buffer_that_is_still_lent_when_its_store_closes_goes_when_it_comes_back() -> None:
    pool = Buffers()
    lent = pool.borrow(MIB)
    assert lent is not None
    pool.close()
    lent.memory[0] = 1
    pool.give_back(lent)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lent.descriptor)


def test_the_memory_that_is_left_is_that_of_machine_and_container() -> None:
    assert MIB < buffers.memory_left() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_what_was_held_before_goes_also_where_zeros_were_saved(store: Checkpoints, backend: SteppedBackend) -> None:
    """Zeros may stand in the manifest as a hole, which no bytes are fetched for."""
    store.save({"x": numpy.zeros(3 * MIB, "u1"), "y": numpy.ones(3, "u1")}, wait=True)
    entry = backend.entry(2)
    assert isinstance(entry, Checkpoint)
    assert isinstance(entry.manifest, dict)
    assert any(len(chunk) == 1 for chunk in entry.manifest["nodes"][0]["chunks"])
    there = {"x": numpy.full(3 * MIB, 7, "u1"), "y": numpy.zeros(3, "u1")}
    store.restore_state(into=there)
    assert not there["x"].any()
    assert there["y"].tolist() == [1, 1, 1]


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)
