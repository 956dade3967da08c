"""A program that is killed: it resumes, checks what it got, saves step after step, and keeps its own books.

Its ledger is written without the SDK, one synced line ahead of each save and one after each confirmation, so that a
test can tell from outside what was confirmed and whether a restored state is one that was ever saved.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from waypost.checkpoints import Checkpoints

LARGE = 150_000


def state_of(step: int) -> dict[str, bytes]:
    """The files of a step: every byte tells which step it belongs to."""
    chance = random.Random(step)
    files = {f"part-{number}": b"%08d" % step * chance.randrange(1, 200) for number in range(3)}
    if step % 3 == 0:
        files["large"] = b"%08d" % step * (LARGE // 8)
    return files


def main(store: str, attempt: int, folder: Path) -> None:
    ledger = os.open(folder / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(line: str) -> None:
        os.write(ledger, f"{line}\n".encode())
        os.fsync(ledger)

    state = folder / "state"
    with Checkpoints(store, attempt=attempt) as checkpoints:
        info = checkpoints.restore(state)
        step = 0
        if info is not None:
            assert info.step is not None
            step = info.step
            found = {path.name: path.read_bytes() for path in state.iterdir()}
            whole = found == state_of(step)
            note(f"restored {attempt} {step} {'whole' if whole else 'TORN'}")
        else:
            note(f"restored {attempt} 0 whole")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        work = folder / "work"
        work.mkdir(exist_ok=True)
        while True:
            step += 1
            for path in work.iterdir():
                path.unlink()
            for name, content in state_of(step).items():
                (work / name).write_bytes(content)
            note(f"saving {attempt} {step}")
            checkpoints.save(work, step=step, wait=True)
            note(f"saved {attempt} {step}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
