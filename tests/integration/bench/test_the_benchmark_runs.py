"""The short form of `make bench`: every row once with next to nothing, every contestant that is quick to install."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def test_every_contestant_of_every_row_does_its_work() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--smoke"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "**Waypost**" in done.stdout, done.stdout
    assert "failed" not in done.stdout, done.stdout + done.stderr
