"""Rule 4: an attempt finds the end of the log, refuses to disturb, and takes the store over by a FENCE."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from tests.unit.store.stepped import (
    BUDGET,
    Process,
    SteppedBackend,
    World,
    fail,
    format_file,
    lose_answer,
    read,
)
from waypost.errors import (
    AttemptRefusedError,
    CompletedError,
    CorruptCheckpointError,
    FencedError,
    StopRequested,
    StorageError,
    StoreDeletedError,
)
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.conditional import ConditionalJournal
from waypost.store.entries import DELETED_ATTEMPT, Fence
from waypost.store.handle import WritingHandle
from waypost.store.sequences import Sequences
from waypost.store.start import Writer


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def test_the_first_attempt_starts_with_nothing_to_restore(backend: SteppedBackend) -> None:
    process = Process(backend)
    assert (process.handle.base, process.restore()) == (None, None)
    assert backend.log() == ["FENCE"]


def test_the_next_attempt_restores_the_newest_checkpoint_of_any_attempt(backend: SteppedBackend) -> None:
    Process(backend, attempt=1).save(b"one")
    Process(backend, attempt=2)
    third = Process(backend, attempt=3)
    assert third.handle.base == 2
    assert third.restore() == (2, b"one")
    assert third.save(b"two").parent == 2


def test_a_restore_takes_few_requests_however_long_the_history(backend: SteppedBackend) -> None:
    """H19: an attempt in a crash loop leaves thousands of FENCEs."""
    Process(backend, attempt=1).save(b"one")
    for attempt in range(2, 300):
        Process(backend, attempt=attempt)
    backend.requests.clear()
    assert Process(backend, attempt=300).restore() == (2, b"one")
    assert len(backend.requests) <= 8, backend.requests


def test_a_lower_attempt_is_refused_with_the_highest_known(backend: SteppedBackend) -> None:
    Process(backend, attempt=5).save(b"five")
    with pytest.raises(AttemptRefusedError, match="Go on with attempt 6") as caught:
        Process(backend, attempt=4)
    assert caught.value.highest_attempt == 5
    assert backend.log() == ["FENCE", "CHECKPOINT"], "a refused start appends nothing"


def test_the_same_attempt_from_another_pod_is_refused_as_if_lower(backend: SteppedBackend) -> None:
    Process(backend, attempt=5, pod="pod-a")
    backend.rewrite(1, nonce="of a process that isn't this one")
    with pytest.raises(AttemptRefusedError) as caught:
        Process(backend, attempt=5, pod="pod-b")
    assert caught.value.highest_attempt == 5


def test_the_same_attempt_outside_a_pod_is_refused_to_another_process(backend: SteppedBackend) -> None:
    Process(backend, attempt=5, pod=None)
    backend.rewrite(1, nonce="of a process that isn't this one")
    with pytest.raises(AttemptRefusedError):
        Process(backend, attempt=5, pod=None)


def test_the_same_attempt_from_the_same_pod_starts_again(backend: SteppedBackend) -> None:
    Process(backend, attempt=5, pod="pod-a").save(b"five")
    backend.rewrite(1, nonce="of a process that isn't this one")
    assert Process(backend, attempt=5, pod="pod-a").restore() == (2, b"five")


def test_a_completed_store_is_reported_and_left_alone(backend: SteppedBackend) -> None:
    """H14: the pod vanished between COMPLETE and its exit."""
    Process(backend, attempt=1).complete()
    with pytest.raises(CompletedError):
        Process(backend, attempt=2)
    assert backend.log() == ["FENCE", "COMPLETE"]


def test_a_complete_under_a_prune_is_found(backend: SteppedBackend) -> None:
    from tests.unit.store.test_appending import put_foreign
    from waypost.store.entries import Pin, Prune

    first = Process(backend, attempt=1)
    first.save(b"one")
    first.complete()
    put_foreign(backend, Prune, 4, prunes=Sequences())
    put_foreign(backend, Pin, 5, target=2)
    with pytest.raises(CompletedError):
        Process(backend, attempt=2)


def test_prunes_say_nothing_about_writers(backend: SteppedBackend) -> None:
    from tests.unit.store.test_appending import put_foreign
    from waypost.store.entries import Prune

    Process(backend, attempt=3).save(b"three")
    put_foreign(backend, Prune, 3, prunes=Sequences())
    with pytest.raises(AttemptRefusedError) as caught:
        Process(backend, attempt=2)
    assert caught.value.highest_attempt == 3


def test_a_deleted_store_is_never_taken_over(backend: SteppedBackend) -> None:
    Process(backend, attempt=1)
    entry = backend.entry(1)
    assert isinstance(entry, Fence)
    gone = dataclasses.replace(entry, sequence=2, fence=2, attempt=DELETED_ATTEMPT, nonce="the deleter's")
    backend.put_new(keys.log_key(2), gone.encode())
    with pytest.raises(StoreDeletedError):
        Process(backend, attempt=7)
    with pytest.raises(StoreDeletedError):
        read(backend)


def test_a_list_that_lags_only_makes_the_walk_longer(backend: SteppedBackend) -> None:
    """H15: what was met on the way to the fence is what is restored from."""
    first = Process(backend, attempt=1)
    first.save(b"one")
    listed = dict(backend.objects)
    first.save(b"two")
    first.save(b"three")
    whole, backend.objects = backend.objects, listed

    def catch_up(operation: str, key: str) -> None:
        if operation == "put_new":
            backend.objects = whole

    backend.before = catch_up
    second = Process(backend, attempt=2)
    assert second.restore() == (4, b"three")
    assert backend.log() == ["FENCE", "CHECKPOINT", "CHECKPOINT", "CHECKPOINT", "FENCE"]


def test_a_start_that_lost_the_race_judges_again(backend: SteppedBackend) -> None:
    Process(backend, attempt=1)

    def overtake(operation: str, key: str) -> None:
        if operation == "put_new":
            backend.before = lambda operation, key: None
            Process(backend, attempt=3)

    backend.before = overtake
    with pytest.raises(AttemptRefusedError) as caught:
        Process(backend, attempt=2)
    assert caught.value.highest_attempt == 3
    assert backend.log() == ["FENCE", "FENCE"]


def test_a_save_that_slips_in_before_the_fence_is_restored(backend: SteppedBackend) -> None:
    first = Process(backend, attempt=1)

    def slip_in(operation: str, key: str) -> None:
        if operation == "put_new":
            backend.before = lambda operation, key: None
            first.save(b"slipped in")

    backend.before = slip_in
    assert Process(backend, attempt=2).restore() == (2, b"slipped in")


def test_a_fence_whose_reply_was_lost_is_found(backend: SteppedBackend) -> None:
    backend.objects[keys.FORMAT_KEY] = format_file()
    backend.plan("put_new", keys.LOG, lose_answer)
    assert Process(backend).log.fence == 1
    assert backend.log() == ["FENCE"]


def test_a_fence_that_can_not_be_confirmed_is_a_storage_error(backend: SteppedBackend) -> None:
    backend.objects[keys.FORMAT_KEY] = format_file()
    backend.plan("put_new", keys.LOG, *[fail] * 50)
    with pytest.raises(StorageError, match="append FENCE as log entry 1"):
        Process(backend)


def test_no_fence_is_sent_after_a_stop_order(backend: SteppedBackend) -> None:
    backend.objects[keys.FORMAT_KEY] = format_file()
    stopped = False

    def interrupt() -> None:
        if stopped:
            raise StopRequested

    def stop_before_the_fence(operation: str, key: str) -> None:
        nonlocal stopped
        stopped = True

    backend.before = stop_before_the_fence
    with pytest.raises(StopRequested):
        WritingHandle(
            Calls(backend, World().seams(), BUDGET), Writer(1, None), interrupt, lambda info, save: None, BUDGET
        )
    assert backend.log() == []


def test_keys_that_are_no_entries_are_passed_over(backend: SteppedBackend) -> None:
    """H18: a directory marker sorts first, and more than a page of strangers' files may."""
    Process(backend).save(b"one")
    backend.objects["log/"] = b""
    for number in range(100):
        backend.objects[f"log/.nfs{number:03}"] = b"?"
    backend.objects["log/00000000000000000000.txt"] = b"?"
    assert read(backend) == (2, b"one")
    assert Process(backend, attempt=2).restore() == (2, b"one")


