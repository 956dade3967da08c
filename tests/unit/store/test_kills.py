"""Promises 1 and 2 under SIGKILL, in the shortest form of `make torture`: what was confirmed is restored, and whole."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.deep


def test_fifty_kills_lose_no_confirmed_save_and_tear_no_restore() -> None:
    told = ["--kills", "50", "--races", "0", "--only", "file", "--seed", "20261123"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", *told],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "50  writers killed" in done.stdout
