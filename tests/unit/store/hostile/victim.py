"""Opens hostile stores, one after the other, and tells what it got and how much memory it took.

victim.py FOLDER...: in each a `store`, a folder `place` to restore to. Prints a line of JSON for each.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from waypost.checkpoints import CheckpointInfo, Checkpoints
from waypost.errors import WaypostError
from waypost.store.calls import Budget

SHORT = Budget(seconds=0.2)


def outcome(action: Callable[[], CheckpointInfo | None]) -> str:
    """The number of the checkpoint that was given, or the kind of error that was stated."""
    try:
        info = action()
    except WaypostError as error:
        return type(error).__name__
    return "None" if info is None else str(info.sequence)


def read(folder: Path) -> CheckpointInfo | None:
    with Checkpoints((folder / "store").as_uri(), saving=SHORT) as store:
        with contextlib.suppress(WaypostError):  # whatever it is, it has to end
            store.list()
        with contextlib.suppress(WaypostError):
            assert store.completed in (True, False)
        return store.restore(folder / "place" / "read")


def resume(folder: Path) -> CheckpointInfo | None:
    with Checkpoints((folder / "store").as_uri(), attempt=5, starting=SHORT, saving=SHORT) as store:
        info = store.restore(folder / "place" / "resumed")
        store.save(b"going on", wait=True)
        return info


def peak_mib() -> int:
    """The most memory since the last call."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024  # type: ignore[index]


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        peak_mib()
        got = [outcome(functools.partial(action, Path(argument))) for action in (read, resume)]
        print(json.dumps({"folder": argument, "got": got, "peak": peak_mib()}), flush=True)
