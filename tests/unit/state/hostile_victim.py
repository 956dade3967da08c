"""Restores hostile states, one after the other, and tells what it got and how much memory it took.

hostile_victim.py STORE...: prints a line of JSON for each.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from waypost.checkpoints import Checkpoints
from waypost.errors import WaypostError


def outcome(store: str) -> str:
    """The number of the checkpoint that was given, or the kind of error that was stated."""
    with Checkpoints(Path(store).as_uri()) as opened:
        try:
            found = opened.restore_state(library="plain")
        except WaypostError as error:
            return type(error).__name__
        return "None" if found is None else str(found.info.sequence)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        Path("/proc/self/clear_refs").write_text("5")
        got = outcome(argument)
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert peak is not None
        print(json.dumps({"got": got, "peak": int(peak[1]) // 1024}), flush=True)
