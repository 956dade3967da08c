"""What is restored into new memory comes into large pages, where the system has them."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from pathlib import Path

import numpy
import pytest

from waypost import Checkpoints
from waypost.state.pages import LARGE, ask_for_large_pages
from waypost.store.keys import MIB

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
needs_them = pytest.mark.skipif(
    not SETTING.exists() or "[never]" in SETTING.read_text(), reason="this kernel gives no large pages"
)


def address_of(memory: object) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))  # type: ignore[arg-type]


def advised(address: int) -> bool:
    """Whether the mapping around the address has been asked large pages for (`hg` in its flags)."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if (found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)) is not None:
            inside = int(found[1], 16) <= address < int(found[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return "hg" in line.split()
    return False


@needs_them
@pytest.mark.parametrize("library", ["plain", "numpy"])
def test_new_arrays_get_them(tmp_path: Path, library: str) -> None:
    with Checkpoints(f"file://{tmp_path}/store", attempt=1) as checkpoints:
        checkpoints.save({"weights": numpy.frombuffer(os.urandom(12 * MIB), "u1")}, wait=True)
        restored = checkpoints.restore_state(library=library)  # type: ignore[arg-type]
    assert restored is not None
    assert advised(numpy.asarray(restored.state["weights"]).ctypes.data + 6 * MIB)


@needs_them
def test_only_whole_ones_inside_the_memory_are_asked_for() -> None:
    with mmap.mmap(-1, 32 * MIB) as memory:
        start = address_of(memoryview(memory))
        first = -(-start // LARGE) * LARGE
        assert ask_for_large_pages(first + 1, 3 * LARGE)
        assert not advised(first)
        assert advised(first + LARGE)
        assert not advised(first + 3 * LARGE), "of which only a byte is ours"


def test_small_arrays_are_left_alone() -> None:
    assert not ask_for_large_pages(LARGE, LARGE)


def test_memory_that_is_not_there_is_no_error() -> None:
    assert not ask_for_large_pages(LARGE, 4 * LARGE)
