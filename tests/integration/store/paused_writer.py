"""A program that is stopped in the middle of what it does: it resumes, and saves step after step until it is fenced.

Its ledger is written without the SDK: a synced line ahead of each save and behind each confirmation, so that a test can
tell from outside what was confirmed, and when.
"""

from __future__ import annotations

import os
import sys

from waypost import FencedError
from waypost.checkpoints import Checkpoints


def content_of(attempt: int, step: int) -> bytes:
    """Every byte tells whose step it is; some are too large for an entry."""
    return b"%04d/%08d;" % (attempt, step) * (1 if step % 2 else 8000)


def main(store: str, attempt: int, ledger: str) -> None:
    book = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(line: str) -> None:
        os.write(book, f"{line}\n".encode())
        os.fsync(book)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    with Checkpoints(store, attempt=attempt) as checkpoints:
        base = checkpoints.base
        step = 0 if base is None or base.step is None else base.step
        if base is not None:
            whole = checkpoints.read_bytes() == content_of(base.attempt, step)
            assert whole, f"attempt {attempt} was given something else than step {step}"
        note(f"restored {attempt} {step}")
        try:
            while True:
                step += 1
                note(f"saving {attempt} {step}")
                checkpoints.save(content_of(attempt, step), step=step, wait=True)
                note(f"saved {attempt} {step}")
        except FencedError:
            note(f"fenced {attempt} {step}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
