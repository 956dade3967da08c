"""The command line: what it prints of a store, its version, its second name."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.sdk.processes import run_outside
from waypost import Checkpoints
from waypost.cli import cli
from waypost.store.keys import MIB


def invoke(*words: str) -> str:
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def filled(store: str) -> str:
    """A store with two checkpoints by two attempts."""
    with Checkpoints(store, attempt=1) as checkpoints:
        checkpoints.save(b"12345", step=10, metrics={"loss": 0.5}, metadata={"note": "first"}, wait=True)
    with Checkpoints(store, attempt=2) as checkpoints:
        checkpoints.save(b"1234567", wait=True)
    return store


def test_ls_lists_the_live_checkpoints_newest_first(filled: str) -> None:
    head, newest, older, last = invoke("checkpoints", "ls", filled).splitlines()
    assert head.split() == ["sequence", "step", "attempt", "bytes", "created"]
    assert newest.split()[1:4] == ["-", "2", "7"]
    assert older.split()[1:4] == ["10", "1", "5"]
    assert last == "2 live, not completed, highest attempt 2"


def test_ls_of_a_completed_store_says_so(filled: str) -> None:
    with Checkpoints(filled, attempt=3) as checkpoints:
        checkpoints.complete()
    assert invoke("checkpoints", "ls", filled).splitlines()[-1] == "2 live, completed, highest attempt 3"


def test_show_prints_the_newest_or_the_one_asked_for(filled: str) -> None:
    newest = json.loads(invoke("checkpoints", "show", filled))
    assert (newest["attempt"], newest["step"], newest["sizeBytes"]) == (2, None, 7)
    asked = json.loads(invoke("checkpoints", "show", filled, str(newest["parent"])))
    assert (asked["attempt"], asked["step"], asked["metrics"], asked["metadata"]) == (
        1,
        10,
        {"loss": 0.5},
        {"note": "first"},
    )


def test_looking_changes_nothing(filled: str, tmp_path: Path) -> None:
    def files() -> dict[Path, float]:
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")}

    before = files()
    invoke("checkpoints", "ls", filled)
    invoke("checkpoints", "show", filled)
    assert files() == before


def test_pins_prunes_and_verification_by_hand(filled: str, tmp_path: Path) -> None:
    listed = json.loads(invoke("checkpoints", "ls", filled, "--json"))
    newest, older = (one["sequence"] for one in listed["checkpoints"])
    assert invoke("checkpoints", "pin", filled, str(older)) == f"checkpoint {older} is pinned\n"
    assert invoke("checkpoints", "ls", filled).splitlines()[2].endswith("pinned")
    prune = ("checkpoints", "prune", filled, "--keep-last", "1", "--keep-best", "loss:max:2")
    with Checkpoints(filled, attempt=3) as checkpoints:
        base = checkpoints.save(b"1", wait=True).result().sequence
    with Checkpoints(filled, attempt=4) as checkpoints:
        last = checkpoints.save(b"2", wait=True).result().sequence
    assert invoke(*prune, "--dry-run") == f"would prune {newest}; kept {older}, {base}, {last}\n"
    assert json.loads(invoke(*prune, "--json"))["pruned"] == [newest]
    assert invoke("checkpoints", "unpin", filled, str(older)) == f"checkpoint {older} is not pinned\n"
    assert invoke("checkpoints", "prune", filled, "--keep-last", "1") == f"pruned {older}; kept {base}, {last}\n"
    assert invoke("checkpoints", "verify", filled).endswith("2 checkpoints whole, 0 problems\n")
    assert json.loads(invoke("checkpoints", "verify", filled, "--json"))["problems"] == []
    assert invoke("checkpoints", "pull", filled, str(tmp_path / "out")).startswith(f"checkpoint {last} is in")
    assert (tmp_path / "out" / "_dst_cp").read_bytes() == b"2"


@pytest.fixture
def large(store: str) -> str:
    """A store with one checkpoint of a few pieces."""
    with Checkpoints(store, attempt=1) as checkpoints:
        checkpoints.save(random.Random(1).randbytes(5 * MIB), wait=True)
    return store


def test_on_a_terminal_a_pull_shows_how_far_it_is(large: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "waypost.cli", "checkpoints", "pull", large, str(tmp_path / "out")]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=True)
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # EIO: nobody writes any more
        while piece := terminal.read(4096):
            shown += piece
    assert b"restoring" in shown
    assert b"100%  5 of 5 MiB" in shown
    assert done.stdout.startswith(b"checkpoint "), "what a script reads has no bar in it"
    assert (tmp_path / "out" / "_dst_cp").stat().st_size == 5 * MIB


def test_where_nobody_looks_on_a_quick_pull_says_what_came_of_it_and_nothing_else(large: str, tmp_path: Path) -> None:
    done = run_outside(tmp_path, "-m", "waypost.cli", "checkpoints", "pull", large, str(tmp_path / "out"))
    assert done.code == 0
    assert "MiB" not in done.err
    assert "\r" not in done.err
    assert "\x1b" not in done.err


def test_version_is_the_distributions() -> None:
    assert invoke("--version") == f"waypost, version {version('waypost')}\n"


def test_kubectl_finds_it_as_a_plugin() -> None:
    scripts = {script.name: script.value for script in entry_points(group="console_scripts", module="waypost.cli")}
    assert scripts["waypost"] == scripts["kubectl-waypost"] == "waypost.cli:main"


def test_help_is_about_run_or_about_the_function(tmp_path: Path) -> None:
    program = tmp_path / "program_with_help.py"
    program.write_text('import waypost\n@waypost.task\ndef train(n_steps: int = 3):\n    """Train it."""\n')
    assert "--preempt-every" in invoke("run", "--help")
    about = invoke("run", f"{program}:train", "--help")
    assert "Train it." in about
    assert "--n-steps INTEGER" in about


def test_delete_of_a_store_that_is_not_there_succeeds_if_asked_to(store: str) -> None:
    assert "nothing was deleted" in invoke("checkpoints", "delete", store, "--missing-ok", "--yes")


def test_delete_may_be_repeated(filled: str) -> None:
    assert invoke("checkpoints", "delete", filled, "--missing-ok", "--yes").startswith("deleted")
    assert " 0 log entries" in invoke("checkpoints", "delete", filled, "--missing-ok", "--yes")
