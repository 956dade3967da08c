"""What `make test` says of its suites: nothing that failed, hung or never ran may look like a success."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import suites
from tests.cluster.waiting import wait_for
from tests.suites import Suite


def python(name: str, program: str, budget: float = 30.0) -> Suite:
    return Suite(name, (sys.executable, "-c", program), budget)


def test_tracks_run_side_by_side_and_each_verdict_is_told(tmp_path: Path) -> None:
    met = tmp_path / "met"
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(met)!r}).exists(): time.sleep(0.01)"
    stage = (
        (python("waits", waits), python("fails", "raise SystemExit(3)")),
        (python("meets", f"open({str(met)!r}, 'w')"),),
    )
    outcomes = suites.run_stage(stage)
    assert [(one.suite.name, one.verdict) for one in outcomes] == [
        ("waits", "ok"),
        ("fails", "FAILED (exit 3)"),
        ("meets", "ok"),
    ]


def test_what_ran_beside_is_shown_whole_at_its_end(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    suites.run_stage(
        ((python("first", "pass"),), (python("beside", "import os; os.write(1, b'out '); os.write(2, b'err')"),))
    )
    assert b"== beside, which ran beside:\nout err" in capfdbinary.readouterr().out


def test_a_hung_suite_ends_at_its_budget_with_all_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = (
        "import pathlib, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    outcome = suites.run(python("hangs", program, budget=1.5))
    assert outcome.verdict == "OVER BUDGET (2 s)"
    child = Path("/proc") / pid.read_text() / "stat"
    wait_for("the child's end", lambda: not child.exists() or child.read_text().split(") ")[1][0] == "Z", seconds=10)


def test_one_failure_among_many_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    good, bad = python("good", "pass"), python("bad", "raise SystemExit(1)")
    monkeypatch.setitem(suites.PLANS, "test", (((good,), (bad,)), ((good,),)))
    assert suites.main(["test"]) == 1
    assert "suites: 2 passed, 1 failed" in capfd.readouterr().out
    monkeypatch.setitem(suites.PLANS, "test", (((good,),),))
    assert suites.main(["test"]) == 0


def test_make_test_runs_every_folder_of_tests_there_is() -> None:
    named = {
        Path(argument)
        for stage in suites.PLANS["test"]
        for track in stage
        for suite in track
        for argument in suite.command
        if argument.startswith("tests/")
    }
    root = Path(__file__).parents[2]
    found = {path.parent.relative_to(root) for path in root.glob("tests/*/**/test_*.py")}
    assert {folder for folder in found if not named & {folder, *folder.parents}} == set()


def test_an_interrupted_run_takes_its_suites_along(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hangs = f"import os, time; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(600)"
    program = (
        "import sys\n"
        "from tests import suites\n"
        f"one = suites.Suite('hangs', (sys.executable, '-c', {hangs!r}), 600.0)\n"
        "suites.PLANS['test'] = (((one,), (one,)),)\n"
        "sys.exit(suites.until_interrupted(['test']))\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    wait_for("two suites", lambda: pids.exists() and pids.read_text().count("\n") == 2, seconds=30)
    run.terminate()
    assert run.wait(timeout=30) == 130
    for pid in pids.read_text().split():
        assert not Path("/proc", pid).exists()
