"""`waypost run` and plain calls on a laptop: real child processes, retries, resuming, drills, and the value back."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.sdk.processes import DEADLINE, Finished, outside, run_outside, terminate, wait_for
from waypost import Checkpoints

COUNT = """
import os, sys, time
from pathlib import Path
import waypost

@waypost.task(retries=2)
def count(n: int = 40, pause: float = 0.01, crash_at: int = -1, die_at: int = -1):
    store = waypost.Checkpoints()
    prev = waypost.current_context().checkpoint.read()
    start = int(prev) if prev else 0
    print("resumed at", start)
    for index in range(start, n):
        with open("ledger", "a") as ledger:
            print(os.environ["WAYPOST_ATTEMPT"], index, file=ledger)
        if index == crash_at:
            raise ValueError(f"crash at {index}")
        if index == die_at and start < die_at:
            os.kill(os.getpid(), 11)
        time.sleep(pause)
        store.save(str(index + 1).encode(), step=index + 1, wait=True)
    return {"counted": n}

if __name__ == "__main__":
    print("value", count(int(sys.argv[1]), crash_at=int(sys.argv[2])))
"""


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    """A folder with the program, and no contract."""
    (tmp_path / "count_program.py").write_text(COUNT)
    return tmp_path


def run(folder: Path, *words: str) -> Finished:
    return run_outside(folder, "-m", "waypost.cli", "run", "count_program.py:count", *words)


@contextlib.contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start Python on the laptop and wait for the program's first step; it doesn't outlive the block."""
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=outside(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            wait_for((folder / "ledger").exists, "the first step")
            yield process
        finally:
            process.kill()


def ledger(folder: Path) -> list[tuple[int, int]]:
    """What the program did, in its own words: (attempt, index) in order."""
    lines = (folder / "ledger").read_text().splitlines()
    return [(int(attempt), int(index)) for attempt, index in (line.split() for line in lines)]


def store_of(done: Finished) -> str:
    found = re.search(r"checkpoints in (file://\S+)", done.err)
    assert found is not None, done
    return found[1]


# --- waypost run -------------------------------------------------------------------------------------------------
def test_a_run_completes_in_a_new_store_of_its_own_which_it_names(laptop: Path) -> None:
    first, second = run(laptop, "--n", "3"), run(laptop, "--n", "3")
    assert (first.code, second.code) == (0, 0), (first, second)
    assert first.out == second.out == "resumed at 0\n"
    assert store_of(first) != store_of(second)
    assert store_of(first).startswith((laptop / ".waypost").as_uri())
    with Checkpoints(store_of(first), attempt=None) as store:
        assert store.completed
    assert 'result: {"counted": 3}' in first.err


def test_a_failure_is_retried_and_resumes_where_it_had_saved(laptop: Path) -> None:
    done = run(laptop, "--n", "8", "--die-at", "5")
    assert done.code == 0, done
    assert done.out == "resumed at 0\nresumed at 5\n"
    assert [index for _, index in ledger(laptop)] == [0, 1, 2, 3, 4, 5, 5, 6, 7]
    assert "killed by signal 11" in done.err


def test_a_failure_beyond_the_retries_ends_the_run_with_its_code(laptop: Path) -> None:
    done = run(laptop, "--n", "8", "--crash-at", "5")
    assert done.code == 1, done
    assert done.out.split("\n")[:-1] == ["resumed at 0", "resumed at 5", "resumed at 5"]
    assert done.err.count("ValueError: crash at 5") >= 3
    assert "not completed (failed): 3 attempts" in done.err
    assert f"--checkpoint {store_of(done)}" in done.err


def test_checkpoint_resumes_with_the_next_attempt_and_a_completed_store_is_told(laptop: Path) -> None:
    failed = run(laptop, "--n", "8", "--crash-at", "5")
    again = run(laptop, "--n", "8", "--checkpoint", store_of(failed))
    assert (again.code, again.out) == (0, "resumed at 5\n"), again
    assert ledger(laptop)[-1] == (4, 7)
    once_more = run(laptop, "--n", "8", "--checkpoint", store_of(failed))
    assert (once_more.code, once_more.out) == (0, ""), once_more
    assert "has already completed" in once_more.err


@pytest.mark.parametrize("kill", [(), ("--kill",)], ids=["SIGTERM", "SIGKILL"])
def test_the_drill_preempts_and_loses_nothing_beyond_the_last_save(laptop: Path, kill: tuple[str, ...]) -> None:
    done = run(laptop, "--n", "40", "--pause", "0.02", "--preempt-every", "0.3", *kill)
    assert done.code == 0, done
    done_steps = ledger(laptop)
    assert {index for _, index in done_steps} == set(range(40))
    attempts = {attempt for attempt, _ in done_steps}
    assert len(attempts) >= 3, "the drill preempted at least twice"
    for attempt in sorted(attempts)[1:]:
        before = max(index for number, index in done_steps if number == attempt - 1)
        first = min(index for number, index in done_steps if number == attempt)
        assert first in (before, before + 1), f"attempt {attempt} began at {first}, the one before had come to {before}"
    assert "which uses up no retry" in done.err


def test_sigterm_to_the_run_stops_the_attempt_and_relaunches_nothing(laptop: Path) -> None:
    with started(laptop, "-m", "waypost.cli", "run", "count_program.py:count", "--n", "6000") as process:
        terminate(process)
        out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 75, err
    assert out == "resumed at 0\n"
    assert "preempted, ended after a save" in err


def test_a_fenced_child_ends_the_run(laptop: Path) -> None:
    store = (laptop / "store").as_uri()
    words = ("-m", "waypost.cli", "run", "count_program.py:count", "--n", "6000", "--checkpoint", store)
    with started(laptop, *words) as process, Checkpoints(store, attempt=7):
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 75, err
    assert "not completed (fenced): 1 attempt" in err


# --- A plain call ------------------------------------------------------------------------------------------------
def test_a_plain_call_gives_back_the_value(laptop: Path) -> None:
    done = run_outside(laptop, "count_program.py", "4", "-1")
    assert (done.code, done.out) == (0, "resumed at 0\nvalue {'counted': 4}\n"), done


def test_a_plain_call_raises_the_programs_own_error_when_the_retries_are_used_up(laptop: Path) -> None:
    done = run_outside(laptop, "count_program.py", "8", "5")
    assert done.code == 1, done
    assert done.out == "resumed at 0\nresumed at 5\nresumed at 5\n"
    assert "ValueError: crash at 5\n(attempt 3 of count ended the run: ValueError: crash at 5;" in done.err


def script(folder: Path, text: str) -> Finished:
    (folder / "script.py").write_text(textwrap.dedent(text))
    return run_outside(folder, "script.py")


def test_a_call_without_the_main_guard_is_explained_by_python_and_not_repeated(tmp_path: Path) -> None:
    done = script(tmp_path, "import waypost\n@waypost.task(retries=5)\ndef f():\n    return 1\nf()\n")
    assert done.code == 1, done
    assert "if __name__ == '__main__':" in done.err
    assert "not completed (not started): 1 attempt" in done.err


def test_a_function_that_cannot_be_found_again_is_refused_in_words(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        """
        import waypost
        def outer():
            @waypost.task
            def inner():
                return 1
            return inner
        if __name__ == "__main__":
            outer()()
        """,
    )
    assert done.code == 1, done
    assert "define it at the top level" in done.err


def test_arguments_and_values_that_cannot_travel_are_refused_in_words(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        """
        import threading, waypost
        @waypost.task
        def f(x=None):
            return threading.Lock()
        if __name__ == "__main__":
            for argument in (threading.Lock(), None):
                try:
                    f(argument)
                except waypost.WaypostError as error:
                    print(error)
        """,
    )
    assert done.code == 0, done
    arguments, value = done.out.splitlines()
    assert "this call can't be carried over" in arguments
    assert "a lock that can't be handed back" in value


def test_a_plain_call_stopped_by_sigterm_is_a_stop_of_the_caller(laptop: Path) -> None:
    with started(laptop, "count_program.py", "6000", "-1") as process:
        terminate(process)
        out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 75, err
    assert out == "resumed at 0\n"
