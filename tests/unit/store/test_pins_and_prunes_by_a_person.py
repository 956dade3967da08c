"""PIN, UNPIN and PRUNE beside a running attempt: they hold, they disturb nobody, and they are careful."""

from __future__ import annotations

import pytest

from tests.unit.store.stepped import Process, SteppedBackend, World, large, read
from waypost.checkpoints import Checkpoints
from waypost.errors import CheckpointPrunedError, ConfigurationError, CorruptCheckpointError, StoreDeletedError
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.deleting import delete_store
from waypost.store.entries import Checkpoint, Prune
from waypost.store.retention import KeepEvery, Retention
from waypost.store.sequences import Sequences

ONE = Retention(keep_last=1)


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def bystander(backend: SteppedBackend) -> Checkpoints:
    return Checkpoints(attempt=None, backend=backend, seams=World().seams())


def live(backend: SteppedBackend) -> list[int]:
    return sorted(info.sequence for info in bystander(backend).list())


def saved(backend: SteppedBackend, count: int, attempt: int = 1) -> Process:
    process = Process(backend, attempt)
    for step in range(count):
        process.save(large(b"%d" % step), step)
    return process


# --- Pins ------------------------------------------------------------------------------------------------------------


def test_a_pinned_checkpoint_outlives_retention_until_it_is_unpinned(backend: SteppedBackend) -> None:
    process = Process(backend, retention=ONE)
    process.save(large(b"keep"))
    bystander(backend).pin(2)
    for step in range(3):
        process.save(b"%d" % step)
        process.tidy()
    assert bystander(backend).pinned == (2,)
    assert read(backend, 2, strict=True) == (2, large(b"keep"))
    bystander(backend).unpin(2)
    process.save(b"next")
    process.tidy()
    assert live(backend) == [process.told[-1].sequence]
    assert backend.packs() == []


def test_pinning_twice_and_unpinning_what_is_not_pinned_append_nothing(backend: SteppedBackend) -> None:
    saved(backend, 2)
    bystander(backend).unpin(2)
    bystander(backend).pin(2)
    bystander(backend).pin(2)
    assert backend.log() == ["FENCE", "CHECKPOINT", "CHECKPOINT", "PIN"]


def test_pins_add_up_and_an_unpin_takes_back_one(backend: SteppedBackend) -> None:
    process = saved(backend, 3)
    person = bystander(backend)
    for sequence in (2, 4, 3):
        person.pin(sequence)
    assert list(person.pinned) == [4, 3, 2]
    person.unpin(3)
    assert list(person.pinned) == [4, 2]
    process.save(b"next")
    assert list(person.pinned) == [4, 2], "an entry of the running attempt carries them on"


def test_what_is_not_live_cannot_be_pinned(backend: SteppedBackend) -> None:
    saved(backend, 1)
    for sequence in (1, 3, 99):
        with pytest.raises(CheckpointPrunedError, match="was pruned, or never existed"):
            bystander(backend).pin(sequence)


def test_a_pin_that_meets_a_save_that_prunes_what_it_wants_says_so(backend: SteppedBackend) -> None:
    process = Process(backend, retention=ONE)
    process.save(b"1")
    taken = False

    def overtake(operation: str, key: str) -> None:
        nonlocal taken
        if operation == "put_new" and not taken:
            taken = True
            process.save(b"2")

    person = bystander(backend)
    backend.before = overtake
    with pytest.raises(CheckpointPrunedError):
        person.pin(2)
    assert backend.log() == ["FENCE", "CHECKPOINT", "CHECKPOINT"]


def test_the_holder_pins_too_and_goes_on_saving(backend: SteppedBackend) -> None:
    with Checkpoints(attempt=1, backend=backend, seams=World().seams(), retention=ONE) as store:
        first = store.save(b"1", wait=True).result()
        store.pin(first.sequence)
        for step in range(3):
            store.save(b"%d" % step, wait=True)
        assert [info.sequence for info in store.list()] == [6, 2]


def test_after_complete_pins_and_prunes_still_work(backend: SteppedBackend) -> None:
    process = saved(backend, 3)
    process.complete()
    person = bystander(backend)
    person.pin(2)
    assert person.prune(ONE).sequences == (3,)
    assert live(backend) == [2, 4]
    assert person.completed


# --- Prunes ----------------------------------------------------------------------------------------------------------


def test_a_prune_keeps_what_it_is_told_deletes_the_rest_and_never_orphans(backend: SteppedBackend) -> None:
    process = saved(backend, 6)
    left = keys.PACKS + keys.object_name(1, 77, "a" * 64)
    backend.objects[left] = b"an upload on its way"
    done = bystander(backend).prune(Retention(keep_last=1, keep_every=KeepEvery(steps=2)))
    assert (done.sequences, done.kept, done.deleted) == ((3, 5), (2, 4, 6, 7), True)
    assert live(backend) == [2, 4, 6, 7]
    assert left in backend.objects
    assert len(backend.packs()) == 5
    assert process.save(b"next").sequence == 9, "the running attempt steps over it"


def test_a_dry_run_says_the_same_and_does_nothing(backend: SteppedBackend) -> None:
    saved(backend, 4)
    before = dict(backend.objects)
    done = bystander(backend).prune(ONE, dry_run=True)
    assert (done.sequences, done.kept, done.deleted) == ((2, 3, 4), (5,), False)
    assert backend.objects == before


def test_the_newest_is_read_first_and_a_damaged_one_does_not_count(backend: SteppedBackend) -> None:
    """H17: the newest is damaged, and the one before it is what a restore gives."""
    saved(backend, 3)
    backend.corrupt(sorted(backend.packs(), key=lambda key: int(key.split("-")[1]))[2])
    done = bystander(backend).prune(ONE)
    assert done.sequences == (2,)
    assert read(backend) == (3, large(b"1"))


