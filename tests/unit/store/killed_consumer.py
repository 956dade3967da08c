"""Saves that are killed, one after the other, each in a forked child; prints where what they were given is then.

    killed_consumer.py folder|file renameat2|without STRIDE FOLDER

Each child is killed STRIDE steps later than the one before: ahead of each line of what takes over, queues, settles and
removes, in whatever thread. It saves two: the second is waited for, and the first has waited behind another one. Each
line: the step, whether it was killed, and where each of the two is: at its place, in a hidden one, or in the store.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tests.unit.store.consumed import given, made, whole
from waypost.checkpoints import Checkpoints
from waypost.store import consuming, renaming, saver, submitting

TRACED = {module.__file__ for module in (consuming, renaming, saver, submitting)}
NAMES = ("older", "newer")


def die_at(step: int) -> None:
    """Let this process be killed ahead of its line number `step` in one of the modules, whichever thread it is in."""
    count = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)


def save_in_a_child(uri: str, parent: Path, step: int) -> bool:
    """Whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            die_at(step)
            with Checkpoints(uri, attempt=step, uploader="thread") as store:
                store.save(parent / "older", consume=True)
                store.save(parent / "newer", consume=True, wait=True)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def where(name: str, content: dict[str, object], parent: Path, stored: list[dict[str, object]]) -> str:
    """Of one of the two."""
    if (parent / name).exists() and whole(parent / name) == content:
        return "place"
    if any(whole(path) == content for path in given(parent)):
        return "given"
    return "stored" if content in stored else f"LOST-{name}"


def main(kind: str, how: str, stride: int, folder: Path) -> int:
    if how == "without":
        renaming._renameat2 = None  # type: ignore[misc]  # as on a file system that has none
    step, lost = 0, 0
    uri = f"file://{folder}/store"
    while True:
        step += stride
        parent = folder / f"{step}"
        contents = {}
        for name in NAMES:
            if kind == "file":
                parent.mkdir(exist_ok=True)
                (parent / name).write_bytes(b"%d" % step + name.encode() * 100)
            else:
                made(parent / name, b"%d" % step + name.encode(), 20_000 if name == "older" else 5)
            contents[name] = whole(parent / name)
        killed = save_in_a_child(uri, parent, step)
        stored = []
        with Checkpoints(uri) as store:
            for info in store.list():
                if info.attempt == step:
                    target = folder / f"restored-{info.sequence}"
                    store.restore(target, info.sequence)
                    stored.append(whole(target))
        if kind == "file":
            stored = [{"": next(iter(one.values()))[0]} for one in stored if one]  # type: ignore[index]
        places = [where(name, contents[name], parent, stored) for name in NAMES]
        lost += sum(place.startswith("LOST") for place in places)
        print(step, "killed" if killed else "lived", *places, flush=True)
        if not killed:
            return lost


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
