"""How the costs grow: a relaunch with the number of checkpoints, a save with the number of files."""

from __future__ import annotations

import contextlib
import shutil
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.contest import BUCKET, HTTP, OURS, Contestant, Goal, Results, Row, Setting, Stage, Turn, median
from tests.bench.environments import Environment
from tests.bench.measuring import Program, measure

_STORE = f"s3://{BUCKET}/store"
_CHECKPOINTS = (1, 10, 100, 1000)
_FILES = (10, 100, 1000, 10_000, 100_000)
_FILE_BYTES = 1024


def _named(count: int, what: str) -> str:
    return f"{OURS}, {count} {what}"


def _program(*arguments: str) -> Program:
    return Program(Environment.OWN.module("through_waypost", *arguments), staged=True)


def _relaunches(stage: Stage) -> Sequence[Contestant]:
    def relaunch(count: int) -> Contestant:
        def program(turn: Turn) -> Program:
            measure(_program("fill", str(count), _STORE), turn.stage.server)
            return _program("relaunch", str(count), _STORE)

        return Contestant(_named(count, "checkpoints"), program)

    return [relaunch(count) for count in _CHECKPOINTS if not stage.smoke or count <= 10]


def _counts(stage: Stage) -> Sequence[int]:
    return [count for count in _FILES if not stage.smoke or count <= 100]


def _folder(stage: Stage, count: int) -> Path:
    return stage.folder / f"many-{count}"


@contextlib.contextmanager
def _with_folders(stage: Stage, _: Setting) -> Iterator[None]:
    try:
        for count in _counts(stage):
            for number in range(count):
                path = _folder(stage, count) / f"{number // 1000}" / f"{number}"
                if number % 1000 == 0:
                    path.parent.mkdir(parents=True)
                path.write_bytes(number.to_bytes(8, "big") * (_FILE_BYTES // 8))
        yield
    finally:
        for count in _counts(stage):
            shutil.rmtree(_folder(stage, count), ignore_errors=True)


def _many(stage: Stage) -> Sequence[Contestant]:
    def save(count: int) -> Contestant:
        folder = str(_folder(stage, count))
        return Contestant(_named(count, "files"), lambda _: _program("many", str(count), folder, _STORE))

    return [save(count) for count in _counts(stage)]


def _each(results: Results, count: int) -> float:
    return statistics.median(one.extra["each"] for one in results[_named(count, "files")])


RELAUNCHES = Row(
    "relaunches",
    "The next attempt's start, restore and first save, after so many checkpoints of 64 bytes",
    _relaunches,
    settings=(HTTP,),
    goals=(
        Goal(
            "a relaunch after 1000 checkpoints takes twice that after 10",
            lambda results: median(results, _named(1000, "checkpoints")) / median(results, _named(10, "checkpoints")),
            most=2,
        ),
    ),
    grows="checkpoints",
)
MANY = Row(
    "many",
    "A save of so many files of 1 KiB",
    _many,
    _with_folders,
    goals=(
        Goal(
            "each of 100,000 files takes 1.5 of each of 1000",
            lambda results: _each(results, 100_000) / _each(results, 1000),
            most=1.5,
        ),
    ),
    columns={"each": "each file"},
    grows="files",
)
