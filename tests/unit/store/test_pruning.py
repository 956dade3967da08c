"""Pruning in a save's own entry, and the deleting behind it: nothing that is needed, in this order, in no one's way."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.stepped import Process, SteppedBackend, World, fail, large, lose_answer, read, refuse
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.conditional import ConditionalJournal
from waypost.store.entries import Checkpoint, Entry, Pin, Prune
from waypost.store.history import STUB_WORTH
from waypost.store.retention import BATCH, KeepEvery, Retention
from waypost.store.sequences import NOTHING, Sequences

ONE = Retention(keep_last=1)
TWO = Retention(keep_last=2)


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def checkpoint(backend: SteppedBackend, sequence: int) -> Checkpoint:
    entry = backend.entry(sequence)
    assert isinstance(entry, Checkpoint)
    return entry


def live(backend: SteppedBackend) -> list[int]:
    """What a reader finds live, oldest first."""
    return sorted(ConditionalJournal(Calls(backend, World().seams())).survey().live)


def put(backend: SteppedBackend, kind: type[Entry], live: Sequences, pinned: Sequences = NOTHING, **more: Any) -> None:
    """Another process appends this entry, without a fence."""
    numbers = [number for key in backend.objects if (number := keys.log_sequence(key)) is not None]
    sequence = max(numbers) + 1
    seams = World().seams()
    entry = kind(
        sequence=sequence,
        attempt=0,
        fence=0,
        nonce=f"another-{sequence}",
        time=seams.now(),
        live=live,
        pinned=pinned,
        **more,
    )
    backend.objects[keys.log_key(sequence)] = entry.encode()


def requests(backend: SteppedBackend, since: int) -> list[str]:
    return [f"{operation} {key.partition('/')[0]}" for operation, key in backend.requests[since:]]


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


# --- Deleting --------------------------------------------------------------------------------------------------------


def test_packs_go_first_and_then_the_stub(backend: SteppedBackend, tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}").write_bytes(b"%04d" % number * 256)
    process = Process(backend, retention=ONE)
    process.save(str(tmp_path))
    process.tidy()
    process.save(b"next")
    before = len(backend.requests)
    process.tidy()
    assert requests(backend, before) == ["get log", "delete packs", "put log"]


def test_the_data_of_a_pruned_entry_go_and_all_else_of_it_stays(backend: SteppedBackend) -> None:
    process = Process(backend, retention=ONE)
    process.save(b"x" * 3 * STUB_WORTH, step=7)
    whole = checkpoint(backend, 2)
    process.save(b"y" * 100)
    process.tidy()
    stub = checkpoint(backend, 2)
    assert (stub.manifest, stub.data) == (None, None)
    assert (stub.sequence, stub.fence, stub.nonce, stub.step, stub.parent, stub.time, stub.live, stub.prunes) == (
        whole.sequence,
        whole.fence,
        whole.nonce,
        whole.step,
        whole.parent,
        whole.time,
        whole.live,
        whole.prunes,
    )
    process.save(b"z")
    before = len(backend.requests)
    process.tidy()
    assert requests(backend, before) == [], "a stub that would free next to nothing is not worth a request"
    assert checkpoint(backend, 3).data == b"y" * 100


def test_an_object_that_a_live_checkpoint_names_is_spared(backend: SteppedBackend) -> None:
    """Rule 5 lets a checkpoint name packs of an earlier one; another program may make use of it."""
    first = Process(backend)
    first.save(large(b"shared"))
    first.save(large(b"other"))
    backend.rewrite(3, manifest=checkpoint(backend, 2).manifest, size=checkpoint(backend, 2).size)
    second = Process(backend, attempt=2, retention=ONE)
    second.tidy()
    second.save(b"tiny")
    second.tidy()
    assert live(backend) == [3, 5], "3 is the base"
    assert second.restore(3, strict=True) == (3, large(b"shared"))


def test_trouble_while_deleting_is_said_once_and_tried_again_behind_the_next_save(
    backend: SteppedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(backend, retention=ONE)
    process.save(large(b"0"))
    process.tidy()
    backend.plan("delete", keys.PACKS, refuse, refuse)
    with caplog.at_level(logging.WARNING, "waypost"):
        for step in range(1, 3):
            process.save(large(b"%d" % step))
            process.tidy()
    assert len([record for record in caplog.records if "delete a pruned checkpoint" in record.message]) == 1
    assert len(backend.packs()) == 3
    process.save(large(b"3"))
    process.tidy()
    assert len(backend.packs()) == 1


def test_a_live_checkpoint_that_cannot_be_read_stops_all_deleting(
    backend: SteppedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    first = Process(backend)
    for content in (b"a", b"b", b"c"):
        first.save(large(content))
    backend.corrupt(keys.log_key(3))
    second = Process(backend, attempt=2, retention=ONE)
    with caplog.at_level(logging.ERROR, "waypost"):
        second.tidy()
        second.save(b"x")
        second.save(b"y")
        second.tidy()
    assert live(backend) == [3, 4, 7], "what can't be judged isn't pruned; 4 is the base"
    assert len(backend.packs()) == 3
    assert "checkpoint 3" in caplog.text


# --- Orphans ---------------------------------------------------------------------------------------------------------


def orphan(backend: SteppedBackend, fence: int, ordinal: int = 1, folder: str = keys.PACKS) -> str:
    key = folder + keys.object_name(fence, ordinal, f"{fence:064x}")
    backend.objects[key] = b"left over"
    return key


def test_orphans_of_lower_fences_are_collected_once_after_the_first_save(backend: SteppedBackend) -> None:
    Process(backend).save(large(b"base"))
    process = Process(backend, attempt=2, retention=TWO)
    assert process.log.fence == 3
    part = "parts/{:020d}-1-3.json"
    backend.objects |= {part.format(fence): b"{}" for fence in (1, 2, 3, 4)}
    lower = [
        part.format(1),
        part.format(2),
        orphan(backend, 1, 99),
        orphan(backend, 2),
        orphan(backend, 1, 98, keys.MANIFESTS),
    ]
    higher = [
        part.format(3),
        part.format(4),
        orphan(backend, 3, 99),
        orphan(backend, 4),
        orphan(backend, 4, 1, keys.MANIFESTS),
    ]
    process.tidy()
    assert set(lower) <= set(backend.objects), "not before it has committed"
    process.save(large(b"x"))
    process.tidy()
    assert not set(lower) & set(backend.objects)
    assert set(higher) <= set(backend.objects), "equal and higher fences may still commit"
    late = orphan(backend, 2, 2)
    process.save(large(b"y"))
    process.tidy()
    assert late in backend.objects, "once per attempt"
    assert read(backend, 2, strict=True) == (2, large(b"base"))


def test_what_ranks_of_lower_fences_said_is_collected_too(backend: SteppedBackend) -> None:
    Process(backend).save(large(b"base"))
    lower, own = keys.part_key(1, 0, 1), keys.part_key(3, 0, 1)
    process = Process(backend, attempt=2, retention=TWO)
    backend.objects |= {lower: b"a seat", own: b"a seat"}
    process.save(large(b"x"))
    process.tidy()
    assert lower not in backend.objects
    assert own in backend.objects, "or a rank could be joined twice"


def test_without_retention_nothing_is_ever_deleted(backend: SteppedBackend) -> None:
    left = orphan(backend, 1)
    for attempt in range(2, 5):
        process = Process(backend, attempt=attempt)
        process.save(large(b"%d" % attempt))
        process.tidy()
    assert left in backend.objects
    assert not [operation for operation, key in backend.requests if operation == "delete" and "probe" not in key]


HOSTILE = (
    "packs/",
    "packs/..",
    "packs/readme.txt",
    "packs/../../etc/passwd",
    f"packs/{'0' * 20}-1-{'a' * 63}",
    f"packs/{'0' * 20}-1-{'A' * 64}",
    f"packs/x{'0' * 20}-1-{'a' * 64}",
    f"packs/{'0' * 20}-1-{'a' * 64}.bak",
    f"packs/{'0' * 20}-1-{'a' * 64}/inner",
    f"packs/{'0' * 20}--1-{'a' * 64}",
    f"{'0' * 20}-1-{'a' * 64}",
    "manifests/",
    "manifests/mine",
    "parts/",
    "parts/mine.json",
    f"parts/{'0' * 20}-1-1.json.bak",
    f"parts/{'0' * 20}-1-x.json",
    f"parts/{'0' * 20}-1-1.json/inner",
    "log/",
    "other/file",
)


def test_only_keys_of_this_format_are_ever_deleted(backend: SteppedBackend) -> None:
    Process(backend).save(large(b"a"))
    for key in HOSTILE:
        backend.objects[key] = b"somebody's"
    garbage = orphan(backend, 1, 77)
    process = Process(backend, attempt=2, retention=ONE)
    process.save(large(b"b"))
    process.save(large(b"c"))
    process.tidy()
    assert garbage not in backend.objects
    assert set(HOSTILE) <= set(backend.objects)


def test_a_hostile_manifest_leads_no_deletion_elsewhere(backend: SteppedBackend) -> None:
    """The entry is read again when it is deleted, and what isn't a pack's name makes the whole manifest damage."""
    process = Process(backend, retention=ONE)
    process.save(large(b"a"))
    process.tidy()
    backend.rewrite(2, manifest={"packs": [{"name": "../../victim", "size": 1}], "nodes": []})
    process.save(b"b")
    process.tidy()
    deleted = [key for operation, key in backend.requests if operation == "delete" and not key.startswith("probe/")]
    assert deleted == []


# --- Killed in between -----------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


def kill_at(backend: SteppedBackend, request: int) -> None:
    left = request

    def step(operation: str, key: str) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1

    backend.before = step


@pytest.mark.parametrize("request_number", range(14))
def test_a_kill_between_prune_and_deletion_leaves_only_garbage_that_the_next_attempt_collects(
    backend: SteppedBackend, request_number: int
) -> None:
    first = Process(backend, retention=ONE)
    for content in (b"a", b"b"):
        first.save(large(content))
    first.save(b"i" * 3 * STUB_WORTH)
    kill_at(backend, request_number)
    try:
        first.save(large(b"c"))
        first.tidy()
    except Killed:
        pass
    backend.before = lambda operation, key: None
    found = read(backend)
    assert found in ((4, b"i" * 3 * STUB_WORTH), (5, large(b"c")))
    second = Process(backend, attempt=2, retention=ONE)
    assert second.restore() == found
    second.tidy()
    second.save(large(b"d"))
    second.tidy()
    second.save(large(b"e"))
    second.tidy()
    kept = live(backend)
    assert len(kept) == 2, "its base and its newest"
    packs = [pack["name"] for number in kept for pack in checkpoint(backend, number).manifest["packs"]]  # type: ignore[index]
    assert backend.packs() == sorted(keys.PACKS + name for name in packs if name != "inline")
    for sequence in range(1, kept[-1]):
        entry = backend.entry(sequence)
        if isinstance(entry, Checkpoint) and sequence not in kept:
            assert len(entry.encode()) < STUB_WORTH + 1000, f"entry {sequence} has kept its data"


@pytest.mark.parametrize("fault", [fail, lose_answer])
@pytest.mark.parametrize("operation", ["delete", "get", "put", "list"])
def test_no_trouble_of_deleting_fails_a_save(backend: SteppedBackend, operation: str, fault: object) -> None:
    process = Process(backend, retention=ONE)
    for step in range(4):
        process.save(large(b"%d" % step) if step % 2 else b"%d" % step * 3 * STUB_WORTH)
        backend.plan(operation, "", fault, fault)  # type: ignore[arg-type]
        process.tidy()
        backend._plans.clear()
    process.save(b"last")
    process.tidy()
    assert process.restore() == (6, b"last")
    assert backend.packs() == []
