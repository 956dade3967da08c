"""Saves in the background: one at a time, the newest wins, and nothing is lost without a word."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from tests.unit.store.stepped import BUDGET, SteppedBackend, World, refuse
from waypost.checkpoints import CheckpointInfo, Checkpoints, SaveHandle
from waypost.errors import (
    CompletedError,
    ConfigurationError,
    FencedError,
    StorageError,
    SupersededError,
)
from waypost.store import keys
from waypost.store.saver import Job, Saver
from waypost.store.seams import ThreadWorker
from waypost.store.sources import Content


class Gate:
    """Holds the uploads back until it is opened."""

    def __init__(self, backend: SteppedBackend) -> None:
        self.open, self.reached = threading.Event(), threading.Event()
        backend.before = self.pass_through

    def pass_through(self, operation: str, key: str) -> None:
        if operation == "put_new" and key.startswith(keys.LOG):
            self.reached.set()
            assert self.open.wait(20)


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


@pytest.fixture
def store(backend: SteppedBackend) -> Iterator[Checkpoints]:
    opened = Checkpoints(attempt=1, backend=backend, seams=World().seams(), saving=BUDGET)
    yield opened
    with pytest.MonkeyPatch.context():
        backend._plans.clear()
        try:
            opened.close()
        except (FencedError, CompletedError, StorageError) as error:
            logging.getLogger("tests").info("closed with %s", error)


def test_a_save_returns_before_it_is_durable_and_result_after(backend: SteppedBackend, store: Checkpoints) -> None:
    gate = Gate(backend)
    handle = store.save(b"state", step=3)
    assert gate.reached.wait(10)
    assert not handle.done()
    with pytest.raises(TimeoutError):
        handle.result(0.01)
    gate.open.set()
    info = handle.result(10)
    assert (info.step, info.sequence, handle.done()) == (3, 2, True)
    assert handle.result() == info, "asking again is allowed"
    assert store.latest() == info


def test_the_newest_save_wins_and_the_ones_between_say_so(backend: SteppedBackend, store: Checkpoints) -> None:
    """H25: superseded never resolves as saved."""
    gate = Gate(backend)
    first = store.save(b"0", step=0)
    assert gate.reached.wait(10)
    between = [store.save(b"%d" % step, step=step) for step in range(1, 5)]
    newest = store.save(b"5", step=5)
    for handle in between:
        with pytest.raises(SupersededError):
            handle.result(10)
    gate.open.set()
    assert [first.result(10).step, newest.result(10).step] == [0, 5]
    assert [info.step for info in store.list()] == [5, 0]


def test_a_save_that_somebody_waits_for_is_never_superseded(backend: SteppedBackend, store: Checkpoints) -> None:
    gate = Gate(backend)
    store.save(b"0", step=0)
    assert gate.reached.wait(10)
    results: list[CheckpointInfo] = []
    waiting = threading.Thread(target=lambda: results.append(store.save(b"1", step=1, wait=True).result()))
    waiting.start()
    assert store._writing is not None
    worker = store._writing.saver._worker
    assert isinstance(worker, ThreadWorker)
    while worker._queue.qsize() < 1:
        waiting.join(0.001)
    last = store.save(b"2", step=2)
    gate.open.set()
    last.result(10)
    waiting.join(10)
    assert [info.step for info in results] == [1]
    assert [info.step for info in store.list()] == [2, 1, 0]


def fail_next(backend: SteppedBackend, store: Checkpoints) -> SaveHandle:
    backend.plan("put_new", keys.LOG, refuse)
    handle = store.save(b"lost", step=1)
    wait_until(handle.done)
    return handle


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_an_error_surfaces_at_the_handle(backend: SteppedBackend, store: Checkpoints) -> None:
    handle = fail_next(backend, store)
    for _ in range(2):
        with pytest.raises(StorageError, match="AccessDenied"):
            handle.result()
    store.save(b"fine", wait=True)


def test_an_error_nobody_has_seen_surfaces_at_the_next_save(backend: SteppedBackend, store: Checkpoints) -> None:
    fail_next(backend, store)
    with pytest.raises(StorageError, match="AccessDenied"):
        store.save(b"next")
    store.save(b"fine", wait=True)


def test_an_error_nobody_has_seen_surfaces_at_flush(backend: SteppedBackend, store: Checkpoints) -> None:
    fail_next(backend, store)
    with pytest.raises(StorageError, match="AccessDenied"):
        store.flush()
    store.flush()


def test_an_error_nobody_has_seen_surfaces_at_close(backend: SteppedBackend, store: Checkpoints) -> None:
    fail_next(backend, store)
    with pytest.raises(StorageError, match="AccessDenied"):
        store.close()


def test_an_error_nobody_has_seen_keeps_the_task_from_completing(backend: SteppedBackend, store: Checkpoints) -> None:
    fail_next(backend, store)
    with pytest.raises(StorageError, match="AccessDenied"):
        store.complete()
    assert backend.log() == ["FENCE"]


def test_a_later_save_makes_good_what_an_earlier_one_failed_to_store(
    backend: SteppedBackend, store: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    """As if superseded: the program isn't ended for a state that a newer one has replaced."""
    backend.plan("put_new", keys.LOG, refuse)
    gate = Gate(backend)
    with caplog.at_level(logging.ERROR, "waypost"):
        failing = store.save(b"lost")
        assert gate.reached.wait(10)
        fine = store.save(b"fine")
        gate.open.set()
        fine.result(10)
    store.save(b"next").result(10)
    store.flush()
    with pytest.raises(StorageError):
        failing.result()
    assert "a save failed" in caplog.text


