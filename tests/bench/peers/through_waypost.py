"""Waypost by its public names, in a process that has opened the store before the word, as others have connected.

`put PATH URI`, `get URI PATH`, `tiny COUNT URI`. Before `put` it has saved a MiB, so that its uploader runs, which is
its interpreter and its connection, and given it half a second; `first PATH URI` has not, and waits for that to start.
`again PATH URI` saves once before the word, and times the second save, of what changed meanwhile. `stop PATH NEWER
URI`: two saves on their way, the one of another file just begun, when SIGTERM comes; times until that is safe. `fill
COUNT URI`: so many checkpoints; `relaunch COUNT URI` times the next attempt's start, restore and first save. `many
COUNT PATH URI` is `put`, and tells the time for each file.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from tests.bench.peers.staged import one_by_one, timed
from waypost import Checkpoints, preemption_requested

_TINY = b"step=41".ljust(64)
_EARLIER_SECONDS = 0.3
_EARLIER_BYTES = 1 << 20
"""The least that the uploader is started for."""
_LATER_SECONDS = 0.5
"""Until it has loaded what a large save needs; between two saves of a program there is more time."""


def put(path: str, uri: str, *, first: bool = False, again: bool = False, count: int = 0) -> None:
    with Checkpoints(uri, attempt=1) as checkpoints:
        if not first:
            checkpoints.save(os.urandom(_EARLIER_BYTES), step=0, wait=True)
        if again:
            checkpoints.save(path, step=1, wait=True)
        if not first:
            time.sleep(_LATER_SECONDS)
        with timed() as report:
            began = time.perf_counter()
            checkpoints.save(path, step=2, wait=True)
            if count:
                report.update(each=(time.perf_counter() - began) / count, count=count)


def get(uri: str, path: str) -> None:
    with Checkpoints(uri, attempt=None) as checkpoints, timed():
        assert checkpoints.restore(path) is not None


def tiny(count: int, uri: str) -> None:
    with Checkpoints(uri, attempt=1) as checkpoints, timed() as report:
        report.update(one_by_one(count, lambda number: checkpoints.save(_TINY, step=number, wait=True)))


def stop(path: str, newer: str, uri: str) -> None:
    checkpoints = Checkpoints(uri, attempt=1)
    preemption_requested()  # the program has taken its end into its own hands
    with timed() as report:
        checkpoints.save(path, step=1)
        time.sleep(_EARLIER_SECONDS)
        newest = checkpoints.save(newer, step=2)
        ordered = time.perf_counter()
        os.kill(os.getpid(), signal.SIGTERM)
        newest.result()
        report["seconds"] = time.perf_counter() - ordered
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.step == 2


def fill(count: int, uri: str) -> None:
    with timed(), Checkpoints(uri, attempt=1) as checkpoints:
        for number in range(count):
            checkpoints.save(_TINY, step=number, wait=True)


def relaunch(count: int, uri: str) -> None:
    with timed() as report, Checkpoints(uri, attempt=2) as checkpoints:
        report["count"] = count
        assert checkpoints.read_bytes() == _TINY
        checkpoints.save(_TINY, step=count, wait=True)


def main(verb: str, *arguments: str) -> None:
    match verb, arguments:
        case "put", (path, uri):
            put(path, uri)
        case "first", (path, uri):
            put(path, uri, first=True)
        case "again", (path, uri):
            put(path, uri, again=True)
        case "many", (count, path, uri):
            put(path, uri, count=int(count))
        case "get", (uri, path):
            get(uri, path)
        case "tiny", (count, uri):
            tiny(int(count), uri)
        case "stop", (path, newer, uri):
            stop(path, newer, uri)
        case "fill", (count, uri):
            fill(int(count), uri)
        case "relaunch", (count, uri):
            relaunch(int(count), uri)
        case _:
            raise SystemExit(f"through_waypost: don't know {verb} {arguments}")


if __name__ == "__main__":
    main(*sys.argv[1:])
