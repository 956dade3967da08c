"""Adds up pi, a hundred thousand terms a step, and survives losing its machine.

Waypost is three calls here: `read_bytes` (where did I stand?), `save`, and `complete`. All the rest is the sum, and a
ledger: a file to which this program appends a line for each thing it does, WITHOUT Waypost, so that the demo can count
afterwards what was lost and what was done twice, from a witness that doesn't know Waypost.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable

import waypost

Note = Callable[..., None]
STEPS = 40
TERMS = 100_000
SAVE_EVERY = 5
STEP_SECONDS = 0.3


def main(ledger_path: str) -> None:
    note = open_ledger(ledger_path)
    note("started")
    checkpoints = waypost.Checkpoints()

    saved = checkpoints.read_bytes()
    step, total = json.loads(saved) if saved is not None else (0, 0.0)
    note("resumed", step=step)

    while step < STEPS:
        started = time.monotonic()
        step, total = step + 1, add_terms(total, step)
        time.sleep(max(0.0, STEP_SECONDS - (time.monotonic() - started)))  # at a pace that one can watch
        note("done", step=step)
        if step % SAVE_EVERY == 0:
            try:
                checkpoints.save(json.dumps([step, total]).encode(), step=step, wait=True)
            except waypost.StopRequested:  # the machine is going: this save is confirmed, and the last one here
                note("saved", step=step)
                raise
            note("saved", step=step)

    checkpoints.complete()
    note("finished", step=step, result=repr(4 * total))


def add_terms(total: float, step: int) -> float:
    """The sum 1 - 1/3 + 1/5 - ... with TERMS more terms."""
    for k in range(step * TERMS, (step + 1) * TERMS):
        total += (1 - k % 2 * 2) / (2 * k + 1)
    return total


def open_ledger(path: str) -> Note:
    """A function that appends one line and returns when it is on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    fixed = {"run": uuid.uuid4().hex, "attempt": int(os.environ["WAYPOST_ATTEMPT"]), "pod": os.uname().nodename}
    count = 0

    def note(word: str, **what: object) -> None:
        nonlocal count
        count += 1
        line = {"at": time.time(), "number": count, **fixed, "word": word, **what}
        os.write(descriptor, json.dumps(line).encode() + b"\n")
        os.fsync(descriptor)

    return note


if __name__ == "__main__":
    main(sys.argv[1])
