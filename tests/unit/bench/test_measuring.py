"""What one run is said to have taken is what all of its processes took, whoever started and whoever outlived whom."""

from __future__ import annotations

import sys
import textwrap
from typing import cast

import pytest

from tests.bench.measuring import Measurement, Program, RunError, measure
from tests.bench.server import Server
from tests.bench.sink import Counts

BURN = "import time\nwhile time.process_time() < 0.3: pass"
HOLD = (
    "memory = bytearray(64 << 20)\nfor at in range(0, len(memory), 4096): memory[at] = 1\nimport time; time.sleep(0.3)"
)


class Silent:
    """A server that nobody asks."""

    def forget(self) -> None: ...

    def cpu_seconds(self) -> float:
        return 0.0

    def counts(self) -> Counts:
        return Counts({}, {}, 0, 0)


def run(program: str, *, staged: bool = True) -> Measurement:
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return measure(Program(command, staged), cast(Server, Silent()))


def test_only_the_work_is_timed_and_paid_for() -> None:
    took = run(f"""
        from tests.bench.peers.staged import timed
        exec({BURN!r})
        with timed() as report:
            report["extra"] = 7
    """)
    assert took.cpu_seconds < 0.15
    assert took.seconds < 0.15
    assert took.extra == {"extra": 7}


@pytest.mark.parametrize("left_behind", [False, True])
def test_a_childs_work_counts_whether_its_parent_waits_for_it_or_not(left_behind: bool) -> None:
    took = run(f"""
        import subprocess, sys, threading
        from tests.bench.peers.staged import timed
        with timed():
            def start():
                child = subprocess.Popen([sys.executable, "-c", {BURN!r}], stdout=subprocess.DEVNULL)
                {"child.returncode = 0" if left_behind else "child.wait()"}
            thread = threading.Thread(target=start)
            thread.start()
            thread.join()
            import time; time.sleep(0.2)
    """)
    assert took.cpu_seconds >= 0.3


def test_what_a_living_child_used_before_the_work_is_not_counted() -> None:
    took = run(f"""
        import subprocess, sys, time
        from tests.bench.peers.staged import timed
        said = subprocess.PIPE
        program = {BURN!r} + "\\nprint(flush=True)\\nimport sys; sys.stdin.read()"
        child = subprocess.Popen([sys.executable, "-c", program], stdin=said, stdout=said)
        child.stdout.readline()
        with timed():
            child.stdin.close()
            child.wait()
    """)
    assert took.cpu_seconds < 0.2


def test_memory_is_that_of_all_processes_together() -> None:
    took = run(
        f"""
        import subprocess, sys
        children = [subprocess.Popen([sys.executable, "-c", {HOLD!r}]) for _ in range(2)]
        assert not any(child.wait() for child in children)
    """,
        staged=False,
    )
    assert took.peak_mib >= 128


def test_a_program_that_fails_says_what_it_said() -> None:
    with pytest.raises(RunError, match="no such luck"):
        run("raise SystemExit('no such luck')")
