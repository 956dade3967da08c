"""The short form of `make torture`: 200 writers killed, 50 zombies frozen in their commits, on a folder and on S3."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_two_hundred_kills_and_fifty_zombies_break_no_promise() -> None:
    told = ["--kills", "200", "--races", "25", "--only", "file", "--only", "versitygw"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", *told],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("100  writers killed") == 2, done.stdout
    assert done.stdout.count("25  races") == 2, done.stdout
