"""Rows of the benchmark: contestants that do the same work in turns, and what each took.

Each round runs every contestant once, in an order that moves on by one from round to round, so that the machine's
moods meet all of them, and no one always comes behind the same neighbour. A first round warms up and isn't counted.
What is compared are medians, and beside each stands what the least and the most was. A peer whose turns are long takes
part in fewer rounds, or a few slow ones would take most of the time.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.accounts import processor
from tests.bench.measuring import Measurement, Program, RunError, measure, warm_memory
from tests.bench.server import Server
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
    real: bool = False
    """Whether the server is a real one (gateway.py) in place of the sink."""

    @property
    def label(self) -> str:
        """Its name: `http`, `TLS`, `http, 20 ms`, `http, 200 MiB/s`, `http, versitygw`."""
        late = f", {self.latency_ms} ms" if self.latency_ms else ""
        slow = f", {self.rate_mib} MiB/s" if self.rate_mib else ""
        real = ", versitygw" if self.real else ""
        return ("TLS" if self.tls else "http") + late + slow + real


HTTP, TLS, FAR, REAL = Setting(), Setting(tls=True), Setting(latency_ms=20), Setting(real=True)


@dataclass(frozen=True)
class Stage:
    """What all rows share: the server, a folder on tmpfs, and how large and how often."""

    server: Server
    folder: Path
    mebibytes: int
    rounds: int
    smoke: bool = False
    patience_seconds: float = 12.0
    """What a peer's counted turns may take together under one setting; one it has in any case."""

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
    unsigned: bool = False
    """Whether it signs nothing, so that only the sink answers it."""

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
    grows: str = ""
    """What the contestants differ in the number of, which each reports as `count`: it is drawn as a curve."""


@dataclass(frozen=True)
class Circumstances:
    """When, where and how often: figures of two runs are not to be compared without a look at these."""

    date: str
    machine: str
    mebibytes: int
    rounds: int

    @classmethod
    def of(cls, stage: Stage) -> Circumstances:
        """Those of now and here."""
        system, python = platform.release().partition("-")[0], platform.python_version()
        machine = f"{os.cpu_count()} cores of {processor()}, Linux {system}, Python {python}"
        return cls(datetime.datetime.now(datetime.UTC).date().isoformat(), machine, stage.mebibytes, stage.rounds)

    def __str__(self) -> str:
        return f"{self.date}: {self.machine}; the large file has {self.mebibytes} MiB, {self.rounds} rounds"


@dataclass
class Outcome:
    """What became of a row under one setting."""

    row: Row
    setting: Setting
    results: dict[str, list[Measurement]]
    failures: dict[str, str]
    needed: frozenset[str]
    """Who must not fail: Waypost and the limits."""
    circumstances: Circumstances
    moved: int | None
    """Bytes that each moved."""

    @property
    def sound(self) -> bool:
        """Whether all ran that the row says nothing without."""
        return not self.needed & self.failures.keys()


def median(results: Results, name: str, what: str = "seconds") -> float:
    """The median of one figure of one contestant."""
    return statistics.median(float(getattr(one, what)) for one in results[name])


def times(slower: str, faster: str = OURS, what: str = "seconds") -> Callable[[Results], float]:
    """How many times as much of something the one takes as the other, by their medians."""
    return lambda results: median(results, slower, what) / median(results, faster, what)


def compete(row: Row, setting: Setting, stage: Stage, peers: Sequence[str] | None = None) -> Outcome:
    """Let the row's contestants take turns, of the peers these, or all."""
    stage.server.settings()
    stage.server.empty()
    moved = row.moved(stage) if row.moved else None
    outcome = Outcome(row, setting, {}, {}, frozenset([OURS]), Circumstances.of(stage), moved)
    with _environment(stage.server.environment(tls=setting.tls)):
        try:
            with row.prepare(stage, setting):
                contestants = [
                    one for one in row.contestants(stage) if one.needed or peers is None or one.name in peers
                ]
                contestants = [one for one in contestants if not (setting.real and one.unsigned)]
                outcome.needed = frozenset(one.name for one in contestants if one.needed)
                stage.server.settings(latency_seconds=setting.latency_ms / 1000, rate_mib=setting.rate_mib)
                _take_turns(outcome, contestants, stage)
        except (RunError, OSError) as error:  # no memory, no server: other rows may have better luck
            outcome.failures[OURS] = f"what comes before the row failed: {error}"
            say(f"{row.name} ({setting.label}): {outcome.failures[OURS]}")
    stage.server.settings()
    stage.server.empty()
    return outcome


def _take_turns(outcome: Outcome, contestants: Sequence[Contestant], stage: Stage) -> None:
    most = {one.name: stage.rounds for one in contestants}
    for number in range(stage.rounds + 1):
        shift = number % len(contestants)
        for contestant in [*contestants[shift:], *contestants[:shift]]:
            if contestant.name in outcome.failures or number > most[contestant.name]:
                continue
            began = time.monotonic()
            try:
                measured = _turn(outcome.row, contestant, outcome.setting, stage, number)
            except RunError as error:
                outcome.failures[contestant.name] = str(error)
                say(f"{outcome.row.name} ({outcome.setting.label}): {contestant.name} failed: {error}")
                continue
            if number == 0 and not contestant.needed:
                affordable = int(stage.patience_seconds / (time.monotonic() - began))
                most[contestant.name] = min(stage.rounds, max(1, affordable))
            if number > 0 or stage.rounds == 0:
                outcome.results.setdefault(contestant.name, []).append(measured)
    # Whom the others are compared with must not depend on who was first in the first round.
    outcome.results = {one.name: outcome.results[one.name] for one in contestants if one.name in outcome.results}


def _turn(row: Row, contestant: Contestant, setting: Setting, stage: Stage, number: int) -> Measurement:
    turn = Turn(stage, setting, number, stage.folder / "turn")
    turn.folder.mkdir()
    try:
        if not row.keeps_objects:
            stage.server.empty()

        def before() -> None:
            contestant.before(turn)
            warm_memory(0 if row.moved is None else row.moved(stage))  # the host takes it back within seconds

        measured = measure(contestant.program(turn), stage.server, before)
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