def test_an_unreadable_newest_entry_is_loud_and_its_number_stays_taken(
    backend: SteppedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """H20."""
    first = Process(backend)
    first.save(b"one")
    first.save(b"two")
    backend.corrupt(keys.log_key(3))
    with caplog.at_level(logging.ERROR, "waypost"):
        second = Process(backend, attempt=2)
    assert "log entry 3 can't be read" in caplog.text
    assert second.restore() == (2, b"one")
    assert second.log.fence == 4
    assert second.save(b"three").parent == 2


def test_an_unreadable_entry_that_may_be_the_only_checkpoint_is_an_error_and_not_an_empty_store(
    backend: SteppedBackend,
) -> None:
    """H20: behind a FENCE that knows of no checkpoint, the attempt after would begin from nothing without a word."""
    Process(backend).save(b"one")
    entry = backend.objects[keys.log_key(2)]
    backend.corrupt(keys.log_key(2))
    for attempt in (2, 3):
        with pytest.raises(CorruptCheckpointError, match="can't be told"):
            Process(backend, attempt=attempt)
    with pytest.raises(CorruptCheckpointError, match="can't be told"):
        read(backend)
    assert sorted(key for key in backend.objects if key.startswith(keys.LOG)) == [keys.log_key(2), keys.log_key(1)]
    backend.objects[keys.log_key(2)] = entry
    assert Process(backend, attempt=4).restore() == (2, b"one")


def test_a_log_without_a_single_readable_entry_is_corrupt_and_not_new(backend: SteppedBackend) -> None:
    Process(backend).save(b"one")
    for sequence in (1, 2):
        backend.corrupt(keys.log_key(sequence))
    with pytest.raises(CorruptCheckpointError, match="no writer's entry can be read"):
        Process(backend, attempt=2)
    with pytest.raises(CorruptCheckpointError):
        read(backend)


def test_a_gap_in_the_log_is_loud(backend: SteppedBackend, caplog: pytest.LogCaptureFixture) -> None:
    """H2: an expiry rule of the bucket, or a clean-up by hand, has deleted entries."""
    first = Process(backend)
    first.save(b"one")
    first.save(b"two")
    backend.corrupt(keys.log_key(3))
    del backend.objects[keys.log_key(2)]
    with caplog.at_level(logging.ERROR, "waypost"):
        state = ConditionalJournal(Calls(backend, World().seams(), BUDGET)).survey()
    assert "log entry 2" in caplog.text
    assert "is missing" in caplog.text
    assert (state.last_seen, state.highest_attempt) == (3, 1)


def test_a_stray_key_with_an_enormous_number_does_not_hang_the_start(backend: SteppedBackend) -> None:
    Process(backend).save(b"one")
    backend.objects[keys.log_key(10**15)] = b"?"
    state = ConditionalJournal(Calls(backend, World().seams(), BUDGET)).survey()
    assert state.last_seen == 10**15
    assert state.live == Sequences.of([2])


def test_trouble_while_listing_is_an_error_and_not_an_empty_store(backend: SteppedBackend) -> None:
    Process(backend).save(b"one")
    backend.plan("list", keys.LOG, *[fail] * 50)
    with pytest.raises(StorageError, match="list the log of"):
        Process(backend, attempt=2)
    backend._plans.clear()
    backend.plan("get", keys.LOG, *[fail] * 50)
    with pytest.raises(StorageError, match="read log entry 2"):
        Process(backend, attempt=2)


class MisreadingBackend(SteppedBackend):
    """The next answer to a LIST names an entry that isn't there: a bit of it is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.misread: set[int] = set()

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        found = super().list(prefix, start_after, limit)
        return [keys.log_key(self.misread.pop()), *found[1:]] if self.misread else found


def test_a_misread_list_makes_no_gap_behind_which_a_zombie_could_go_on() -> None:
    backend = MisreadingBackend()
    zombie = Process(backend, attempt=1)
    zombie.save(b"one")
    backend.misread.add(7)
    successor = Process(backend, attempt=2)
    assert not backend.misread
    assert backend.log() == ["FENCE", "CHECKPOINT", "FENCE"]
    with pytest.raises(FencedError):
        zombie.save(b"too late")
    assert successor.restore() == (2, b"one")
