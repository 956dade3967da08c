"""What the log says of a transfer that takes its time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from waypost.checkpoints import Checkpoints
from waypost.store import progress as progress_of
from waypost.store.keys import MIB
from waypost.store.progress import Progress, watched


def test_every_ten_seconds_the_log_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    now = 50.0
    progress = Progress("saving", "are in the store", at_most=True, clock=lambda: now)
    progress.expect(400 * MIB)
    for _ in range(100):
        now += 0.25
        progress.add(MIB)
        progress.tell()
    assert [record.message for record in caplog.records] == [
        "saving 400 MiB: 40 MiB are in the store after 10 s (4.0 MiB/s, at most 90 s left)",
        "saving 400 MiB: 80 MiB are in the store after 20 s (4.0 MiB/s, at most 80 s left)",
    ]


def test_of_a_quick_one_it_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    progress = Progress("saving", "are in the store", clock=lambda: now)
    progress.expect(MIB)
    now = 9.0
    progress.tell()
    assert not caplog.records


def test_a_restore_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with Checkpoints(f"file://{tmp_path}/store", attempt=1, uploader="thread") as store:
        store.save(bytes(range(256)) * 8192, wait=True)
        monkeypatch.setattr(progress_of, "EVERY", 0.0)
        store.restore(tmp_path / "restored")
    assert "restoring 2 MiB: 2 MiB have come" in caplog.text
    assert ", 0 s left)" in caplog.text


def test_an_upload_by_the_program_itself_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(progress_of, "EVERY", 0.0)
    with Checkpoints(f"file://{tmp_path}/store", attempt=1, uploader="thread") as store:
        store.save(random.Random(1).randbytes(2 * MIB), wait=True)
    assert "saving 2 MiB: 2 MiB are in the store" in caplog.text
    assert ", at most 0 s left)" in caplog.text


def test_bytes_and_states_count_as_files_do(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with Checkpoints(f"file://{tmp_path}/store", attempt=1, uploader="thread") as store:
        store.save(bytes(range(256)) * 8192, wait=True)
        with watched(lambda progress: seen.append((progress.moved, progress.total))):
            store.read_bytes()
        assert seen[-1] == (2 * MIB, 2 * MIB)
        store.save({"first": bytearray(MIB // 2), "second": random.Random(1).randbytes(2 * MIB)}, wait=True)
        with watched(lambda progress: seen.append((progress.moved, progress.total))):
            store.restore_state(select="second")
        moved, total = seen[-1]
        assert moved >= total >= 2 * MIB
