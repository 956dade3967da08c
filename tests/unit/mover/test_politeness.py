"""What the process beside the program takes from it, and how it gets more when it has to."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from waypost.log import logger
from waypost.mover.hunger import PATIENCE, Hunger
from waypost.mover.serving import _Serving
from waypost.mover.wire import Line
from waypost.store.urgency import Urgency

CAP_SYS_NICE = 23
PRELUDE = """
import os, sys, threading, time
from waypost.backends.opening import open_backend
from waypost.mover import keeper
from waypost.mover.keeper import Mover
from waypost.mover.politeness import Manners
from waypost.store import sources
from waypost.store.calls import Calls
from waypost.store.sizes import SIZES
from waypost.store.seams import Seams
from waypost.store.urgency import Urgency

def classes(pid):
    threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return {(os.sched_getscheduler(thread), os.getpriority(os.PRIO_PROCESS, thread)) for thread in threads}

IDLE, OTHER, nice = os.SCHED_IDLE, os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0)
"""


WITHOUT_THE_RIGHT = f"""
import ctypes, os, sys
PR_CAPBSET_DROP = 24
assert os.getuid() != 0 or ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, {CAP_SYS_NICE}, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""As in a pod, whoever one is there."""


def run(program: str, *words: str, unprivileged: bool = False) -> None:
    wrapper = ["-c", WITHOUT_THE_RIGHT] if unprivileged else []
    done = subprocess.run(
        [sys.executable, *wrapper, "-c", PRELUDE + textwrap.dedent(program), *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_in_the_idle_class_are_all_its_threads_but_the_one_that_listens() -> None:
    run("""
    heard = threading.Event()
    for _ in range(3):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    ears = []
    listener = threading.Thread(target=lambda: (ears.append(threading.get_native_id()), heard.wait()), daemon=True)
    listener.start()
    while not ears:
        time.sleep(0.01)
    assert Manners(ears).adopt(Urgency.IDLE)
    for thread in map(int, os.listdir("/proc/self/task")):
        assert os.sched_getscheduler(thread) == (OTHER if thread in ears else IDLE)
    later = []
    threading.Thread(target=lambda: later.append(os.sched_getscheduler(0))).start()
    while not later:
        time.sleep(0.01)
    assert later == [IDLE], "so are those that it starts"
    """)


def test_who_has_no_rights_can_only_become_more_polite() -> None:
    run(
        """
        manners = Manners([])
        for urgency, more in ((Urgency.KEEN, 10), (Urgency.POLITE, 15)):
            assert manners.adopt(urgency)
            assert classes(os.getpid()) == {(OTHER, min(19, nice + more))}
        assert manners.adopt(Urgency.IDLE)
        assert {policy for policy, _ in classes(os.getpid())} == {IDLE}
        assert not manners.adopt(Urgency.POLITE)
        assert not manners.adopt(Urgency.NORMAL)
        """,
        unprivileged=True,
    )


MOVED = """
keeper.Hunger.starves = lambda hunger: False  # this machine may be busy
calls = Calls(open_backend("file://" + sys.argv[1]), Seams())
mover = Mover()

def moved(ordinal, urgency):
    mover.urgency = lambda: urgency
    mover.pack(sources.look(os.urandom(2 << 20)), calls, (1, ordinal), SIZES)
    return mover.pid

first = moved(1, Urgency.IDLE)
assert IDLE in {policy for policy, _ in classes(first)}
second = moved(2, Urgency.NORMAL)
assert classes(second) == {(OTHER, nice)}, classes(second)
third = moved(3, Urgency.KEEN)
assert (OTHER, min(19, nice + 10)) in classes(third)
assert moved(4, Urgency.IDLE) == third == second
assert (first != second) == (sys.argv[2] == "replaced")
mover.close()
"""


def test_a_mover_that_may_not_take_more_is_replaced_by_one_that_does(tmp_path: Path) -> None:
    run(MOVED, str(tmp_path / "store"), "replaced", unprivileged=True)


def test_one_that_may_just_does(tmp_path: Path) -> None:
    [may] = re.findall(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    run(MOVED, str(tmp_path / "store"), "kept" if int(may, 16) & 1 << CAP_SYS_NICE else "replaced")


class Machine:
    """A /proc/PID of one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.used = folder, 100.0, 0.0
        (folder / "task" / "7").mkdir(parents=True)
        self.tick(0.0, "S", 0.0)

    def tick(self, seconds: float, state: str, used: float) -> None:
        self.now += seconds
        self.used += used
        ticks = round(self.used * os.sysconf("SC_CLK_TCK"))
        line = f"7 (py) (thon) {state} " + "0 " * 10 + f"{ticks} 0 " + "0 " * 30
        for path in (self.folder / "stat", self.folder / "task" / "7" / "stat"):
            path.write_text(line)


@pytest.mark.parametrize(
    ("state", "share", "starves"),
    [("R", 0.01, True), ("R", 0.9, False), ("S", 0.0, False), ("D", 0.0, False), ("T", 0.0, False)],
    ids=["could run and may not", "runs", "waits for the line", "waits for the disk", "is stopped"],
)
def test_hungry_is_who_could_run_and_may_not(tmp_path: Path, state: str, share: float, starves: bool) -> None:
    machine = Machine(tmp_path)
    hunger = Hunger(tmp_path, lambda: machine.now)
    seen = []
    for _ in range(12):
        machine.tick(0.25, state, 0.25 * share)
        seen.append(hunger.starves())
    assert seen[-1] == starves
    assert not any(seen[: round(PATIENCE / 0.25) - 1]), "not before it has been patient"


def test_a_process_that_is_gone_is_not_hungry(tmp_path: Path) -> None:
    hunger = Hunger(tmp_path / "gone", iter(range(100)).__next__)
    assert not any(hunger.starves() for _ in range(10))


@pytest.mark.parametrize("urgency", Urgency)
def test_beside_busy_cores_one_thread_looks(urgency: Urgency, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one would take its share of a core."""
    monkeypatch.setattr(logger, "handlers", logger.handlers)
    monkeypatch.setattr(logger, "propagate", logger.propagate)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        serving = _Serving(Line(ours), os.getpid())
        serving._urgency = urgency
        assert serving._is_modest() == (urgency in (Urgency.POLITE, Urgency.KEEN))
