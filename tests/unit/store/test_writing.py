"""The files of a restore: open as long as bytes for them come, no longer, and never more than a process may have."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from waypost.store.incoming import Piece
from waypost.store.writing import _MOST_IDLE, Files


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def made(folder: Path, sizes: Sequence[int]) -> list[Path]:
    paths = [folder / str(number) for number in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(b"")
        os.truncate(path, size)
    return paths


def piece(node: int, offset: int, data: bytes) -> Piece:
    return Piece(node, offset, memoryview(data))


def test_a_file_stays_open_until_its_last_byte_has_come(tmp_path: Path) -> None:
    paths = made(tmp_path, [6])
    before = descriptors()
    with Files([bytes(path) for path in paths], [6]) as files:
        files.take(piece(0, 4, b"ef"))
        files.take(piece(0, 0, b"ab"))
        assert descriptors() == before + 1
        files.take(piece(0, 2, b"cd"))
        assert descriptors() == before
    assert paths[0].read_bytes() == b"abcdef"


def test_what_is_read_again_is_written_again(tmp_path: Path) -> None:
    """A range that came wrong: its bytes count twice, and the file is opened anew for the rest."""
    paths = made(tmp_path, [6])
    before = descriptors()
    with Files([bytes(path) for path in paths], [6]) as files:
        for offset, data in ((0, b"abX"), (0, b"abc"), (3, b"def")):
            files.take(piece(0, offset, data))
    assert paths[0].read_bytes() == b"abcdef"
    assert descriptors() == before


def test_however_many_are_begun_few_are_open(tmp_path: Path) -> None:
    """After several incremental saves every file has bytes in several packs."""
    count = 3 * _MOST_IDLE
    paths = made(tmp_path, [2] * count)
    before = descriptors()
    with Files([bytes(path) for path in paths], [2] * count) as files:
        for offset, data in ((1, b"b"), (0, b"a")):
            for node in range(count):
                files.take(piece(node, offset, data))
                assert descriptors() <= before + _MOST_IDLE + 1
    assert descriptors() == before
    assert {path.read_bytes() for path in paths} == {b"ab"}


def test_several_threads_write_to_one_file(tmp_path: Path) -> None:
    threads, size = 8, 50
    (path,) = made(tmp_path, [threads * size])
    with Files([bytes(path)], [threads * size]) as files:

        def write(number: int) -> None:
            for offset in range(size):
                files.take(piece(0, number * size + offset, bytes([number])))

        running = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    assert path.read_bytes() == b"".join(bytes([number]) * size for number in range(threads))


def test_a_file_that_is_not_there_yet_is_made_by_its_first_piece(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with Files([bytes(path)], [4]) as files:
        files.take(piece(0, 2, b"cd"))
        files.take(piece(0, 0, b"ab"))
    assert path.read_bytes() == b"abcd"
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_that_open_a_file_at_once_use_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = made(tmp_path, [2])
    before, barrier, opened = descriptors(), threading.Barrier(2), os.open

    def together(name: bytes, flags: int, mode: int = 0o777) -> int:
        barrier.wait(20)
        return opened(name, flags, mode)

    monkeypatch.setattr(os, "open", together)
    with Files([bytes(path)], [4]) as files:
        running = [
            threading.Thread(target=files.take, args=(piece(0, at, data),)) for at, data in ((0, b"a"), (1, b"b"))
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        monkeypatch.undo()
        assert descriptors() == before + 1
    assert path.read_bytes() == b"ab"
    assert descriptors() == before


def test_an_error_leaves_nothing_open(tmp_path: Path) -> None:
    paths = made(tmp_path, [6, 6])
    paths[1].unlink()
    paths[1].symlink_to(paths[0])
    before = descriptors()
    with (
        pytest.raises(OSError, match="symbolic links"),
        Files([bytes(path) for path in paths], [6, 6]) as files,
    ):
        files.take(piece(0, 0, b"ab"))
        files.take(piece(1, 0, b"ab"))
    assert descriptors() == before
