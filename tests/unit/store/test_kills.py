"""Promises 1 and 2 under SIGKILL: what was confirmed is restored, and what is restored is whole."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from waypost.checkpoints import Checkpoints

KILLS = 50
SEED = 20261123
WRITER = Path(__file__).with_name("killed_writer.py")


def test_fifty_kills_lose_no_confirmed_save_and_tear_no_restore(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    store = f"file://{tmp_path}/store"
    for attempt in range(1, KILLS + 1):
        process = subprocess.Popen(
            [sys.executable, str(WRITER), store, str(attempt), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        if attempt % 5:
            assert process.stdout.read(6) == b"ready\n", process.stderr.read().decode()
            time.sleep(chance.uniform(0, 0.08))  # the moment of the kill is the chance being taken, not a wait
        else:
            time.sleep(chance.uniform(0.05, 0.3))  # during its start or restore
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    confirmed = check((tmp_path / "ledger").read_text().splitlines())
    assert confirmed >= KILLS, "too little was saved for the kills to mean anything"
    with Checkpoints(store, attempt=KILLS + 1) as last:
        info = last.latest()
        assert info is not None
        assert info.step is not None
        assert info.step >= confirmed
    leftovers = os.listdir(tmp_path / "store" / ".tmp")
    assert len(leftovers) <= 1, leftovers


def check(ledger: list[str]) -> int:
    """Hold the ledger against the promises; returns the highest confirmed step."""
    confirmed = begun = 0
    for line in ledger:
        word, _, step, *rest = line.split()
        if word == "restored":
            assert rest == ["whole"], line
            assert confirmed <= int(step) <= begun, f"{line}: confirmed was {confirmed}, begun {begun}"
        elif word == "saving":
            begun = max(begun, int(step))
        else:
            assert word == "saved"
            confirmed = max(confirmed, int(step))
    return confirmed
