"""Buffers for bytes on their way lie where every processor copies fast; see `waypost.backends.aligned`."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import pytest

from waypost.backends.aligned import BEHIND, between, mapped
from waypost.backends.file import FileBackend
from waypost.backends.parts import pieces_of
from waypost.backends.protocol import PIECE, FilePart

SIZE = PIECE + 1000
NEAR = range(1, 32)
"""So far behind its source, modulo a page, a copy's target mustn't lie."""


def place(memory: memoryview | mmap.mmap) -> int:
    """Where it begins within its page."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory)) % mmap.PAGESIZE


def test_no_target_lies_near_behind_its_source() -> None:
    buffer = between(SIZE)
    assert place(buffer) == BEHIND
    assert len(buffer) == SIZE
    assert (place(buffer) - 0) % mmap.PAGESIZE not in NEAR, "what comes from a page"
    for target in (0, 16, 32, 48, 64):  # pages; numpy's arrays; bytearrays; bytes; torch's tensors
        assert (target - place(buffer)) % mmap.PAGESIZE not in NEAR


def test_a_mapping_begins_with_a_page_and_is_this_process_s_alone() -> None:
    memory = mapped(SIZE)
    assert place(memory) == 0
    child = os.fork()
    if child == 0:
        memory[0] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert memory[0] == 0


def test_a_few_bytes_are_not_worth_a_mapping() -> None:
    assert isinstance(between(100).obj, bytearray)


def test_no_memory_is_told_as_the_heap_tells_it() -> None:
    """An OSError would be taken for the disk's, and fail a save that the program can still make by itself."""
    with pytest.raises(MemoryError):
        mapped(1 << 60)


def test_pieces_of_files_lie_there(tmp_path: Path) -> None:
    backend = FileBackend(f"file://{tmp_path}")
    content = os.urandom(SIZE)
    backend.put("packs/one", content)
    places, got = [], bytearray()

    def take(piece: memoryview) -> None:
        places.append(place(piece))
        got.extend(piece)

    backend.read_range("packs/one", 0, SIZE, take)
    assert got == content
    assert places == [BEHIND, BEHIND]


def test_pieces_of_open_files_lie_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content := os.urandom(SIZE))
    with path.open("rb") as file:
        got = [(place(piece), bytes(piece)) for piece in pieces_of([FilePart(file.fileno(), 0, SIZE, b"file")])]
    assert [where for where, _ in got] == [BEHIND, BEHIND]
    assert b"".join(piece for _, piece in got) == content
