"""What is given to a pool is done once, whatever becomes of the pool's threads."""

from __future__ import annotations

import threading

import pytest

from waypost.store.seams import Seams


def test_what_no_thread_can_be_started_for_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own pool queues work before it starts a thread for it: a thread that is there would do it again."""
    start, starts = threading.Thread.start, 0

    def start_one(thread: threading.Thread) -> None:
        nonlocal starts
        starts += 1
        if starts > 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    held, done = threading.Event(), list[str]()
    with Seams().pool(4, "test") as pool:
        busy = pool.submit(held.wait, 30.0)
        pool.submit(done.append, "a pack").result(0.0)
        failed = pool.submit(lambda: 1 // 0)
        held.set()
    assert busy.result()
    assert done == ["a pack"]
    assert isinstance(failed.exception(), ZeroDivisionError)
