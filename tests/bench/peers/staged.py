"""How a contestant's program is told to begin, and tells what it took: see tests.bench.measuring."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

RECORDER = "WAYPOST_BENCH_RECORDER"
"""Environment: the pipe by which `perf` is told, if it watches the program."""


def cpu_seconds() -> float:
    """Processor time of this process and of the children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Wait for the word, time what follows, and report it with whatever is put into the dictionary.

    `seconds` put there by the work itself takes the place of the time of the whole.
    """
    print("ready", flush=True)
    sys.stdin.readline()
    extra: dict[str, float] = {}
    before, began = cpu_seconds(), time.perf_counter()
    yield extra
    seconds = time.perf_counter() - began
    if recorder := os.environ.get(RECORDER):  # what comes now is the interpreter's end
        Path(recorder).write_text("disable\n")
    print(json.dumps({"seconds": seconds, "cpu_before": before, **extra}), flush=True)


def one_by_one(count: int, act: Callable[[int], object]) -> dict[str, float]:
    """Do it so many times and return the time of one: median, and what 99 of 100 stay below."""
    took = []
    for number in range(count):
        began = time.perf_counter()
        act(number)
        took.append(time.perf_counter() - began)
    took.sort()
    slow = took[min(count - 1, count * 99 // 100)]
    return {"seconds": took[count // 2], "p99": slow, "count": count}
