"""What a save costs the computation that runs beside it, and how soon the newest state is safe after a stop order."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.bench.clients import limit
from tests.bench.contest import BUCKET, OURS, Contestant, Goal, Results, Row, Setting, Stage, Turn, median
from tests.bench.environments import Environment
from tests.bench.measuring import Program
from tests.bench.rows.large import source_file, with_source

_STORE, _PLAIN = f"{BUCKET}/store", f"{BUCKET}/plain/state"
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


def _stops(stage: Stage) -> Sequence[Contestant]:
    source = str(source_file(stage))

    def stopped(_: Turn) -> Program:
        return Program(Environment.OWN.module("through_waypost", "stop", source, f"s3://{_STORE}"), staged=True)

    return [Contestant(OURS, stopped), limit(BARE, lambda _: ["put", source, _PLAIN, "4"])]


def _of_the_time_allowed(results: Results) -> float:
    """The seconds taken, over bytes / (0.7 link) + 1 s; the bare line tells how many bytes there were."""
    size = median(results, BARE, "received")
    return median(results, OURS) / (size / (0.7 * _RATE_MIB * (1 << 20)) + 1)


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
    with_source,
    (_LINK,),
    goals=(Goal("of bytes / (0.7 of the link) + 1 s", _of_the_time_allowed, most=1, setting=_LINK),),
    moved=lambda stage: stage.size,
)
