"""Retention counts along the parents, though most of them were pruned long ago and other branches still stand."""

from __future__ import annotations

import datetime
import random

import pytest

from tests.unit.store.stepped import Process, SteppedBackend, World
from waypost.checkpoints import Checkpoints
from waypost.store.retention import Fact, KeepEvery, Retention, to_prune
from waypost.store.sequences import Sequences

SPACED = Retention(keep_last=1, keep_every=KeepEvery(steps=10))
BEGAN = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
WHOLE_LINE = Retention(keep_last=1, keep_every=KeepEvery(steps=1))
"""Where every save has another step: only what is beside the line goes."""


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def bystander(backend: SteppedBackend) -> Checkpoints:
    return Checkpoints(attempt=None, backend=backend, seams=World().seams())


def live(backend: SteppedBackend) -> set[int]:
    return {info.sequence for info in bystander(backend).list()}


def two_branches(backend: SteppedBackend) -> None:
    """Attempts that prune nothing: 2 (step 0) - 3 (step 10), and beside 3, from 2 on, 5 (step 11)."""
    first = Process(backend)
    first.save(b"a", 0)
    first.save(b"b", 10)
    second = Process(backend, attempt=2)
    second.restore(2, strict=True)
    second.save(b"c", 11)
    bystander(backend).pin(5)


def test_a_pinned_one_on_another_branch_does_not_take_the_place_of_a_pruned_parent(backend: SteppedBackend) -> None:
    two_branches(backend)
    third = Process(backend, attempt=3, retention=SPACED)
    third.restore(3, strict=True)
    third.tidy()
    for step in (15, 16, 17, 18):
        third.save(b"%d" % step, step)
        third.tidy()
    fourth = Process(backend, attempt=4, retention=SPACED)
    fourth.tidy()
    for step in (19, 20, 21):
        fourth.save(b"%d" % step, step)
        fourth.tidy()
    assert {2, 3, 5} <= live(backend), "3 is the ancestor with step 10; 5 is only pinned"


def test_one_process_knows_the_line_through_all_that_it_pruned(backend: SteppedBackend) -> None:
    """It needn't hold back: 5 is aside, so it goes as soon as its pin does, and 3 stays."""
    two_branches(backend)
    third = Process(backend, attempt=3, retention=SPACED)
    third.restore(3, strict=True)
    third.save(b"first", 15)
    third.tidy()
    for step in (16, 17):
        third.save(b"%d" % step, step)
    bystander(backend).unpin(5)
    last = third.save(b"last", 18)
    assert live(backend) == {2, 3, last.sequence}


@pytest.mark.parametrize("seed", range(20))
def test_no_ancestor_is_ever_taken_for_what_is_beside_the_line(seed: int) -> None:
    """Of every store's life here each save is a new attempt's, which knows the live ones by their entries alone."""
    chance = random.Random(seed)
    for _ in range(50):
        _live_through(chance)


def _live_through(chance: random.Random) -> None:
    facts: dict[int, Fact] = {}
    standing: set[int] = set()
    pinned: set[int] = set()
    for number in range(1, 25):
        parent = max(standing, default=None)
        if standing and chance.random() < 0.3:
            parent = chance.choice(sorted(standing))
        facts[number] = fact = Fact(number, number, BEGAN, {}, parent)
        retention = chance.choice((None, Retention(keep_last=1), WHOLE_LINE))
        if retention is not None:
            known = {one: facts[one] for one in standing}
            protected = () if parent is None else (parent,)
            held = Sequences.of(pinned)
            gone = set(to_prune(retention, fact, Sequences.of(standing), known, pinned=held, protected=protected))
            if retention is WHOLE_LINE:
                lost = gone & _ancestors(fact, facts)
                assert not lost, f"{lost} are ancestors of {number}: {facts}; live {standing}, pinned {pinned}"
            standing -= gone
        standing.add(number)
        if chance.random() < 0.2:
            pinned ^= {chance.choice(sorted(standing))}
            pinned &= standing


def _ancestors(fact: Fact, facts: dict[int, Fact]) -> set[int]:
    found = set()
    while fact.parent is not None:
        fact = facts[fact.parent]
        found.add(fact.sequence)
    return found
