"""`make model`: explore everything, and print the table of docs/protocol.md.

    python -m tests.model [--seconds S] [--states N] [--way] [NAME ...]

Each run is bounded by a number of worlds and by CPU time; a bound that is hit is said. A world takes 3 KB of memory
where a hole is looked for, and 100 bytes where nothing is to be found; should something be, the run is done again for
the way.
"""

from __future__ import annotations

import argparse
import functools
import sys

from tests.model.exploring import Result, explore
from tests.model.held import HELD
from tests.model.holes import HOLES
from tests.model.runs import Run


def main() -> int:
    """0 when every hole was found and no rule broke."""
    parser = argparse.ArgumentParser(prog="make model", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these runs (L1, F3 ...)")
    parser.add_argument("--seconds", type=float, default=900, help="bound of each run, of CPU time")
    parser.add_argument("--states", type=int, default=8_000_000, help="bound of each run")
    parser.add_argument("--way", action="store_true", help="print the shortest way to each hole")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {run.name for run in (*HOLES, *HELD)}
    if unknown:
        parser.error(f"no such run: {', '.join(sorted(unknown))}")
    wrong = 0
    for run in (*HOLES, *HELD):
        if arguments.names and run.name not in arguments.names:
            continue
        look = functools.partial(explore, run.rules, seconds=arguments.seconds, usable=run.usable)
        result = look(max_states=arguments.states, compact=not run.breaks)
        if result.found and not run.breaks:
            result = look(max_states=arguments.states, to_first=True)
        right = as_expected(run, result)
        wrong += not right
        print(line(run, result) + ("" if right else "  <-- NOT AS EXPECTED"), flush=True)
        if arguments.way or not right:
            for found in result.found.values():
                print(f"    {found.what}\n      " + "\n      ".join(found.steps), flush=True)
    return 1 if wrong else 0


def as_expected(run: Run, result: Result) -> bool:
    """A hole is found, and nothing else; a rule breaks nothing, as far as was explored."""
    return set(result.found) <= run.breaks and bool(result.found) == bool(run.breaks)


def line(run: Run, result: Result) -> str:
    """The run's row in the table."""
    verdict = " ".join(sorted(result.found)) + " broken" if result.found else "none"
    extent = "exhausted" if result.exhausted else "bound hit"
    return (
        f"| {run.name} | {run.about} | {result.states:,} / {result.transitions:,} | {extent}, {verdict} "
        f"| {result.seconds:.0f} s |"
    )


if __name__ == "__main__":
    sys.exit(main())
