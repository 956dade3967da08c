"""Tries every mutant: green without it, red with it, each killer by itself; exit status 1 if one survives.

All this happens in a scratch copy of the tree, whose `sdk` and `operator` come first on the path of every process
that a test starts. First the killers run unharmed, all in one go: a killer that is red anyway kills nothing. Then
each mutant is applied, its killers run, and it is taken back. Only a failed assertion or an error inside a test counts
as red; a tree that can't even be collected is a broken mutant, not a dead one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.cluster.image_inputs import tracked_files
from tests.mutants.patch import Mutant, all_mutants

ROOT = Path(__file__).parents[2]
TEST_SECONDS = 30
"""A test that hangs under a mutant has noticed it too."""


@dataclass(frozen=True)
class Result:
    """What became of one mutant; `trouble` is empty when every killer went red."""

    mutant: Mutant
    trouble: str
    seconds: float


class Scratch:
    """A copy of the tree that may be broken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in tracked_files(ROOT):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target, follow_symlinks=False)

    def apply(self, patch: Path, *, reverse: bool = False) -> str:
        """Apply a patch or take it back; returns what went wrong, empty if nothing."""
        command = ["git", "apply", "--whitespace=nowarn", *(["--reverse"] if reverse else []), str(patch)]
        # Outside of any repository, or git would take the paths relative to the root of an enclosing one.
        environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(self.folder.parent)}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        return done.stderr.strip() if done.returncode != 0 else ""

    def run(self, tests: Iterable[str]) -> dict[str, str]:
        """Run tests; the outcome of each: passed, failed, or what kept it from running."""
        wanted = sorted(set(tests))
        report = self.folder / ".mutants.xml"
        report.unlink(missing_ok=True)
        for cached in self.folder.rglob("__pycache__"):  # a mutant of the same size and second would look unchanged
            shutil.rmtree(cached)
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider"]
        command += [f"--timeout={TEST_SECONDS}", f"--junitxml={report}", *wanted]
        environment = {**os.environ, "PYTHONPATH": f"{self.folder / 'sdk'}:{self.folder / 'operator'}"}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        outcomes = _outcomes(report) if report.exists() else {}
        last_words = (done.stdout + done.stderr).strip()[-600:]
        return {test: _of(test, outcomes) or f"did not run: {last_words}" for test in wanted}

    def imports_its_own_code(self) -> bool:
        """Whether processes of the tests run this copy, not the tree it was made of."""
        script = (
            "import waypost.contract, waypost_operator; print(waypost.contract.__file__, waypost_operator.__file__)"
        )
        environment = {**os.environ, "PYTHONPATH": f"{self.folder / 'sdk'}:{self.folder / 'operator'}"}
        said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True).stdout
        return said.count(str(self.folder)) == 2


def _outcomes(report: Path) -> dict[str, list[str]]:
    """By test, without parameters: the outcomes of its cases."""
    found: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{_without_parameters(case.get('name', ''))}"
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found.setdefault(name, []).append(outcome)
    return found


def _without_parameters(test: str) -> str:
    return test.partition("[")[0]


def _of(test: str, outcomes: dict[str, list[str]]) -> str | None:
    cases = outcomes.get(_without_parameters(test))
    if not cases:
        return None
    if "failed" in cases:
        return "failed"
    return "passed" if "passed" in cases else "skipped"


def try_one(scratch: Scratch, mutant: Mutant) -> Result:
    """Apply, run the killers, take back."""
    started = time.monotonic()
    trouble = scratch.apply(mutant.path)
    if trouble:
        return Result(mutant, f"does not apply: {trouble}", time.monotonic() - started)
    outcomes = scratch.run(mutant.killers)
    back = scratch.apply(mutant.path, reverse=True)
    if back:
        raise RuntimeError(f"{mutant.name} can't be taken back: {back}")
    survived = [f"{test} {outcome}" for test, outcome in outcomes.items() if outcome != "failed"]
    return Result(mutant, "; ".join(survived), time.monotonic() - started)


def check(mutants: Sequence[Mutant], scratch: Scratch) -> int:
    """Try these mutants and print the table; the exit status."""
    if not scratch.imports_its_own_code():
        print("the scratch copy's code would not be used: is an installed waypost first on the path?", file=sys.stderr)
        return 2
    killers = {test for mutant in mutants for test in mutant.killers}
    print(f"{len(mutants)} mutants, {len(killers)} killers: are the killers green?", flush=True)
    sick = {test: outcome for test, outcome in scratch.run(killers).items() if outcome != "passed"}
    for test, outcome in sick.items():
        print(f"  not green without any mutant: {test}: {outcome}")
    if sick:
        return 1
    results = []
    for mutant in mutants:
        result = try_one(scratch, mutant)
        results.append(result)
        verdict = f"SURVIVED: {result.trouble}" if result.trouble else "dead"
        print(f"{mutant.name:<52} {result.seconds:>5.1f} s  {verdict}\n    {mutant.breaks}", flush=True)
    alive = [result for result in results if result.trouble]
    print(f"{len(results) - len(alive)} of {len(results)} mutants are dead")
    return 1 if alive else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants whose name contains one of these")
    words = parser.parse_args().words
    mutants = [one for one in all_mutants() if not words or any(word in one.name for word in words)]
    if not mutants:
        print("no such mutant", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="waypost-mutants-") as folder:
        return check(mutants, Scratch(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
