"""Pruning in a save's own entry: never what is needed, and at no price."""

from __future__ import annotations

import os

import pytest

from tests.unit.store.pruned import ONE, TWO, checkpoint, live, put, requests
from tests.unit.store.stepped import Process, SteppedBackend, large, read, refuse
from waypost.store import keys
from waypost.store.entries import Pin, Prune
from waypost.store.retention import BATCH, KeepEvery, Retention
from waypost.store.sequences import NOTHING, Sequences
from waypost.store.sizes import Sizes


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


# --- The entry -------------------------------------------------------------------------------------------------------


def test_a_tiny_save_that_prunes_is_one_put_and_nothing_behind_it(backend: SteppedBackend) -> None:
    process = Process(backend, retention=TWO)
    for step in range(6):
        before = len(backend.requests)
        process.save(b"%d" % step, step)
        assert requests(backend, before) == ["put_new log"]
        before = len(backend.requests)
        process.tidy()
        assert step == 0 or requests(backend, before) == []
    assert live(backend) == [6, 7]
    assert checkpoint(backend, 7).prunes == Sequences.of([5])


def test_what_an_entry_prunes_is_not_live_behind_it(backend: SteppedBackend) -> None:
    process = Process(backend, retention=ONE)
    for step in range(3):
        process.save(b"%d" % step, step)
    assert [checkpoint(backend, number).live.to_json() for number in (2, 3, 4)] == [[[2, 2]], [[3, 3]], [[4, 4]]]
    assert process.restore() == (4, b"2")
    assert read(backend) == (4, b"2")


def test_nothing_is_deleted_before_the_entry_that_prunes_it_is_confirmed(backend: SteppedBackend) -> None:
    process = Process(backend, retention=ONE)
    process.save(large(b"a"))
    process.tidy()
    (pack,) = backend.packs()
    deleted_at: list[int] = []
    backend.before = lambda operation, key: deleted_at.append(len(backend.log())) if operation == "delete" else None
    process.save(large(b"b"))
    assert pack in backend.packs(), "the save itself deletes nothing"
    assert deleted_at == []
    process.tidy()
    assert deleted_at == [3], "after the entry"
    assert pack not in backend.packs()


def test_of_a_pruned_checkpoint_the_manifest_goes_last_so_that_what_was_interrupted_finds_the_rest(
    backend: SteppedBackend,
) -> None:
    listed_apart = Sizes(inline=100, pack=1000, manifest=100)
    process = Process(backend, retention=ONE, sizes=listed_apart)
    process.save(os.urandom(3000))
    of_the_first = {key for key in backend.objects if key.startswith((keys.PACKS, keys.MANIFESTS))}
    assert len(of_the_first) == 4
    process.save(os.urandom(3000))
    backend.plan("delete", "", lambda execute: execute(), *[refuse] * 50)
    process.tidy()
    left = of_the_first & set(backend.objects)
    assert len(left) == 3, "it was interrupted behind the first"
    backend._plans.clear()
    process.save(os.urandom(3000))
    process.tidy()
    assert not of_the_first & set(backend.objects)


def test_a_save_that_fails_prunes_nothing(backend: SteppedBackend) -> None:
    process = Process(backend, retention=ONE)
    process.save(large(b"a"))
    backend.plan("put_new", keys.LOG, refuse)
    with pytest.raises(Exception, match="AccessDenied"):
        process.save(large(b"b"))
    process.tidy()
    assert read(backend) == (2, large(b"a"))


def test_a_save_given_up_as_unknown_that_stands_after_all_has_pruned_and_is_tidied_up(backend: SteppedBackend) -> None:
    process = Process(backend, retention=ONE)
    process.save(large(b"a"))
    process.tidy()
    backend.plan("put_new", keys.LOG, *[backend.hang] * 20)
    with pytest.raises(Exception, match="unknown"):
        process.save(large(b"b"))
    backend._plans.clear()
    process.tidy()
    assert read(backend) == (2, large(b"a")), "as far as anybody knows it is needed"
    backend.deliver()
    process.save(large(b"c"))
    process.tidy()
    process.save(large(b"d"))
    process.tidy()
    assert live(backend) == [5]
    assert len(backend.packs()) == 1


def test_prunes_are_computed_anew_for_each_number_tried(backend: SteppedBackend) -> None:
    """A PIN takes the number of a save that was about to prune what is pinned."""
    process = Process(backend, retention=ONE)
    process.save(b"1")
    put(backend, Pin, Sequences.of([2]), Sequences.of([2]), target=2)
    process.save(b"2")
    assert checkpoint(backend, 4).prunes == NOTHING
    assert live(backend) == [2, 4]
    assert checkpoint(backend, 4).pinned == Sequences.of([2])


