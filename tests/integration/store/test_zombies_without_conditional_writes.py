"""Attempts that are stopped anywhere and come back, on real places without conditional writes: real processes, SIGSTOP.

The witness is a ledger that the programs write without the SDK.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.store.conftest import SCOPED
from waypost.checkpoints import Checkpoints

pytestmark = pytest.mark.integration

RACES = 5
SEED = 20261125
WRITER = Path(__file__).with_name("paused_writer.py")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", SCOPED, indirect=True)
def test_no_zombie_commits_once_its_successor_has_started(uri: str, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    ledger = tmp_path / "ledger"
    with contextlib.ExitStack() as processes:
        zombie: subprocess.Popen[str] | None = None
        for attempt in range(1, RACES + 1):
            successor = processes.enter_context(begin(uri, attempt, ledger))
            processes.callback(successor.kill)
            await_line(successor, f"restored {attempt}")
            if zombie is not None:
                zombie.send_signal(signal.SIGCONT)
                assert await_line(zombie, f"fenced {attempt - 1}")
                assert zombie.wait(60) == 0
            await_line(successor, f"saved {attempt}")
            time.sleep(chance.uniform(0, 0.05))  # the moment of the stop is the chance being taken, not a wait
            successor.send_signal(signal.SIGSTOP)
            zombie = successor
    confirmed = judge(ledger.read_text().splitlines())
    with Checkpoints(uri, attempt=RACES + 1) as last:
        info = last.latest()
        assert info is not None
        assert info.step is not None
        assert info.step >= confirmed >= RACES


def begin(uri: str, attempt: int, ledger: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WRITER), uri, str(attempt), str(ledger)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def await_line(process: subprocess.Popen[str], beginning: str) -> bool:
    """Read what it says up to the line that begins so; False if it ends before."""
    assert process.stdout is not None
    return any(line.startswith(beginning) for line in process.stdout)


def judge(ledger: list[str]) -> int:
    """Hold the ledger against the promises; returns the highest confirmed step."""
    confirmed = begun = newest = base = 0
    for line in ledger:
        word, by, number = line.split()
        attempt, step = int(by), int(number)
        if word == "restored":
            assert confirmed <= step <= begun, f"{line}: {confirmed} was confirmed, {begun} begun"
            newest, base = attempt, step
        elif word == "saving":
            begun = max(begun, step)
        elif word == "saved":
            # a zombie may note late what was confirmed before: then its successor has restored it
            assert attempt == newest or step <= base, f"{line}, but attempt {newest} had started from {base}"
            confirmed = max(confirmed, step)
    return confirmed
