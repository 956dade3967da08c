"""Promise 2 under SIGKILL: a folder restored to holds what it held, nothing, or all of the checkpoint; never a part.

In a mount point the parts can't arrive by one rename. There a kill may leave a mixture, for which a folder
`.waypost-unfinished-…/replaced` stands until the next restore, which clears it first.
"""

from __future__ import annotations

import collections
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.deep

PROGRAM = Path(__file__).with_name("killed_restorer.py")
SEED = "20261125"


def run(kind: str, start: str, how: str, folder: Path) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), kind, start, how, str(folder)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("start", ["old", "empty"])
@pytest.mark.parametrize("kind", ["beside", "inside"])
def test_a_kill_ahead_of_any_file_system_operation_leaves_all_or_nothing(kind: str, start: str, tmp_path: Path) -> None:
    lines = run(kind, start, "steps", tmp_path)
    before = "old" if start == "old" else "nothing"
    allowed = {before, "nothing", "new"} | ({"unfinished"} if kind == "inside" else set())
    for case, fate, left, made, tidy in lines:
        assert left in allowed, f"killed ahead of operation {case}: {left}"
        assert (made, tidy) == ("new", "tidy"), f"killed ahead of operation {case}, the next restore"
        assert fate == "killed" or case == lines[-1][0]
    seen = collections.Counter(left for _, _, left, _, _ in lines)
    assert lines[-1][1] == "lived", "every operation had its turn"
    assert seen[before] >= 15, f"too few operations were seen for this to mean anything: {seen}"
    assert seen["new"] >= 5


@pytest.mark.parametrize("kind", ["beside", "inside"])
def test_kills_at_random_moments_leave_all_or_nothing(kind: str, tmp_path: Path) -> None:
    lines = run(kind, "old", SEED, tmp_path)
    assert len(lines) >= 50
    for case, _, left, made, tidy in lines:
        assert left in ({"old", "new", "nothing"} | ({"unfinished"} if kind == "inside" else set())), f"case {case}"
        assert (made, tidy) == ("new", "tidy"), f"case {case}"
    assert sum(fate == "killed" for _, fate, *_ in lines) >= 20
