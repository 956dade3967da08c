"""What the log says of a transfer that takes its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from waypost.checkpoints import Checkpoints
from waypost.store import progress as progress_of
from waypost.store.keys import MIB
from waypost.store.progress import Progress


def test_every_ten_seconds_the_log_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    now = 50.0
    progress = Progress("saving", "are in the store", 400 * MIB, lambda: now)
    for _ in range(100):
        now += 0.25
        progress.add(MIB)
        progress.tell()
    assert [record.message for record in caplog.records] == [
        "saving 400 MiB: 40 MiB are in the store after 10 s (4.0 MiB/s)",
        "saving 400 MiB: 80 MiB are in the store after 20 s (4.0 MiB/s)",
    ]


def test_of_a_quick_one_it_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    progress = Progress("saving", "are in the store", MIB, lambda: now)
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
