"""Deleting happens between saves, in the saver's thread: nobody who waits waits for it, and it gets its share."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from tests.unit.store.stepped import SteppedBackend, large
from waypost import attempt, stop
from waypost.checkpoints import Checkpoints
from waypost.errors import ConfigurationError
from waypost.store import keys
from waypost.store.retention import Retention
from waypost.store.saver import Saver
from waypost.store.seams import ThreadWorker

ONE = Retention(keep_last=1)


class SlowDeletes:
    """Every deletion of a pack waits until it is let through."""

    def __init__(self, backend: SteppedBackend) -> None:
        self.reached, self.permits = threading.Event(), threading.Semaphore(0)
        backend.before = self.pass_through

    def pass_through(self, operation: str, key: str) -> None:
        if operation == "delete" and key.startswith(keys.PACKS):
            self.reached.set()
            assert self.permits.acquire(timeout=20)


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def wait_for_packs(backend: SteppedBackend, count: int) -> None:
    limit = time.monotonic() + 20
    while len(backend.packs()) != count:
        assert time.monotonic() < limit, f"{len(backend.packs())} packs, wanted {count}"
        time.sleep(0.001)


def test_what_was_pruned_is_gone_soon_after_the_save(backend: SteppedBackend) -> None:
    with Checkpoints(attempt=1, backend=backend, retention=ONE) as store:
        for step in range(3):
            store.save(large(b"%d" % step), wait=True)
        wait_for_packs(backend, 1)


def test_a_waiting_save_returns_before_anything_is_deleted(backend: SteppedBackend) -> None:
    slow = SlowDeletes(backend)
    with Checkpoints(attempt=1, backend=backend, retention=ONE) as store:
        store.save(large(b"a"), wait=True)
        store.save(large(b"b"), wait=True)
        assert len(backend.packs()) == 2
        assert slow.reached.wait(20)
        slow.permits.release()


def test_a_flush_waits_for_one_request_of_the_tidying_at_most(backend: SteppedBackend) -> None:
    with Checkpoints(attempt=1, backend=backend) as first:
        for step in range(10):
            first.save(large(b"%d" % step), wait=True)
    store = Checkpoints(attempt=2, backend=backend, retention=ONE)
    slow = SlowDeletes(backend)
    while not slow.reached.wait(0.01):  # as soon as the history is read, a save prunes nine checkpoints
        store.save(b"x")
    flushing = threading.Thread(target=store.flush)
    flushing.start()
    assert store._writing is not None
    while not store._writing.saver._waiting:
        flushing.join(0.001)
    slow.permits.release()
    flushing.join(20)
    assert not flushing.is_alive(), "the flush waits for the other deletions as well"
    assert len(backend.packs()) == 9
    slow.permits.release(100)
    store.close()
    assert len(backend.packs()) == 1, "the base"


def test_close_goes_on_deleting_for_a_moment(backend: SteppedBackend) -> None:
    """Behind the last save of a task no attempt comes to clear up."""
    store = Checkpoints(attempt=1, backend=backend, retention=ONE)
    for step in range(4):
        store.save(large(b"%d" % step))
    store.close()
    assert len(backend.packs()) == 1


def test_what_a_stop_finds_undone_stays_undone() -> None:
    """Somebody's grace runs out; a store with a long past takes thousands of requests to tidy."""
    requests = itertools.count()
    begun = threading.Event()

    def tidy() -> bool:
        begun.set()
        return next(requests) < 100_000

    saver: Saver[object] = Saver(lambda job: job, ThreadWorker("test"), tidy)
    saver.begin_tidying()
    assert begun.wait(20)
    saver.stop()
    stopped = next(requests)
    assert stopped < 100_000, "it tidied to the end"
    saver.begin_tidying()
    assert next(requests) == stopped + 1, "a worker that has ended does what is put late in its caller's thread"


def test_handles_of_one_process_agree_about_retention(backend: SteppedBackend) -> None:
    with Checkpoints(attempt=1, backend=backend, retention=ONE):
        with Checkpoints(attempt=1, backend=backend) as same:
            assert same.attempt == 1
        with pytest.raises(ConfigurationError, match="close the first, or leave retention out"):
            Checkpoints(attempt=1, backend=backend, retention=Retention(keep_last=2))


def test_the_contract_rules_retention_of_its_own_store(
    backend: SteppedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYPOST_CHECKPOINT_DST", backend.uri)
    monkeypatch.setenv("WAYPOST_ATTEMPT", "1")
    monkeypatch.setenv("WAYPOST_RETENTION", '{"keepLast": 2}')
    monkeypatch.setattr(attempt, "_report", None)  # of this test alone: later ones are in no attempt
    monkeypatch.setattr(attempt, "_report_pid", 0)
    monkeypatch.setattr(stop.StopOrder, "install", lambda _: False)
    with Checkpoints(backend=backend) as store:
        for step in range(4):
            store.save(b"%d" % step, wait=True)
        assert [info.sequence for info in store.list()] == [5, 4]
    other = SteppedBackend()
    with Checkpoints(attempt=1, backend=other) as store:
        for step in range(4):
            store.save(b"%d" % step, wait=True)
        assert len(store.list()) == 4, "another store is no affair of the contract's"
