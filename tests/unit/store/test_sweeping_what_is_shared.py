"""On a disk that other machines reach too, a lock may not be seen: what a neighbour may be saving from stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from waypost.store import beside
from waypost.store.tree import SNAPSHOTS

DAY = 24 * 3600.0


def made(parent: Path, maker: bytes | None, monkeypatch: pytest.MonkeyPatch, days: float = 0) -> Path:
    """What a save has left, there or on another machine, or is using: its lock isn't seen here."""
    with monkeypatch.context() as patch:
        if maker is not None:
            patch.setattr(beside, "_maker", lambda _: maker)
        folder = beside.Private(os.fsencode(parent), SNAPSHOTS)
    then = time.time() - days * DAY
    os.utime(folder.at(beside.MARK), (then, then))
    folder.let_go()
    return Path(os.fsdecode(folder.path))


def test_what_another_machine_may_be_using_stays_until_it_is_older_than_any_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = made(tmp_path, None, monkeypatch)
    used = made(tmp_path, b"0123456789ab", monkeypatch)
    long_used = made(tmp_path, b"0123456789ab", monkeypatch, days=29)
    old = made(tmp_path, b"0123456789ab", monkeypatch, days=31)
    beside.sweep(os.fsencode(tmp_path), SNAPSHOTS, lambda _: False)
    assert not own.exists()
    assert used.exists()
    assert long_used.exists()
    assert not old.exists()
    beside.sweep(os.fsencode(tmp_path), SNAPSHOTS, lambda _: True)
    assert list(tmp_path.iterdir()) == [], "a disk that moves to the next machine holds nobody's who lives"


def test_a_name_tells_the_machine_the_host_and_the_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def named() -> bytes:
        folder = beside.Private(os.fsencode(tmp_path), SNAPSHOTS)
        folder.remove()
        return os.path.basename(folder.path).removeprefix(SNAPSHOTS).partition(b"-")[0]

    names = [named(), named()]
    monkeypatch.setattr(beside, "_BOOT", b"another boot")
    names.append(named())
    monkeypatch.setattr("socket.gethostname", lambda: "another-pod")
    names.append(named())
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert all(len(name) == 12 for name in names)
    assert beside._maker(b"/proc") != beside._maker(os.fsencode(tmp_path)), "another file system, another mount"


def test_the_file_system_says_whether_it_is_one_kernels() -> None:
    assert beside.is_one_kernels(b"/dev/shm"), "tmpfs"
    assert not beside.is_one_kernels(b"/proc"), "which holds no files of anybody's"
    assert not beside.is_one_kernels(b"/nowhere/at/all")