def test_a_save_that_meets_a_foreign_prune_prunes_only_what_is_left(backend: SteppedBackend) -> None:
    """H11, the other way round: what the PRUNE took is not pruned twice, and its packs are its pruner's affair."""
    process = Process(backend, retention=Retention(keep_last=2))
    for content in b"ab":
        process.save(large(bytes([content])))
    put(backend, Prune, Sequences.of([3]), prunes=Sequences.of([2]))
    info = process.save(large(b"c"))
    assert info.sequence == 5
    assert checkpoint(backend, 5).prunes == NOTHING
    assert live(backend) == [3, 5]
    process.save(large(b"d"))
    process.tidy()
    assert live(backend) == [5, 6]
    assert process.restore() == (6, large(b"d"))


# --- What is never pruned --------------------------------------------------------------------------------------------


def test_what_an_attempt_resumed_from_is_kept_as_long_as_it_lives(backend: SteppedBackend) -> None:
    Process(backend, retention=ONE).save(large(b"base"))
    second = Process(backend, attempt=2, retention=ONE)
    second.restore()
    for step in range(3):
        second.save(large(b"%d" % step))
        second.tidy()
    assert live(backend) == [2, 6]
    assert second.restore(2, strict=True) == (2, large(b"base"))
    third = Process(backend, attempt=3, retention=ONE)
    third.tidy()
    third.save(b"x")
    assert live(backend) == [6, 8], "the base of the third is kept, that of the second is not"


def test_the_base_is_what_was_restored_in_place_of_a_damaged_one(backend: SteppedBackend) -> None:
    first = Process(backend)
    first.save(large(b"whole"))
    first.save(large(b"damaged"))
    backend.corrupt(backend.packs()[1])
    second = Process(backend, attempt=2, retention=ONE)
    assert second.restore() == (2, large(b"whole"))
    second.tidy()
    second.save(b"next")
    assert live(backend) == [2, 5], "H17: the whole base stays, the damaged one goes"


def test_a_pinned_one_is_kept_until_it_is_unpinned(backend: SteppedBackend) -> None:
    process = Process(backend, retention=ONE)
    process.save(large(b"keep me"))
    put(backend, Pin, Sequences.of([2]), Sequences.of([2]), target=2)
    for step in range(3):
        process.save(b"%d" % step)
        process.tidy()
    assert process.restore(2, strict=True) == (2, large(b"keep me"))


def test_the_newest_is_never_pruned_by_its_own_entry(backend: SteppedBackend) -> None:
    process = Process(backend, retention=ONE)
    for step in range(4):
        info = process.save(b"%d" % step)
        assert info.sequence not in checkpoint(backend, info.sequence).prunes
        assert info.sequence in checkpoint(backend, info.sequence).live


# --- A long history --------------------------------------------------------------------------------------------------


def test_the_first_save_after_a_long_history_costs_no_more_than_any_other(backend: SteppedBackend) -> None:
    old = Process(backend)
    for step in range(3 * BATCH):
        old.save(b"%d" % step, step)
    process = Process(backend, attempt=2, retention=TWO)
    before = len(backend.requests)
    process.save(b"first")
    assert requests(backend, before) == ["put_new log"]
    process.tidy()
    reads = len(requests(backend, before)) - 1
    assert reads <= 3 * BATCH + 4, "each earlier one is read once, and the folders of orphans"
    for step in range(5):
        before = len(backend.requests)
        info = process.save(b"%d" % step)
        assert requests(backend, before) == ["put_new log"]
        assert len(list(checkpoint(backend, info.sequence).prunes)) <= BATCH
        process.tidy()
    assert live(backend) == [3 * BATCH + 1, info.sequence - 1, info.sequence], "the base, and the newest two"


def test_an_attempt_that_saves_but_once_prunes_too(backend: SteppedBackend) -> None:
    """A program that saves only when it is told to stop: what came before is read while it runs."""
    for attempt in range(1, 9):
        process = Process(backend, attempt=attempt, retention=TWO)
        process.tidy()
        process.save(large(b"%d" % attempt))
    process.tidy()
    assert len(live(backend)) == 2
    assert len(backend.packs()) <= 3


def test_other_rules_of_retention_reach_over_attempts(backend: SteppedBackend) -> None:
    retention = Retention(keep_last=1, keep_every=KeepEvery(steps=10))
    step = 0
    for attempt in range(1, 4):
        process = Process(backend, attempt=attempt, retention=retention)
        process.tidy()
        for _ in range(10):
            step += 2
            process.save(b"%d" % step, step)
            process.tidy()
    assert [checkpoint(backend, number).step for number in live(backend)] == [2, 10, 20, 30, 40, 50, 60]
