"""`make bench`: what moving checkpoints costs under Waypost, beside its peers and beside what the machine can do.

    python -m tests.bench [--only ROW ...] [--rounds N] [--size MIB] [--peers NAME ...] [--smoke] [--write]
    python -m tests.bench --render

One command installs the peers, starts an S3 server that costs next to nothing (sink.py), and lets the contestants of
each row (rows/) take turns. Ratios are what is worth quoting: absolute figures belong to the machine of the day.
`--write` keeps what was measured in docs/benchmarks.json, each row as soon as it is done, and makes docs/benchmarks.md
and its plots of all that is kept; rows that this run did not measure stay. `--render` only makes the page.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.clients import install
from tests.bench.contest import BUCKET, Outcome, Stage, compete
from tests.bench.gateway import Gateway
from tests.bench.kept import KEPT, keep, read
from tests.bench.page import goals_table, table, write_page
from tests.bench.plots import draw_bars, draw_curves
from tests.bench.rows import ROWS
from tests.bench.sink import Sink
from tests.cluster.progress import say

_SHARED_MEMORY = Path("/dev/shm")
_REAL_MIB = 256
"""The large file's size for the real server, which takes its time."""
_REAL_PATIENCE = 5.0
_SMOKED = ("obstore",)
"""Whom the short form lets at the real server, beside Waypost: the others have moved bytes to the sink by then."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when Waypost and the limits ran in every row; peers may fail, which the table says."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="ROW", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=3, help="counted ones; one more warms up")
    parser.add_argument("--size", type=int, default=512, metavar="MIB", help="of the large file")
    parser.add_argument("--peers", nargs="*", metavar="NAME", help="only these; none: Waypost and the limits alone")
    parser.add_argument("--folder", type=Path, help="where the files lie; by default on tmpfs")
    parser.add_argument("--smoke", action="store_true", help="each row once with next to nothing, to see that it runs")
    parser.add_argument("--torch", action="store_true", help="with --smoke: also the rows that need torch (gigabytes)")
    parser.add_argument(
        "--write", action="store_true", help="keep the rows in docs/benchmarks.json, and write the page"
    )
    parser.add_argument("--render", action="store_true", help="measure nothing: write the page of what is kept")
    told = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # gigabytes of memory lie in the folder
    if told.render:
        write_page(read(ROWS), plots=True)
        return 0
    with_torch = not told.smoke or told.torch
    rows = [row for row in ROWS if row.name in told.only and (with_torch or not row.needs_torch)]
    install(torch=any(row.needs_torch for row in rows))
    outcomes: list[Outcome] = []
    folder = told.folder or (_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="waypost-bench-", dir=folder) as work,
            Sink.start(BUCKET) as sink,
            Gateway.start(Path(work), BUCKET) as gateway,
        ):
            size, rounds = (8, 0) if told.smoke else (told.size, told.rounds)
            stage = Stage(sink, Path(work), size, rounds, told.smoke)
            real = dataclasses.replace(
                stage, server=gateway, mebibytes=min(size, _REAL_MIB), patience_seconds=_REAL_PATIENCE
            )
            for row, setting in ((one, setting) for one in rows for setting in one.settings):
                if told.smoke and setting.latency_ms:
                    continue
                say(f"{row.name}, {setting.label}: {row.title}")
                peers = _SMOKED if told.smoke and setting.real else told.peers
                outcome = compete(row, setting, real if setting.real else stage, peers)
                outcomes.append(outcome)
                print(f"\n{table(outcome)}", flush=True)
                if told.write:
                    if not keep(outcome, ROWS):
                        say(f"{row.name}, {setting.label} failed; {KEPT} keeps what it had")
                    write_page(read(ROWS), plots=False)
            if told.smoke:
                draw_bars(outcomes, Path(work) / "bars.svg")
                draw_curves(outcomes, Path(work) / "curves.svg")
    finally:
        if told.write:
            write_page(read(ROWS), plots=True)
    if not told.smoke:
        print(f"\n{goals_table(outcomes)}")
    needed = [name for outcome in outcomes for name in outcome.failures if told.smoke or name in outcome.needed]
    for name in needed:
        print(f"bench: {name} failed", file=sys.stderr)
    return 1 if needed else 0


if __name__ == "__main__":
    sys.exit(main())
