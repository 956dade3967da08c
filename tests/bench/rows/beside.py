"""What a save costs the computation that runs beside it, and how soon the newest state is safe after a stop order."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.clients import limit
from tests.bench.contest import BUCKET, OURS, Contestant, Goal, Results, Row, Setting, Stage, Turn, median
from tests.bench.environments import Environment
from tests.bench.measuring import Program
from tests.bench.rows.large import source_file, with_source

_STORE, _PLAIN = f"{BUCKET}/store", f"{BUCKET}/plain/state"
_MIB = 1 << 20
_RATE_MIB = 200
_LINK = Setting(rate_mib=_RATE_MIB)
BARE = "bare sendfile, 4 connections"


def _trainings(stage: Stage) -> Sequence[Contestant]:
    source, alone = str(source_file(stage)), "0.5" if stage.smoke else "3"

    def training(name: str, what: str) -> Contestant:
        command = Environment.TORCH.module("training", what, source, _STORE, alone)
        return Contestant(name, lambda _: Program(command, staged=True))

    return [training(OURS, "waypost"), *(training(f"{one} in a thread", one) for one in ("s3fs", "boto3", "obstore"))]


def _share(results: Results) -> float:
    return statistics.median(one.extra["share"] for one in results[OURS])


def _newer(stage: Stage) -> Path:
    return stage.folder / "newer"


@contextlib.contextmanager
def _with_two_sources(stage: Stage, setting: Setting) -> Iterator[None]:
    """Two files that share nothing: else the newer save would find its chunks in the store already."""
    with with_source(stage, setting):
        try:
            with _newer(stage).open("wb") as file:
                for _ in range(stage.mebibytes):
                    file.write(os.urandom(_MIB))
            yield
        finally:
            _newer(stage).unlink()


def _stops(stage: Stage) -> Sequence[Contestant]:
    source, newer = str(source_file(stage)), str(_newer(stage))

    def stopped(_: Turn) -> Program:
        return Program(Environment.OWN.module("through_waypost", "stop", source, newer, f"s3://{_STORE}"), staged=True)

    return [Contestant(OURS, stopped), limit(BARE, lambda _: ["put", source, _PLAIN, "4"], unsigned=True)]


def _of_the_time_allowed(results: Results) -> float:
    """The seconds taken, over bytes / (0.7 link) + 1 s; the bare line tells how many bytes there were."""
    size = median(results, BARE, "received")
    return median(results, OURS) / (size / (0.7 * _RATE_MIB * _MIB) + 1)


TRAINING = Row(
    "training",
    "A training loop on every core while the large file is uploaded (`share`: of its steps when alone, in percent)",
    _trainings,
    with_source,
    goals=(Goal("percent of its steps that training keeps", _share, least=95),),
    columns={"share": "share"},
    moved=lambda stage: stage.size,
    needs_torch=True,
)
STOP = Row(
    "stop",
    "SIGTERM with two saves under way, until the newest is safe",
    _stops,
    _with_two_sources,
    (_LINK,),
    goals=(Goal("of bytes / (0.7 of the link) + 1 s", _of_the_time_allowed, most=1, setting=_LINK),),
    moved=lambda stage: stage.size,
)
