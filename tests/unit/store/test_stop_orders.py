"""Once the machine is being taken away, the newest state is the one that is uploaded."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.waiting import wait_for
from waypost import stop
from waypost.backends.file import FileBackend
from waypost.checkpoints import Checkpoints
from waypost.errors import SupersededError
from waypost.store import keys
from waypost.store.urgency import Urgency

LARGE = 100_000


class Held(FileBackend):
    """Its first pack hangs until it is let through."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.hangs, self.through = threading.Event(), threading.Event()

    def put(self, key: str, data: bytes | memoryview) -> None:
        if key.startswith(keys.PACKS) and not self.hangs.is_set():
            self.hangs.set()
            self.through.wait(60)
        super().put(key, data)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Held]:
    backend = Held(f"file://{tmp_path}/store")
    yield backend
    backend.through.set()


@pytest.fixture
def store(backend: Held) -> Iterator[Checkpoints]:
    with Checkpoints(attempt=1, backend=backend) as store:
        yield store
        backend.through.set()


def test_the_newest_of_three_is_saved_and_the_upload_of_the_oldest_ends_at_once(
    backend: Held, store: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest = store.save(os.urandom(LARGE), step=1)
    assert backend.hangs.wait(30)
    middle = store.save(os.urandom(LARGE), step=2)
    newest = store.save(content := os.urandom(LARGE), step=3)
    monkeypatch.setattr(stop, "remaining_grace", lambda: 20.0)
    assert newest.result(30).step == 3
    for older, why in ((oldest, "when the stop order came"), (middle, "before its upload began")):
        with pytest.raises(SupersededError, match=why):
            older.result(0)
    assert store.read_bytes() == content
    assert [info.step for info in store.list()] == [3]


def test_an_upload_that_nothing_waits_behind_goes_on_under_a_stop_order(
    backend: Held, store: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = store.save(os.urandom(LARGE), step=1)
    assert backend.hangs.wait(30)
    monkeypatch.setattr(stop, "remaining_grace", lambda: 20.0)
    with pytest.raises(TimeoutError):
        only.result(1)
    backend.through.set()
    assert only.result(30).step == 1


def test_without_a_stop_order_an_upload_is_never_given_up_for_a_newer_one(backend: Held, store: Checkpoints) -> None:
    older = store.save(os.urandom(LARGE), step=1)
    assert backend.hangs.wait(30)
    newer = store.save(os.urandom(LARGE), step=2)
    with pytest.raises(TimeoutError):
        older.result(1)
    backend.through.set()
    assert older.result(30).step == 1
    assert newer.result(30).step == 2


def test_one_that_somebody_waits_for_goes_on(
    backend: Held, store: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int | None] = []
    waiting = threading.Thread(
        target=lambda: steps.append(store.save(os.urandom(LARGE), step=1, wait=True).result().step)
    )
    waiting.start()
    assert backend.hangs.wait(30)
    monkeypatch.setattr(stop, "remaining_grace", lambda: 20.0)
    newer = store.save(os.urandom(LARGE), step=2)
    with pytest.raises(TimeoutError):
        newer.result(1)
    backend.through.set()
    waiting.join(30)
    assert steps == [1]
    assert newer.result(30).step == 2


def test_what_an_upload_may_take_grows_with_who_waits_for_it(backend: Held, store: Checkpoints) -> None:
    assert store._writing is not None
    saver = store._writing.saver
    first = store.save(os.urandom(LARGE), step=1)
    assert backend.hangs.wait(30)
    assert saver.urgency() is Urgency.IDLE
    store.save(os.urandom(LARGE), step=2)
    assert saver.urgency() is Urgency.KEEN
    assert not first.done()
    assert saver.urgency() is Urgency.KEEN, "to ask isn't to wait"
    flushing = threading.Thread(target=store.flush)
    flushing.start()
    wait_for("the flush", lambda: saver.urgency() is Urgency.NORMAL, seconds=30)
    backend.through.set()
    flushing.join(30)


def test_who_waits_for_a_result_waits_for_the_upload(backend: Held, store: Checkpoints) -> None:
    assert store._writing is not None
    saver = store._writing.saver
    saving = store.save(os.urandom(LARGE), step=1)
    assert backend.hangs.wait(30)
    with pytest.raises(TimeoutError):
        saving.result(0.01)
    assert saver.urgency() is Urgency.NORMAL
