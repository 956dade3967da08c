"""Processes are ended by an identity that can't be recycled, and their logs are kept."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.errors import ClusterError
from tests.cluster.processes import Process, end_all, wait_until_ready
from tests.cluster.temporary import make_folder

SLEEP = [sys.executable, "-c", "import time; print('hello', flush=True); time.sleep(600)"]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    process = Process.start("sleeper", SLEEP, tmp_path)
    yield process
    process.end(grace_seconds=0)


def test_a_process_written_down_is_found_again_and_ended(tmp_path: Path, sleeper: Process) -> None:
    assert Process.recorded(tmp_path) == [sleeper]
    assert sleeper.alive
    sleeper.end(grace_seconds=5)
    assert not sleeper.alive


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}])
def test_a_recycled_pid_is_never_hit(sleeper: Process, change: dict[str, str]) -> None:
    former = dataclasses.replace(sleeper, **change)  # type: ignore[arg-type]
    assert not former.alive
    end_all([former], grace_seconds=1)
    assert sleeper.alive


def test_a_program_that_ends_by_itself_fails_the_wait_at_once_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = Process.start("broken", [sys.executable, "-c", "raise SystemExit('no such flag')"], tmp_path)
    with pytest.raises(ClusterError, match=r"(?s)broken ended by itself.*no such flag"):
        wait_until_ready("it", lambda: False, [process], seconds=60)


def test_a_log_keeps_what_earlier_runs_said(tmp_path: Path) -> None:
    for word in ("first", "second"):
        process = Process.start("talker", [sys.executable, "-c", f"print({word!r})"], tmp_path)
        with pytest.raises(ClusterError):
            wait_until_ready("it", lambda: False, [process], seconds=60)
    assert {"first", "second"} <= set(process.tail().splitlines())


def test_servers_of_a_killed_test_run_are_ended_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYPOST_CACHE", str(tmp_path))
    mine, abandoned = make_folder("mine"), make_folder("abandoned")
    server = Process.start("server", SLEEP, abandoned)
    owner = abandoned / "owner.json"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "started": 1}))
    make_folder("next")
    assert not server.alive
    assert not abandoned.exists()
    assert mine.exists()
    assert os.getpid() == json.loads((mine / "owner.json").read_text())["pid"]
