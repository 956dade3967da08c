"""One life of a writer: it takes the store over, restores, says what it found, and saves until something ends it.

It runs in a process of its own, forked by `life.py`, and uses the SDK as a program does. Its ledger is a pipe: one
`write` for each line, of less than PIPE_BUF bytes, so every line is there whole or not at all, and what was written
before a SIGKILL outlives it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tests.torture.contents import Label, identify, is_bytes, read_tree, state_of, write_tree
from tests.torture.errors import TortureError
from tests.torture.traced import Freeze, TracedBackend
from waypost.backends.opening import open_backend
from waypost.checkpoints import Checkpoints, SaveHandle
from waypost.errors import FencedError, SupersededError
from waypost.store.retention import Retention

EXIT_FENCED = 75
EXIT_FAILED = 70


@dataclass(frozen=True)
class Life:
    """What one writer is to do."""

    uri: str
    attempt: int
    folder: Path
    """Where it restores to (`state`) and works (`work`)."""
    freeze: Freeze | None = None
    rest: float = 0.0
    """How long it works between two saves, in durations of the last one."""
    kept: int | None = None
    """How many checkpoints its retention keeps; None: all."""
    saves: int | None = None
    """After so many it ends by itself; None: never."""


class Ledger:
    """The writing end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def note(self, *words: object) -> None:
        line = " ".join(map(str, words)).replace("\n", "; ")[:500]
        os.write(self._descriptor, f"{line}\n".encode())


def live(life: Life, ledger: Ledger) -> int:
    """Live it; returns the exit code."""
    note = ledger.note
    note("starting")
    try:
        backend = TracedBackend(open_backend(life.uri), note, life.freeze)
        retention = None if life.kept is None else Retention(keep_last=life.kept)
        with Checkpoints(attempt=life.attempt, backend=backend, retention=retention, uploader="process") as checkpoints:
            note("started")
            step = _restore(checkpoints, life, ledger)
            for number in itertools.count(1):
                began = time.monotonic()
                step = _save(checkpoints, Label(life.attempt, step + 1), life, ledger)
                if number == life.saves:
                    break
                time.sleep(life.rest * (time.monotonic() - began))
        note("closed")
    except FencedError:
        note("fenced")
        return EXIT_FENCED
    except Exception as error:
        note("failed", type(error).__name__, error)
        raise
    return 0


def verify(life: Life, ledger: Ledger) -> int:
    """Read every live checkpoint as an outside reader, and hold it against its label; returns the exit code."""
    with Checkpoints(life.uri) as reader:
        for info in reader.list():
            place = life.folder / "verified"
            reader.restore(place, info.sequence)
            found = identify(read_tree(place))
            if (info.attempt, info.step) != found:
                raise TortureError(f"checkpoint {info.sequence} says {info.attempt}.{info.step}, holds {found}")
            ledger.note("verified", info.sequence)
    return 0


def _restore(checkpoints: Checkpoints, life: Life, ledger: Ledger) -> int:
    state = life.folder / "state"
    ledger.note("restoring")
    info = checkpoints.restore(state)
    if info is None:
        ledger.note("restored", 0, 0, 0)
        return 0
    try:
        found = identify(read_tree(state))
    except TortureError as error:
        ledger.note("torn", info.sequence, error)
        raise
    ledger.note("restored", info.sequence, *found)
    if (info.attempt, info.step) != found:
        raise TortureError(f"checkpoint {info.sequence} says attempt {info.attempt}, step {info.step}, holds {found}")
    return found.step


def _save(checkpoints: Checkpoints, label: Label, life: Life, ledger: Ledger) -> int:
    """Save a state, most often waiting for it, sometimes two at once in the background; returns the last step."""
    if label.step % 4:
        ledger.note("saving", label.step)
        info = _submit(checkpoints, label, life, wait=True).result()
        ledger.note("saved", label.step, info.sequence)
        return label.step
    under_way: list[tuple[int, SaveHandle]] = []
    for step in (label.step, label.step + 1):
        ledger.note("saving", step)
        under_way.append((step, _submit(checkpoints, Label(label.attempt, step), life, wait=False)))
    checkpoints.flush()
    for step, handle in under_way:
        try:
            ledger.note("saved", step, handle.result().sequence)
        except SupersededError:
            ledger.note("superseded", step)
    return label.step + 1


def _submit(checkpoints: Checkpoints, label: Label, life: Life, *, wait: bool) -> SaveHandle:
    tree = state_of(label)
    if is_bytes(tree):
        [content] = tree.values()
        return checkpoints.save(content, step=label.step, wait=wait)
    work = life.folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    write_tree(tree, work)
    return checkpoints.save(work, step=label.step, wait=wait)
