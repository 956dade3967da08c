"""Restores that are killed, one after the other, each in a forked child; prints what each left behind.

    killed_restorer.py beside|inside old|empty steps|SEED FOLDER

`steps` kills at every file-system operation in turn, ahead of it, by Python's audit events; a seed kills at random
moments. Each line: where it was killed, what the folder held then, and what a restore by a survivor made of it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.unit.store.test_folders import fingerprint
from waypost.checkpoints import Checkpoints

OLD, NEW = 2, 3
RANDOM_KILLS = 60
SEVERAL_REQUESTS = 20 << 20
UNFINISHED = ".waypost-unfinished-"


def make_store(uri: str, folder: Path) -> dict[str, object]:
    """Two checkpoints that differ in every way that two may; returns what each looks like."""
    old, new = folder / "old", folder / "new"
    (old / "both").mkdir(parents=True)
    (old / "both" / "file").write_bytes(b"old" * 50_000)
    (old / "only old").mkdir()
    (old / "only old" / "deep").write_text("x")
    (old / "turns").write_text("a file")
    (new / "both" / "empty").mkdir(parents=True)
    (new / "both" / "file").write_bytes(b"new" * 50_000)
    (new / "both" / "large").write_bytes(os.urandom(SEVERAL_REQUESTS))
    (new / "turns").mkdir()
    (new / "turns" / "into a folder").write_text("y")
    (new / "link").symlink_to("both/file")
    os.chmod(new / "both", 0o500)
    os.chmod(old / "only old", 0o500)
    with Checkpoints(uri, attempt=1) as store:
        store.save(old, wait=True)
        store.save(new, wait=True)
    return {"old": fingerprint(old), "new": fingerprint(new)}


def state(target: Path, known: dict[str, object]) -> str:
    """What the folder holds, in one word."""
    if not target.exists():
        return "nothing"
    halves = list(target.glob(f"{UNFINISHED}*"))
    found = {
        path: what for path, what in fingerprint(target).items() if not path.startswith(UNFINISHED.encode("ascii"))
    }
    if any((half / "replaced").exists() for half in halves):
        return "unfinished"
    for name, wanted in known.items():
        if found == wanted:
            return name
    return "TORN" if found else "nothing"


def die_at(step: int) -> None:
    """Let this process be killed ahead of its file-system operation number `step`."""
    count = 0

    def hook(event: str, arguments: object) -> None:
        nonlocal count
        if event.startswith(("os.", "shutil.", "fcntl.")) or event == "open":
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def restored_in_a_child(uri: str, target: Path, step: int | None, after: float | None) -> bool:
    """Restore NEW in a child that is killed at a step, or after so many seconds; whether it was."""
    child = os.fork()
    if child == 0:
        try:
            with Checkpoints(uri) as store:
                if step is not None:
                    die_at(step)
                store.restore(target, NEW)
        finally:
            os._exit(0)
    if after is not None:
        time.sleep(after)  # the moment of the kill is the chance being taken, not a wait
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main(kind: str, start: str, how: str, folder: Path) -> None:
    uri, target = f"file://{folder}/store", folder / "place" / "target"
    known = make_store(uri, folder)
    if kind == "inside":  # as if a volume were mounted there
        os.path.ismount = lambda path: path in (str(target), os.fsencode(target))
    chance = random.Random(how)
    longest = 0.0
    case = 0
    while how == "steps" or case < RANDOM_KILLS:
        case += 1
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir()
        if kind == "inside":
            target.mkdir()
        with Checkpoints(uri) as store:
            if start == "old":
                store.restore(target, OLD)
            if longest == 0.0:
                began = time.monotonic()
                restored_in_a_child(uri, target, None, None)
                longest = time.monotonic() - began
                continue
            after = None if how == "steps" else chance.uniform(0, 1.2 * longest)
            killed = restored_in_a_child(uri, target, case if how == "steps" else None, after)
            left = state(target, known)
            store.restore(target, NEW)
            tidy = os.listdir(target.parent) == ["target"] and not list(target.glob(f"{UNFINISHED}*"))
            print(case, "killed" if killed else "lived", left, state(target, known), "tidy" if tidy else "UNTIDY")
        if how == "steps" and not killed:
            return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