def test_with_nothing_whole_nothing_is_pruned(backend: SteppedBackend) -> None:
    saved(backend, 3)
    for pack in backend.packs():
        backend.corrupt(pack)
    with pytest.raises(CorruptCheckpointError):
        bystander(backend).prune(ONE)
    assert backend.log() == ["FENCE"] + ["CHECKPOINT"] * 3


def test_what_the_running_attempt_resumed_from_is_kept(backend: SteppedBackend) -> None:
    saved(backend, 3)
    second = Process(backend, attempt=2)
    second.restore(3, strict=True)
    for step in range(3):
        second.save(large(b"%d" % step))
    assert bystander(backend).prune(ONE).kept == (3, 8)
    assert second.restore(3, strict=True) == (3, large(b"1"))


def test_while_an_attempt_has_not_saved_yet_nothing_is_pruned(backend: SteppedBackend) -> None:
    saved(backend, 3)
    second = Process(backend, attempt=2)
    with pytest.raises(ConfigurationError, match=r"attempt 2 .* has started and not saved yet"):
        bystander(backend).prune(ONE)
    second.save(b"first")
    assert bystander(backend).prune(ONE).kept == (4, 6)


def test_a_prune_is_computed_anew_when_its_number_is_taken(backend: SteppedBackend) -> None:
    process = saved(backend, 3)
    taken = False

    def overtake(operation: str, key: str) -> None:
        nonlocal taken
        if operation == "put_new" and key.startswith(keys.LOG) and not taken:
            taken = True
            Checkpoints(attempt=None, backend=backend, seams=World().seams()).pin(3)
            process.save(b"newer")

    backend.before = overtake
    done = bystander(backend).prune(ONE)
    assert done.sequences == (2,), "4 was read and found whole, 3 is pinned, 6 is the newest"
    assert live(backend) == [3, 4, 6]
    entry = backend.entry(7)
    assert isinstance(entry, Prune)
    assert entry.pinned == Sequences.of([3])


def test_an_unreadable_entry_that_may_be_a_start_stops_a_prune(backend: SteppedBackend) -> None:
    saved(backend, 3)
    Process(backend, attempt=2)
    backend.corrupt(keys.log_key(5))
    with pytest.raises(ConfigurationError, match="may be the start of an attempt"):
        bystander(backend).prune(ONE)


def test_unreadable_older_ones_are_pruned(backend: SteppedBackend) -> None:
    saved(backend, 3)
    Process(backend, attempt=2).save(b"x")
    backend.corrupt(keys.log_key(2))
    assert bystander(backend).prune(Retention(keep_last=5)).sequences == (2,)
    assert live(backend) == [3, 4, 6]


def test_a_save_that_meets_a_prune_names_nothing_that_was_condemned(backend: SteppedBackend) -> None:
    """H11: the PRUNE takes the number of a save whose packs are up; what it commits has all its packs for ever."""
    process = saved(backend, 2)
    taken = False

    def overtake(operation: str, key: str) -> None:
        nonlocal taken
        if operation == "put_new" and key.startswith(keys.LOG) and not taken:
            taken = True
            bystander(backend).prune(ONE)

    backend.before = overtake
    info = process.save(large(b"0"))
    backend.before = lambda operation, key: None
    assert info.sequence == 5
    assert read(backend) == (5, large(b"0")), "equal to the content of the pruned one, and not its pack"
    entry = backend.entry(5)
    assert isinstance(entry, Checkpoint)
    assert process.restore() == (5, large(b"0"))


def test_a_store_that_is_not_there_or_was_deleted_says_so(backend: SteppedBackend) -> None:
    with pytest.raises(ConfigurationError, match="there is no checkpoint store"):
        bystander(backend).pin(1)
    saved(backend, 1)
    delete_store(Calls(backend, World().seams()))
    for act in (lambda: bystander(backend).pin(2), lambda: bystander(backend).prune(ONE)):
        with pytest.raises(StoreDeletedError):
            act()


# --- Verification ----------------------------------------------------------------------------------------------------


def test_a_sound_store_verifies(backend: SteppedBackend) -> None:
    process = saved(backend, 3)
    process.save(b"tiny")
    report = bystander(backend).verify()
    assert (report.entries, report.checkpoints, report.problems, report.ok) == (5, (5, 4, 3, 2), (), True)
    assert bystander(backend).verify(3).checkpoints == (3,)
    with pytest.raises(CheckpointPrunedError):
        bystander(backend).verify(1)


def test_a_missing_number_an_unreadable_entry_and_damage_are_told_with_what_to_do(backend: SteppedBackend) -> None:
    process = saved(backend, 3)
    process.complete()
    del backend.objects[keys.log_key(1)]
    backend.corrupt(keys.log_key(2))
    backend.corrupt(sorted(backend.packs(), key=lambda key: int(key.split("-")[1]))[1])
    report = bystander(backend).verify()
    told = [(one.sequence, one.what) for one in report.problems]
    assert [number for number, _ in told] == [1, 2, 3, 2]
    assert "log entry 1 is missing" in told[0][1]
    assert "can't be read" in told[1][1]
    assert "doesn't have the content that was saved" in told[2][1]
    assert all(one.advice for one in report.problems)
    assert report.checkpoints == (4,)


def test_a_missing_pack_is_told(backend: SteppedBackend) -> None:
    saved(backend, 1)
    del backend.objects[backend.packs()[0]]
    (problem,) = bystander(backend).verify().problems
    assert "is missing" in problem.what
