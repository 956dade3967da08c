"""Which checkpoints are kept: a pure rule over what the log says about the live ones.

The rules add up: what one of them keeps is kept. They count along the parents of the newest checkpoint, because a
fall-back may have left damaged ones aside: those would use up the count and push whole ones out (rule 8). Left-aside
ones are pruned, unless pinned. What is pinned is kept on top of everything and counts nowhere.

A writer may know only the newest part of a long history. The rule is safe on such a part: it prunes nothing that it
would keep if it knew all of it, only less.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

from waypost.contract import DEFAULT_KEEP_LAST
from waypost.errors import ConfigurationError
from waypost.store.sequences import NOTHING, Sequences

MAX_COUNT: Final = 1000
"""The most that keepLast and keepBest may ask for."""
BATCH: Final = 64
"""The most that one save prunes, so that the first save after a long history without pruning doesn't stall."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeepEvery:
    """The oldest checkpoint of every stretch of so many steps, or of so many seconds by its writer's wall clock.

    Exactly one of the two. A clock that was wrong keeps or drops the wrong ones; nothing else depends on it (H28).
    """

    steps: int | None = None
    seconds: int | None = None

    def __post_init__(self) -> None:
        """Raise ConfigurationError for what can't be meant."""
        if (self.steps is None) == (self.seconds is None):
            raise ConfigurationError("keepEvery needs either steps or seconds")
        _require_count("keepEvery.steps" if self.seconds is None else "keepEvery.seconds", self._length, 2**31 - 1)

    @property
    def _length(self) -> int | None:
        return self.steps if self.steps is not None else self.seconds

    def stretch(self, fact: Fact) -> int | None:
        """Number of the stretch that a checkpoint stands in; None for one without a step."""
        if self.steps is None:
            assert self.seconds is not None
            return int(fact.time.timestamp() // self.seconds)
        return None if fact.step is None else fact.step // self.steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeepBest:
    """The `count` checkpoints with the lowest or highest value of a metric; none without it, or with NaN."""

    metric: str
    mode: Literal["min", "max"]
    count: int = 1

    def __post_init__(self) -> None:
        """Raise ConfigurationError for what can't be meant."""
        if not self.metric:
            raise ConfigurationError("keepBest.metric is empty: it has to be the name of a metric")
        if self.mode not in ("min", "max"):
            raise ConfigurationError(f"keepBest.mode is {self.mode!r}: it has to be 'min' or 'max'")
        _require_count("keepBest.count", self.count, MAX_COUNT)

    def rank(self, fact: Fact) -> tuple[float, int] | None:
        """What sorts the best one first, the older one among equals."""
        value = fact.metrics.get(self.metric)
        if value is None or math.isnan(value):
            return None
        return (value if self.mode == "min" else -value), fact.sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retention:
    """What is kept; `keep_last` counts the newest one."""

    keep_last: int = DEFAULT_KEEP_LAST
    keep_every: KeepEvery | None = None
    keep_best: KeepBest | None = None

    def __post_init__(self) -> None:
        """Raise ConfigurationError for what can't be meant."""
        _require_count("keepLast", self.keep_last, MAX_COUNT)

    @classmethod
    def parse(cls, text: str) -> Retention:
        """Read WAYPOST_RETENTION: JSON, `keepLast`, `keepEvery` {steps | seconds}, `keepBest` {metric, mode, count}.

        Raises ConfigurationError, also for a member that nobody knows: a rule that isn't understood must not prune.
        """
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"it is no JSON: {error}") from error
        members = _members(record, "retention", keepLast="keep_last", keepEvery="keep_every", keepBest="keep_best")
        if (every := members.get("keep_every")) is not None:
            members["keep_every"] = KeepEvery(**_members(every, "keepEvery", steps="steps", seconds="seconds"))
        if (best := members.get("keep_best")) is not None:
            known = _members(best, "keepBest", metric="metric", mode="mode", count="count")
            if not {"metric", "mode"} <= known.keys():
                raise ConfigurationError("keepBest needs metric and mode")
            if not isinstance(known["metric"], str):
                raise ConfigurationError(f"keepBest.metric is {known['metric']!r}: it has to be the name of a metric")
            members["keep_best"] = KeepBest(**known)
        return cls(**members)

    def to_json(self) -> str:
        """What `parse` reads."""
        record: dict[str, Any] = {"keepLast": self.keep_last}
        for name, rule in (("keepEvery", self.keep_every), ("keepBest", self.keep_best)):
            if rule is not None:
                record[name] = {key: value for key, value in dataclasses.asdict(rule).items() if value is not None}
        return json.dumps(record)


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """What retention goes by: a live checkpoint, as its entry tells."""

    sequence: int
    step: int | None
    time: datetime.datetime
    metrics: Mapping[str, float]
    parent: int | None


