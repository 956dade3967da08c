"""A ledger that nobody reads stops its writer once the pipe is full; a successor so stopped fences nobody off."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.torture.lives import Subject
from tests.torture.writer import EXIT_FENCED, Ledger, Life

LINES = 8_000
"""Of some 20 bytes: more than a pipe holds."""


def successor(life: Life, ledger: Ledger) -> int:
    for number in range(LINES):
        ledger.note("request", number, "get", "log/")
    (life.folder.parent / "fence").touch()
    return 0


def zombie(life: Life, ledger: Ledger) -> int:
    number = 0
    while not (life.folder.parent / "fence").exists():
        number += 1
        ledger.note("saved", number, number)
        time.sleep(0.001)
    return EXIT_FENCED


def race(folder: Path) -> None:
    lives = [Life("memory://", attempt, folder / str(attempt)) for attempt in (1, 2)]
    for life in lives:
        life.folder.mkdir()
        (life.folder / "stderr").touch()
    old, new = Subject.begin(lives[0], zombie), Subject.begin(lives[1], successor)
    assert old.wait(beside=new) == EXIT_FENCED
    assert new.wait() == 0
    assert len(new.lines) == LINES


def test_a_successor_with_much_to_say_is_not_held_up_while_the_zombies_end_is_awaited(tmp_path: Path) -> None:
    """In a process of its own: one with threads, as pytest may be, must not fork."""
    code = f"from pathlib import Path; from {__name__} import race; race(Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[3])
