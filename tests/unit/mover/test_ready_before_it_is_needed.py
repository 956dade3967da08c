"""The process that uploads is there before the first save, where a large one is to be expected."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from tests.unit.mover.test_mover import SIZES, UPLOAD, calls_to, folder_of
from tests.unit.store.put_server import put_server
from waypost import Checkpoints
from waypost.mover.keeper import Mover
from waypost.store import sources
from waypost.store.keys import MIB


def test_a_process_is_ready_before_the_first_save_of_what_was_restored(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/store"
    with Checkpoints(uri, attempt=1) as checkpoints:
        checkpoints.save(folder_of(tmp_path), step=1, wait=True)
    with Checkpoints(uri, attempt=2) as checkpoints:
        writing = checkpoints._writing
        assert writing is not None
        mover = writing._elsewhere
        assert isinstance(mover, Mover)
        checkpoints.restore(tmp_path / "restored")
        writing.saver.drain(None)
        ready = mover.pid
        assert ready is not None
        checkpoints.save(tmp_path / "restored", step=2, wait=True)
        assert mover.pid == ready


def test_none_is_made_ready_for_what_the_program_moves_itself() -> None:
    with contextlib.closing(Mover()) as mover:
        mover.prepare("file:///nowhere", MIB - 1)
        assert mover.pid is None


def test_a_store_that_it_cannot_open_is_told_with_the_save(tmp_path: Path) -> None:
    calls = calls_to(f"file://{tmp_path}/store")
    with contextlib.closing(Mover()) as mover:
        mover.prepare("memory://here", 8 * MIB)
        ready = mover.pid
        assert mover.pack(sources.look(folder_of(tmp_path)), calls, UPLOAD, SIZES).packs
        assert mover.pid == ready


def test_what_a_large_save_needs_is_loaded_while_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a tenth of a second, of which the next save would have to wait for most."""
    with put_server(monkeypatch), contextlib.closing(Mover()) as mover:
        mover.prepare("s3://bucket/store", 8 * MIB)
        maps = Path(f"/proc/{mover.pid}/maps")
        limit = time.monotonic() + 20
        while "_awscrt" not in maps.read_text():
            assert time.monotonic() < limit
            time.sleep(0.02)
