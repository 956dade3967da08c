"""What is locked is its process's own: a forked child neither keeps it from being tidied away nor takes it away."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from waypost.backends import file
from waypost.backends.held import OwnLock
from waypost.store import beside, placing

PREFIX = b".waypost-copy-"


@contextlib.contextmanager
def child(work: Callable[[], object] = lambda: None) -> Iterator[None]:
    """A forked process that has done `work`, and lives as long as the block."""
    ready, is_ready = os.pipe()
    done, is_done = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(is_done)
        with contextlib.suppress(BaseException):
            work()
            os.write(is_ready, b"x")
            os.read(done, 1)
        os._exit(0)
    try:
        os.close(is_ready)
        assert os.read(ready, 1) == b"x", "the child failed"
        yield
    finally:
        for descriptor in (is_done, ready, done):
            os.close(descriptor)
        os.waitpid(pid, 0)


def test_a_dead_programs_copy_is_removed_though_a_child_of_it_lives_on(tmp_path: Path) -> None:
    dead = beside.Private(os.fsencode(tmp_path), PREFIX)
    with child():
        dead.let_go()  # as the kernel does for a killed one
        beside.sweep(os.fsencode(tmp_path), PREFIX)
        assert list(tmp_path.iterdir()) == []


def test_a_child_removes_nothing_of_its_parents_and_unlocks_nothing(tmp_path: Path) -> None:
    used = beside.Private(os.fsencode(tmp_path), PREFIX)
    with child(used.remove):
        beside.sweep(os.fsencode(tmp_path), PREFIX)
        assert os.path.lexists(used.at(beside.MARK))
    used.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_child_closes_no_file_of_its_own_for_its_parents(tmp_path: Path) -> None:
    """The number of a closed one is given to the next that is opened."""
    used = beside.Private(os.fsencode(tmp_path), PREFIX)
    number = used._lock.descriptor

    def work() -> None:
        assert os.open(tmp_path, os.O_RDONLY) == number, "the parent's lock is closed"
        used.let_go()
        used.remove()
        os.fstat(number)

    with child(work):
        pass
    used.remove()


def test_a_dead_writers_file_is_removed_though_a_child_of_it_lives_on(tmp_path: Path) -> None:
    _, held = file._locked_file(os.fsencode(tmp_path))
    with child():
        file._remove_leftovers(os.fsencode(tmp_path))
        assert len(list(tmp_path.iterdir())) == 1, "it is in use"
        held.close()
        file._remove_leftovers(os.fsencode(tmp_path))
        assert list(tmp_path.iterdir()) == []


def test_what_unwinds_in_a_child_leaves_its_parents_files_where_they_are(tmp_path: Path) -> None:
    """A signal handler may fork, and the child leave by an exception."""
    backend, process = file.FileBackend(f"file://{tmp_path}/store"), os.getpid()
    try:
        with backend._temporary(b"content") as path, placing._scratch(str(tmp_path), ".state.waypost-") as scratch:
            if not (pid := os.fork()):
                raise SystemExit
            os.waitpid(pid, 0)
            assert os.path.exists(path)
            assert os.path.isdir(scratch)
    finally:
        if os.getpid() != process:
            os._exit(0)
    assert not os.path.exists(path)
    assert not os.path.exists(scratch)


def test_a_child_finds_a_lock_between_threads_open() -> None:
    """The thread that held it isn't there to let go of it."""
    lock = OwnLock()

    def takes_it() -> None:
        signal.alarm(10)  # a child that waits for ever would leave this test waiting, too
        with lock:
            signal.alarm(0)

    with lock, child(takes_it):
        pass
    with lock:
        pass
