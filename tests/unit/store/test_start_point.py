"""Rule 10: a task without a checkpoint of its own begins from FROM, on every attempt; never by a guess, never later."""

from __future__ import annotations

import pytest

from tests.unit.store.stepped import BUDGET, Process, SteppedBackend, World, fail, large
from tests.unit.store.test_restoring import pack_of, prune
from waypost.errors import (
    CheckpointPrunedError,
    ConfigurationError,
    CorruptCheckpointError,
    StorageError,
    StoreDeletedError,
)
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.entries import DELETED_ATTEMPT, Checkpoint, Fence, Origin, decode
from waypost.store.seams import Seams
from waypost.store.start_point import StartPoint, parse

OLD, BASE_MODEL, OWN = large(b"old"), large(b"base"), large(b"own")


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


@pytest.fixture
def other() -> SteppedBackend:
    """Another task's store, with checkpoints 2 and 3."""
    other = SteppedBackend()
    writer = Process(other)
    writer.save(OLD, step=100)
    writer.save(BASE_MODEL, step=200)
    return other


def test_a_task_without_a_checkpoint_begins_from_the_newest_of_from(
    backend: SteppedBackend, other: SteppedBackend
) -> None:
    first = Process(backend, starts_from=(other, None))
    assert first.handle.base == Origin(other.uri, 3)
    assert first.resume() == first.resume(None) == (other.uri, 3, BASE_MODEL)
    for info in (first.resuming.base(), first.resuming.latest()):
        assert info is not None
        assert (info.origin, info.sequence, info.step) == (other.uri, 3, 200)


def test_an_attempt_preempted_before_its_first_save_does_not_make_the_next_one_forget_from(
    backend: SteppedBackend, other: SteppedBackend
) -> None:
    """H5: every fine-tuning job that is preempted in its first minutes."""
    for attempt in (1, 2, 3):
        process = Process(backend, attempt=attempt, starts_from=(other, None))
        assert process.resume() == (other.uri, 3, BASE_MODEL)
    assert backend.log() == ["FENCE"] * 3


def test_the_first_own_checkpoint_names_from_as_its_parent_and_ends_its_part(
    backend: SteppedBackend, other: SteppedBackend
) -> None:
    first = Process(backend, starts_from=(other, None))
    assert first.save(OWN).parent == Origin(other.uri, 3)
    assert first.save(OWN).parent == 2
    entry = backend.entry(2)
    assert isinstance(entry, Checkpoint)
    assert decode(entry.encode(), 2) == entry
    other.before = lambda operation, key: pytest.fail("FROM was asked although there is a checkpoint of one's own")
    second = Process(backend, attempt=2, starts_from=(other, None))
    assert second.resume() == (backend.uri, 3, OWN)


def test_what_this_attempt_began_from_is_still_its_base_after_its_own_saves(
    backend: SteppedBackend, other: SteppedBackend
) -> None:
    first = Process(backend, starts_from=(other, None))
    first.save(OWN)
    assert first.resume() == (other.uri, 3, BASE_MODEL)
    assert first.resume(None) == (backend.uri, 2, OWN)
    latest = first.resuming.latest()
    assert latest is not None
    assert (latest.origin, latest.sequence) == (None, 2)
    assert first.save(OWN).parent == 2, "reading the base again makes no branch"


def test_damage_of_the_own_store_never_falls_back_into_from(backend: SteppedBackend, other: SteppedBackend) -> None:
    first = Process(backend, starts_from=(other, None))
    first.save(OWN)
    backend.corrupt(pack_of(backend, 2))
    with pytest.raises(CorruptCheckpointError):
        Process(backend, attempt=2, starts_from=(other, None)).resume()


@pytest.mark.parametrize("damage", ["unreadable", "missing"])
def test_a_first_save_whose_entry_is_lost_is_no_beginning(
    backend: SteppedBackend, other: SteppedBackend, damage: str
) -> None:
    """The log may have said that there is a checkpoint: neither FROM nor nothing may be taken in its place."""
    first = Process(backend)
    first.save(OWN)
    if damage == "unreadable":
        backend.corrupt(keys.log_key(2))
    else:
        first.save(OWN)
        backend.corrupt(keys.log_key(3))
        del backend.objects[keys.log_key(2)]
    with pytest.raises(CorruptCheckpointError, match="Beginning from nothing might lose"):
        Process(backend, attempt=2, starts_from=(other, None))
    with pytest.raises(CorruptCheckpointError, match="Beginning from nothing might lose"):
        Process(backend, attempt=2)
    assert keys.log_key(4) not in backend.objects, "and the store isn't taken over"


def test_a_checkpoint_named_by_number_is_taken_and_no_other(backend: SteppedBackend, other: SteppedBackend) -> None:
    process = Process(backend, starts_from=(other, 2))
    assert process.resume() == (other.uri, 2, OLD)
    assert process.save(OWN).parent == Origin(other.uri, 2)


def test_from_that_can_not_be_reached_is_a_storage_error_and_not_zero(
    backend: SteppedBackend, other: SteppedBackend
) -> None:
    for operation in ("get", "list"):
        other.plan(operation, "", *[fail] * 50)
        with pytest.raises(StorageError) as raised:
            Process(backend, starts_from=(other, None))
        assert raised.value.exit_code == 74
        assert other.uri in str(raised.value)
        other._plans.clear()
        backend = SteppedBackend()