def test_an_error_surfaces_while_what_its_save_had_copied_is_still_being_removed() -> None:
    """Whoever asks in between must not take the failure for told."""
    removing, go_on = threading.Event(), threading.Event()

    class Slow(Content):
        def close(self) -> None:
            removing.set()
            assert go_on.wait(10)

    def fail(job: Job[CheckpointInfo]) -> CheckpointInfo:
        raise StorageError("save to", "x://", "403")

    saver: Saver[CheckpointInfo] = Saver(fail, ThreadWorker("test"))
    saver.submit(Job(Slow([], [], copied=True), None, {}, {}, keeps_turn=False))
    assert removing.wait(10)
    with pytest.raises(StorageError):
        saver.raise_failure()
    go_on.set()
    saver.stop()


def test_a_save_that_comes_too_late_for_a_closing_store_is_settled_all_the_same() -> None:
    """Another thread closes the store while this one is about to queue its save: nobody may wait for ever."""
    done: list[int] = []
    worker = ThreadWorker("test")
    worker.put(lambda: done.append(1))
    worker.stop()
    worker.put(lambda: done.append(2))
    assert done == [1, 2]


def test_a_fenced_program_learns_it_at_its_next_save_whatever_that_is(
    backend: SteppedBackend, store: Checkpoints
) -> None:
    from tests.unit.store.stepped import Process

    Process(backend, attempt=2)
    with pytest.raises(FencedError):
        store.save(b"1", wait=True)
    with pytest.raises(FencedError):
        store.save(b"2")


def test_flush_ends_at_its_timeout_with_a_storage_error(backend: SteppedBackend, store: Checkpoints) -> None:
    gate = Gate(backend)
    store.save(b"slow")
    with pytest.raises(StorageError, match="took longer") as caught:
        store.flush(0.01)
    assert caught.value.outcome == "unknown"
    gate.open.set()
    store.flush(10)


def test_close_stores_what_is_queued(backend: SteppedBackend) -> None:
    gate = Gate(backend)
    gate.open.set()
    with Checkpoints(attempt=1, backend=backend) as store:
        store.save(b"last", step=9)
    assert backend.log() == ["FENCE", "CHECKPOINT"]


def test_complete_stores_what_is_queued_first(backend: SteppedBackend, store: Checkpoints) -> None:
    """H14: a pending save behind COMPLETE would be lost."""
    store.save(b"last", step=9)
    store.complete()
    assert backend.log() == ["FENCE", "CHECKPOINT", "COMPLETE"]
    with pytest.raises(CompletedError):
        store.save(b"after")


def test_many_threads_may_save(backend: SteppedBackend, store: Checkpoints) -> None:
    def work(number: int) -> None:
        for step in range(20):
            store.save(b"%d" % step, step=number * 100 + step, wait=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(info.step or 0 for info in store.list()) == sorted(
        number * 100 + step for number in range(5) for step in range(20)
    )
    assert backend.log() == ["FENCE"] + ["CHECKPOINT"] * 100


def test_a_signal_handler_may_save_while_it_interrupts_a_save(store: Checkpoints) -> None:
    """No lock of the interrupted save may be waited for: it would never be released."""
    results: list[CheckpointInfo] = []

    def handler(number: int, frame: FrameType | None) -> None:
        results.append(store.save(b"from the handler", wait=True).result())

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        limit = time.monotonic() + 1.5
        saves = 0
        while time.monotonic() < limit:
            store.save(b"interrupted", wait=True)
            store.save(b"interrupted, in the background")
            saves += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    store.flush(10)
    assert saves > 10
    assert len(results) > 10


# --- What may be said about a save -----------------------------------------------------------------------------------


def test_what_was_said_about_a_save_comes_back(store: Checkpoints) -> None:
    info = store.save(
        b"state", step=3, metrics={"loss": 0.5, "epoch": 2}, metadata={"git": "abc", "tags": ["a"]}, wait=True
    ).result()
    assert store.latest() == info
    assert (info.metrics, info.metadata) == ({"loss": 0.5, "epoch": 2}, {"git": "abc", "tags": ["a"]})


class Scalar:
    """What array libraries give for a single number."""

    def __float__(self) -> float:
        return 1.5

    def __index__(self) -> int:
        return 7


def test_numbers_of_array_libraries_are_taken_as_numbers(store: Checkpoints) -> None:
    info = store.save(b"state", step=Scalar(), metrics={"loss": Scalar()}, wait=True).result()
    assert (info.step, info.metrics) == (7, {"loss": 1.5})


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"step": -1}, "a step is a whole number"),
        ({"step": 1.5}, "a step is a whole number"),
        ({"step": True}, "a step is a whole number"),
        ({"step": 2**63}, "a step is a whole number"),
        ({"metrics": {"loss": "high"}}, "'loss' is 'high', which is no number"),
        ({"metrics": {1: 1.0}}, "no text"),
        ({"metadata": {"when": object()}}, "can't be written as JSON"),
        ({"metadata": {"x": float("nan")}}, "can't be written as JSON"),
        ({"metadata": {"x": "y" * 70_000}}, "more than 64 KiB"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_uploaded(
    backend: SteppedBackend, store: Checkpoints, said: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        store.save(b"state", **said)  # type: ignore[arg-type]
    assert backend.log() == ["FENCE"]


def test_reading_as_bytes_needs_exactly_one_file(store: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    store.save(tmp_path, wait=True)
    with pytest.raises(ValueError, match="expected exactly one file, found 2"):
        store.read_bytes()


def test_empty_bytes_are_a_checkpoint_and_not_nothing(store: Checkpoints) -> None:
    assert store.read_bytes() is None
    store.save(b"", wait=True)
    assert store.read_bytes() == b""
