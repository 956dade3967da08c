"""Which checkpoints are kept: the rules add up, count along the parents, and are safe on half of the knowledge."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.errors import ConfigurationError
from waypost.store.retention import BATCH, Fact, KeepBest, KeepEvery, Retention, to_prune
from waypost.store.sequences import NOTHING, Sequences

BEGAN = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)


def fact(sequence: int, parent: int | None, *, step: int | None = None, minutes: float = 0.0, **metrics: float) -> Fact:
    return Fact(sequence, step, BEGAN + datetime.timedelta(minutes=minutes), metrics, parent)


def row(count: int) -> list[Fact]:
    """Checkpoints 1 to `count`, each going on from the one before, at steps that are ten times as high."""
    return [fact(n, n - 1 or None, step=10 * n, minutes=n) for n in range(1, count + 1)]


def kept(
    retention: Retention,
    facts: Sequence[Fact],
    *,
    pinned: Sequences = NOTHING,
    protected: Sequence[int] = (),
    unreadable: Sequence[int] = (),
) -> list[int]:
    """The sequences that stay live, oldest first."""
    *others, newest = facts
    live = Sequences.of([*(one.sequence for one in others), *unreadable])
    known = {one.sequence: one for one in others}
    gone = to_prune(retention, newest, live, known, unreadable=unreadable, pinned=pinned, protected=protected)
    return [*sorted(live.without(gone)), newest.sequence]


def test_the_newest_so_many_are_kept() -> None:
    assert kept(Retention(keep_last=3), row(6)) == [4, 5, 6]
    assert kept(Retention(keep_last=1), row(6)) == [6]
    assert kept(Retention(keep_last=9), row(6)) == [1, 2, 3, 4, 5, 6]


def test_one_is_kept_in_every_stretch_of_steps_the_oldest_of_it() -> None:
    retention = Retention(keep_last=1, keep_every=KeepEvery(steps=30))
    assert kept(retention, row(8)) == [1, 3, 6, 8], "steps 10 | 30 | 60 | and the newest"


def test_one_is_kept_in_every_stretch_of_seconds() -> None:
    retention = Retention(keep_last=1, keep_every=KeepEvery(seconds=180))
    assert kept(retention, row(8)) == [1, 3, 6, 8]


def test_without_steps_keeping_every_so_many_steps_keeps_nothing_more() -> None:
    facts = [dataclasses.replace(one, step=None) for one in row(5)]
    assert kept(Retention(keep_last=2, keep_every=KeepEvery(steps=10)), facts) == [4, 5]


def test_the_best_are_kept_and_nan_is_never_the_best() -> None:
    losses = [0.5, 0.2, float("nan"), 0.9, 0.2, 0.7]
    facts = [dataclasses.replace(one, metrics={"loss": loss}) for one, loss in zip(row(6), losses, strict=True)]
    lowest = Retention(keep_last=1, keep_best=KeepBest(metric="loss", mode="min", count=2))
    assert kept(lowest, facts) == [2, 5, 6]
    highest = Retention(keep_last=1, keep_best=KeepBest(metric="loss", mode="max"))
    assert kept(highest, facts) == [4, 6]
    assert kept(Retention(keep_last=1, keep_best=KeepBest(metric="accuracy", mode="max")), facts) == [6]


def test_of_equally_good_ones_the_older_stays() -> None:
    facts = [dataclasses.replace(one, metrics={"loss": 0.5}) for one in row(4)]
    assert kept(Retention(keep_last=1, keep_best=KeepBest(metric="loss", mode="min")), facts) == [1, 4]


def test_what_a_fall_back_left_aside_counts_nowhere_and_goes() -> None:
    """H17: 4 and 5 were damaged, the attempt resumed from 3; counting them would drop the whole 3."""
    facts = [*row(3), fact(4, 3), fact(5, 4), fact(7, 3)]
    assert kept(Retention(keep_last=2), facts) == [3, 7]


def test_a_parent_that_was_pruned_does_not_end_the_line() -> None:
    facts = [fact(1, None), fact(2, 1), fact(7, 6), fact(8, 7)]
    assert kept(Retention(keep_last=3), facts) == [2, 7, 8]


def test_pinned_ones_are_kept_on_top_and_count_nowhere() -> None:
    assert kept(Retention(keep_last=2), row(6), pinned=Sequences.of([2, 5])) == [2, 4, 5, 6]


def test_the_base_of_the_attempt_is_kept() -> None:
    assert kept(Retention(keep_last=1), row(6), protected=[3]) == [3, 6]


def test_what_cannot_be_read_is_not_pruned_and_the_line_goes_on_below_it() -> None:
    facts = [one for one in row(6) if one.sequence != 4]
    assert kept(Retention(keep_last=2), facts, unreadable=[4]) == [4, 5, 6]
    assert kept(Retention(keep_last=3), facts, unreadable=[4]) == [3, 4, 5, 6]


def test_one_save_prunes_no_more_than_a_batch_oldest_first() -> None:
    assert kept(Retention(keep_last=1), row(BATCH + 11)) == [*range(BATCH + 1, BATCH + 12)]


def test_a_checkpoint_without_a_parent_says_nothing_about_older_ones() -> None:
    assert kept(Retention(keep_last=1), [fact(1, None), fact(2, 1), fact(5, None)]) == [1, 2, 5]


RETENTIONS = st.builds(
    Retention,
    keep_last=st.integers(1, 5),
    keep_every=st.none()
    | st.builds(KeepEvery, steps=st.integers(1, 40))
    | st.builds(KeepEvery, seconds=st.integers(1, 400)),
    keep_best=st.none()
    | st.builds(KeepBest, metric=st.just("m"), mode=st.sampled_from(["min", "max"]), count=st.integers(1, 3)),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Fact]:
    """A tree of checkpoints: most go on from the one before, some from an older one (a fall-back)."""
    facts = [fact(1, None, step=0)]
    for sequence in range(2, draw(st.integers(2, 30))):
        parent = draw(st.sampled_from([facts[-1].sequence] * 4 + [one.sequence for one in facts]))
        step = draw(st.none() | st.integers(0, 200))
        metrics = draw(st.just({}) | st.floats(allow_infinity=True).map(lambda value: {"m": value}))
        facts.append(fact(sequence, parent, step=step, minutes=draw(st.integers(0, 60)), **metrics))
    return facts


@given(histories(), RETENTIONS, st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30), max_size=2))
def test_the_newest_the_pinned_and_the_base_are_never_pruned(
    facts: list[Fact], retention: Retention, pinned: set[int], protected: set[int]
) -> None:
    stays = kept(retention, facts, pinned=Sequences.of(pinned), protected=sorted(protected))
    everything = {one.sequence for one in facts}
    assert set(stays) >= (pinned | protected | {facts[-1].sequence}) & everything


@given(histories(), RETENTIONS)
def test_the_line_of_the_newest_keeps_what_it_is_promised(facts: list[Fact], retention: Retention) -> None:
    """So many of what a restore would fall back to stay, however many were left aside."""
    by_number = {one.sequence: one for one in facts}
    line: list[int] = []
    number: int | None = facts[-1].sequence
    while number is not None:
        line.append(number)
        number = by_number[number].parent
    stays = kept(retention, facts)
    assert set(line[: retention.keep_last]) <= set(stays)
    assert set(stays) <= set(line), "what was left aside is gone"


@given(histories(), RETENTIONS, st.data())
def test_half_of_the_knowledge_prunes_less_and_never_anything_else(
    facts: list[Fact], retention: Retention, data: st.DataObject
) -> None:
    *others, newest = facts
    live = Sequences.of(one.sequence for one in others)
    everything = {one.sequence: one for one in others}
    oldest_known = data.draw(st.integers(1, newest.sequence))
    newer = {number: one for number, one in everything.items() if number >= oldest_known}
    whole, part = to_prune(retention, newest, live, everything), to_prune(retention, newest, live, newer)
    assert set(part) <= set(whole)


@given(histories(), RETENTIONS)
def test_pruning_at_each_save_keeps_what_pruning_at_the_end_keeps_of_the_last(
    facts: list[Fact], retention: Retention
) -> None:
    """Step by step, the newest keep_last of the line are there after every save."""
    live: list[Fact] = []
    for newest in facts:
        if newest.parent is not None and newest.parent not in {one.sequence for one in live}:
            newest = dataclasses.replace(newest, parent=live[-1].sequence if live else None)
        stays = set(kept(retention, [*live, newest]))
        assert newest.sequence in stays
        assert len(stays) >= min(retention.keep_last, 1)
        live = [one for one in [*live, newest] if one.sequence in stays]


@given(RETENTIONS)
def test_what_is_written_for_an_attempt_reads_back(retention: Retention) -> None:
    assert Retention.parse(retention.to_json()) == retention


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "retention is \\[\\]: it has to be an object with keepLast, keepEvery, keepBest"),
        ("{", "it is no JSON"),
        ('{"keepLast": 0}', "keepLast is 0: it has to be a whole number from 1 to 1000"),
        ('{"keepLast": true}', "keepLast is True"),
        ('{"keepLast": 1001}', "keepLast is 1001"),
        ('{"keepFirst": 1}', "retention has the unknown member 'keepFirst'"),
        ('{"keepEvery": {}}', "keepEvery needs either steps or seconds"),
        ('{"keepEvery": {"steps": 1, "seconds": 1}}', "keepEvery needs either steps or seconds"),
        ('{"keepEvery": {"steps": 0}}', "keepEvery.steps is 0"),
        ('{"keepEvery": {"hours": 1}}', "keepEvery has the unknown member 'hours'"),
        ('{"keepBest": {"mode": "min"}}', "keepBest needs metric and mode"),
        ('{"keepBest": {"metric": "", "mode": "min"}}', "keepBest.metric is empty"),
        ('{"keepBest": {"metric": 1, "mode": "min"}}', "keepBest.metric is 1"),
        ('{"keepBest": {"metric": "m", "mode": "avg"}}', "keepBest.mode is 'avg'"),
        ('{"keepBest": {"metric": "m", "mode": "max", "count": "2"}}', "keepBest.count is '2'"),
    ],
)
def test_a_rule_that_is_not_understood_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Retention.parse(text)