def test_from_that_breaks_off_while_it_is_read_is_a_storage_error(
    backend: SteppedBackend, other: SteppedBackend
) -> None:
    process = Process(backend, starts_from=(other, None))
    other.plan("read_range", keys.PACKS, *[fail] * 50)
    with pytest.raises(StorageError, match="read a pack of"):
        process.resume()


def test_from_without_a_checkpoint_fails_the_task_and_says_so(backend: SteppedBackend) -> None:
    empty = SteppedBackend()
    with pytest.raises(CorruptCheckpointError, match="there is no checkpoint store") as raised:
        Process(backend, starts_from=(empty, None))
    assert raised.value.exit_code == 65
    assert empty.objects == {}, "it is only read"
    Process(empty)
    with pytest.raises(CorruptCheckpointError, match="it holds no checkpoint"):
        Process(SteppedBackend(), starts_from=(empty, None))


def test_from_that_was_deleted_fails_the_task(backend: SteppedBackend, other: SteppedBackend) -> None:
    entry = other.entry(1)
    assert isinstance(entry, Fence)
    Process(other, attempt=2)
    other.rewrite(4, attempt=DELETED_ATTEMPT)
    with pytest.raises(StoreDeletedError):
        Process(backend, starts_from=(other, None))


def test_damage_in_from_falls_back_there_and_the_parent_is_what_was_restored(
    backend: SteppedBackend, other: SteppedBackend
) -> None:
    other.corrupt(pack_of(other, 3))
    process = Process(backend, starts_from=(other, None))
    assert process.resume() == (other.uri, 2, OLD)
    assert process.save(OWN).parent == Origin(other.uri, 2)


def test_damage_of_the_checkpoint_named_by_number_is_an_error(backend: SteppedBackend, other: SteppedBackend) -> None:
    other.corrupt(pack_of(other, 3))
    with pytest.raises(CorruptCheckpointError, match="checkpoint 3"):
        Process(backend, starts_from=(other, 3)).resume()
    other.corrupt(keys.log_key(2))
    with pytest.raises(CorruptCheckpointError, match=r"can't start from .*#2"):
        Process(SteppedBackend(), starts_from=(other, 2))


def test_from_that_is_pruned_meanwhile_starts_over_with_its_newest(
    backend: SteppedBackend, other: SteppedBackend
) -> None:
    """Rule 7, on a store that is still being written to."""
    process = Process(backend, starts_from=(other, None))
    writer = Process(other, attempt=2)
    newest = writer.save(OWN).sequence
    prune(other, newest + 1, 2, 3)
    assert process.resume() == (other.uri, newest, OWN)
    assert process.save(OWN).parent == Origin(other.uri, newest)


def test_a_numbered_from_that_is_pruned_is_named_and_fails_the_task(
    backend: SteppedBackend, other: SteppedBackend
) -> None:
    process = Process(backend, starts_from=(other, 2))
    prune(other, 4, 2)
    with pytest.raises(CheckpointPrunedError, match="checkpoint 2") as raised:
        process.resume()
    assert raised.value.exit_code == 65
    with pytest.raises(CheckpointPrunedError, match="#2: this checkpoint isn't live"):
        Process(SteppedBackend(), starts_from=(other, 2))


@pytest.mark.parametrize("number", [None, 3])
def test_a_listing_that_lags_behind_what_was_found_takes_nothing_of_it_back(
    backend: SteppedBackend, other: SteppedBackend, number: int | None
) -> None:
    """H15, in the store that a task starts from: found by the simulator."""
    process = Process(backend, starts_from=(other, number))
    newest = keys.log_key(3)
    listed = other.list
    other.list = lambda *asked: [key for key in listed(*asked) if key != newest]  # type: ignore[method-assign]
    assert process.resume() == (other.uri, 3, BASE_MODEL)
    assert Process(backend, attempt=2, starts_from=(other, number)).resume() == (other.uri, 3, BASE_MODEL)


def test_from_is_never_written_to(backend: SteppedBackend, other: SteppedBackend) -> None:
    other.requests.clear()
    process = Process(backend, starts_from=(other, None))
    process.resume()
    process.save(OWN)
    process.complete()
    assert {operation for operation, _ in other.requests} <= {"get", "read_range", "list"}


@pytest.mark.parametrize("text", ["nowhere://x", "s3://bucket/a?b", "", "#3"])
def test_a_from_that_can_not_be_meant_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        StartPoint.open(text, Seams())
    assert raised.value.exit_code == 65


@pytest.mark.parametrize("number", ["0", "-1", "x", "", "01", "1.0", "99999999999999999999", "1#2", "٣"])
def test_what_is_no_number_of_a_checkpoint_is_refused(number: str) -> None:
    with pytest.raises(ConfigurationError, match="checkpoint's number"):
        parse(f"s3://bucket/store#{number}")


def test_a_from_is_a_store_or_a_store_and_a_number() -> None:
    assert parse("s3://bucket/store/") == ("s3://bucket/store", None)
    assert parse("s3://bucket/store/#12") == ("s3://bucket/store", 12)


def test_a_reader_may_ask_what_a_task_begins_from(other: SteppedBackend) -> None:
    start = StartPoint(Calls(other, World().seams(), BUDGET))
    assert start.find(lambda: None, BUDGET).sequence == 3
    assert start.origin == Origin(other.uri, 3)
