"""Rows of the benchmark: contestants that do the same work in turns, and what each took.

Each round runs every contestant once, in an order that moves on by one from round to round, so that the machine's
moods meet all of them, and no one always comes behind the same neighbour. A first round warms up and isn't counted.
What is compared are medians, and beside each stands what the least and the most was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.measuring import Measurement, Program, RunError, measure, warm_memory
from tests.bench.sink import Sink
from tests.cluster.progress import say

OURS = "Waypost"
BUCKET = "bench"
_MIB = 1 << 20


@dataclass(frozen=True)
class Setting:
    """The line between client and server."""

    tls: bool = False
    latency_ms: int = 0
    rate_mib: int = 0

    @property
    def label(self) -> str:
        """Its name: `http`, `TLS`, `http, 20 ms`, `http, 200 MiB/s`."""
        late = f", {self.latency_ms} ms" if self.latency_ms else ""
        slow = f", {self.rate_mib} MiB/s" if self.rate_mib else ""
        return ("TLS" if self.tls else "http") + late + slow


HTTP, TLS, FAR = Setting(), Setting(tls=True), Setting(latency_ms=20)


@dataclass(frozen=True)
class Stage:
    """What all rows share: the server, a folder on tmpfs, and how large and how often."""

    sink: Sink
    folder: Path
    mebibytes: int
    rounds: int
    smoke: bool = False

    @property
    def size(self) -> int:
        """Bytes of the large file."""
        return self.mebibytes * _MIB


@dataclass(frozen=True)
class Turn:
    """One run of one contestant: a folder for it alone, gone afterwards."""

    stage: Stage
    setting: Setting
    number: int
    folder: Path


@dataclass(frozen=True)
class Contestant:
    """A name, how its program is started, what happens between its `ready` and its work, and what must be so after."""

    name: str
    program: Callable[[Turn], Program]
    before: Callable[[Turn], None] = lambda _: None
    check: Callable[[Turn], None] = lambda _: None
    limit: bool = False
    """Whether it shows what the machine can do, rather than what a client can."""

    @property
    def needed(self) -> bool:
        """Whether the row says nothing without it: the limits, and Waypost."""
        return self.limit or self.name.startswith(OURS)


Results = Mapping[str, Sequence[Measurement]]


@dataclass(frozen=True)
class Goal:
    """A sentence with a figure in it: `value` of the results, and the bound that it keeps or doesn't."""

    text: str
    value: Callable[[Results], float]
    least: float | None = None
    most: float | None = None
    setting: Setting = HTTP

    def judged(self, results: Results) -> tuple[float, bool] | None:
        """The figure, and whether it is within bounds; None when a contestant that it needs did not run."""
        try:
            value = self.value(results)
        except (KeyError, statistics.StatisticsError, ZeroDivisionError):
            return None
        return value, (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


@dataclass(frozen=True)
class Row:
    """One kind of work."""

    name: str
    title: str
    contestants: Callable[[Stage], Sequence[Contestant]]
    prepare: Callable[[Stage, Setting], contextlib.AbstractContextManager[object]] = lambda *_: contextlib.nullcontext()
    settings: Sequence[Setting] = (HTTP,)
    goals: Sequence[Goal] = ()
    moved: Callable[[Stage], int] | None = None
    """Bytes that are moved, for MiB/s; None where seconds say more."""
    keeps_objects: bool = False
    """Whether the server's objects stay from turn to turn, as a restore needs."""
    needs_torch: bool = False
    """Whether it needs the environment that takes gigabytes."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """More columns: a key of the programs' reports, and its heading."""


@dataclass
class Outcome:
    """What became of a row under one setting."""

    row: Row
    setting: Setting
    results: dict[str, list[Measurement]]
    failures: dict[str, str]
    needed: frozenset[str]
    """Who must not fail: Waypost and the limits."""


def median(results: Results, name: str, what: str = "seconds") -> float:
    """The median of one figure of one contestant."""
    return statistics.median(float(getattr(one, what)) for one in results[name])


def times(slower: str, faster: str = OURS, what: str = "seconds") -> Callable[[Results], float]:
    """How many times as much of something the one takes as the other, by their medians."""
    return lambda results: median(results, slower, what) / median(results, faster, what)


def compete(row: Row, setting: Setting, stage: Stage, chosen: Callable[[str], bool]) -> Outcome:
    """Let the row's contestants whose names are `chosen` take turns."""
    stage.sink.settings()
    stage.sink.empty()
    outcome = Outcome(row, setting, {}, {}, frozenset([OURS]))
    with _environment(stage.sink.environment(tls=setting.tls)):
        try:
            with row.prepare(stage, setting):
                contestants = [one for one in row.contestants(stage) if one.needed or chosen(one.name)]
                outcome.needed = frozenset(one.name for one in contestants if one.needed)
                stage.sink.settings(latency_seconds=setting.latency_ms / 1000, rate_mib=setting.rate_mib)
                _take_turns(outcome, contestants, stage)
        except RunError as error:
            outcome.failures[OURS] = f"what comes before the row failed: {error}"
            say(f"{row.name} ({setting.label}): {outcome.failures[OURS]}")
    stage.sink.empty()
    return outcome


def _take_turns(outcome: Outcome, contestants: Sequence[Contestant], stage: Stage) -> None:
    for number in range(stage.rounds + 1):
        shift = number % len(contestants)
        for contestant in [*contestants[shift:], *contestants[:shift]]:
            if contestant.name in outcome.failures:
                continue
            try:
                measured = _turn(outcome.row, contestant, outcome.setting, stage, number)
            except RunError as error:
                outcome.failures[contestant.name] = str(error)
                say(f"{outcome.row.name} ({outcome.setting.label}): {contestant.name} failed: {error}")
                continue
            if number > 0 or stage.rounds == 0:
                outcome.results.setdefault(contestant.name, []).append(measured)


def _turn(row: Row, contestant: Contestant, setting: Setting, stage: Stage, number: int) -> Measurement:
    turn = Turn(stage, setting, number, stage.folder / "turn")
    turn.folder.mkdir()
    try:
        if not row.keeps_objects:
            stage.sink.empty()
        warm_memory(0 if row.moved is None else row.moved(stage))
        measured = measure(contestant.program(turn), stage.sink, lambda: contestant.before(turn))
        if number == 0:
            contestant.check(turn)
        return measured
    finally:
        shutil.rmtree(turn.folder)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Clients see these, and nothing of the machine's own about AWS, authorities and proxies."""
    before = dict(os.environ)
    foreign = [name for name in before if name.startswith("AWS_") or name.lower().endswith("_proxy")]
    for name in (*foreign, "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