def to_prune(
    retention: Retention,
    newest: Fact,
    live: Sequences,
    known: Mapping[int, Fact],
    *,
    unreadable: Collection[int] = (),
    pinned: Sequences = NOTHING,
    protected: Collection[int] = (),
    most: int | None = BATCH,
) -> Sequences:
    """The checkpoints that `newest` makes superfluous, at most so many of them.

    `live` are those before `newest`, and `known` what is known of them. Never named: `newest`, what is `pinned` or
    `protected` (the base of a running attempt), what isn't known.
    """
    lineage, aside = _lineage(newest, live, known, unreadable)
    counted = [fact for fact in lineage if fact.sequence not in pinned]
    kept = {newest.sequence, *protected, *(fact.sequence for fact in counted[: retention.keep_last])}
    if retention.keep_every is not None:
        oldest = {retention.keep_every.stretch(fact): fact.sequence for fact in counted}  # newest first: the last wins
        kept |= {sequence for stretch, sequence in oldest.items() if stretch is not None}
    if retention.keep_best is not None:
        ranks = sorted(rank for fact in counted if (rank := retention.keep_best.rank(fact)) is not None)
        kept |= {sequence for _, sequence in ranks[: retention.keep_best.count]}
    superfluous = [*aside, *(fact.sequence for fact in reversed(counted))]
    gone = [sequence for sequence in superfluous if sequence not in kept and sequence not in pinned]
    return Sequences.of(gone[:most])


def _lineage(
    newest: Fact, live: Sequences, known: Mapping[int, Fact], unreadable: Collection[int]
) -> tuple[list[Fact], list[int]]:
    """The line of parents from `newest` down, as far as it is known, and the live ones that it leaves aside.

    Where a parent isn't live any more, or can't be read, the line is taken to go on with the next lower one: what a
    fall-back left aside is pruned first, so nothing else is likely to stand there. But it may, if it was pinned or
    earlier attempts pruned nothing. Where both that one and what it would leave aside may be the ancestor, the line
    ends, and what is below stays: better too much than the wrong one.
    """
    line, aside = [newest], []
    for number in live:
        parent = line[-1].parent
        if parent is None:
            break
        if number in unreadable:
            continue
        fact = known.get(number)
        if number > parent:
            if fact is not None:
                aside.append(number)
        elif fact is None or (number < parent and _leaves_one_aside(fact, live, unreadable)):
            break
        else:
            line.append(fact)
    return line, sorted(aside)


def _leaves_one_aside(fact: Fact, live: Sequences, unreadable: Collection[int]) -> bool:
    """Whether a live one stands between this one and its parent."""
    if fact.parent is None:
        return False
    between = live.below(fact.sequence)
    while between is not None and between in unreadable:
        between = live.below(between)
    return between is not None and between > fact.parent


def _require_count(name: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ConfigurationError(f"{name} is {value!r}: it has to be a whole number from 1 to {most}")


def _members(record: object, what: str, **names: str) -> dict[str, Any]:
    """The members of a JSON object under our own names; those that are null are left out."""
    if not isinstance(record, dict):
        raise ConfigurationError(f"{what} is {record!r}: it has to be an object with {', '.join(names)}")
    if unknown := sorted(record.keys() - names.keys()):
        raise ConfigurationError(f"{what} has the unknown member {unknown[0]!r}; known are {', '.join(names)}")
    return {names[name]: value for name, value in record.items() if value is not None}
