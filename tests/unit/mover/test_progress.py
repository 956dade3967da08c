"""What the log says of an upload that takes its time."""

from __future__ import annotations

import pytest

from waypost.mover.progress import Progress
from waypost.store.keys import MIB


def test_every_ten_seconds_the_log_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    now = 50.0
    progress = Progress(400 * MIB, lambda: now)
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
    progress = Progress(MIB, lambda: now)
    now = 9.0
    progress.tell()
    assert not caplog.records
