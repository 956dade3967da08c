"""Mode "scoped", a store whose place has no conditional writes: starting and reading (rule 11, H9)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.store.scoped_place import entries, once, scoped_place
from tests.unit.store.stepped import (
    Overwriting,
    Process,
    World,
    large,
    read,
    refuse,
)
from waypost.backends.protocol import UnreachableError
from waypost.checkpoints import Checkpoints
from waypost.errors import (
    AttemptRefusedError,
    CompletedError,
    CorruptCheckpointError,
    FencedError,
    StorageError,
    StoreDeletedError,
)
from waypost.store import keys
from waypost.store.entries import DELETED_ATTEMPT, Fence
from waypost.store.retention import Retention
from waypost.store.scopes import Scope, Scopes, placed
from waypost.store.sequences import NOTHING
from waypost.store.sources import look
from waypost.store.start import IssuedFences


@pytest.fixture
def place() -> Overwriting:
    return scoped_place()


# --- Starting ---------------------------------------------------------------------------------------------------------


def test_a_store_begins_with_fence_and_base(place: Overwriting) -> None:
    process = Process(place)
    assert process.log.fence == 2, "a writer's fence is its BASE: that grows from writer to writer"
    process.save(b"one")
    assert entries(place) == [(1, "FENCE", 1), (1, "BASE", 2), (1, "CHECKPOINT", 3)]


def test_the_next_attempt_restores_the_newest_of_any_attempt(place: Overwriting) -> None:
    Process(place).save(b"one")
    second = Process(place, attempt=2)
    assert second.restore() == (3, b"one")
    third = Process(place, attempt=3)
    assert third.restore() == (3, b"one"), "an attempt that saved nothing hands on what it went on from"
    assert third.save(b"three").parent == 3
    assert (second.log.fence, third.log.fence) == (4, 5)
    assert read(place) == (6, b"three")


def test_a_start_takes_eight_requests_and_a_tiny_save_two(place: Overwriting) -> None:
    Process(place).save(b"one")
    place.requests.clear()
    process = Process(place, attempt=2)
    assert [operation for operation, _ in place.requests] == ["get", "list", "get", "put", "list", "get", "put", "list"]
    place.requests.clear()
    process.save(b"two")
    assert [operation for operation, _ in place.requests] == ["put", "list"]


def test_what_was_confirmed_between_the_first_look_and_the_fence_is_restored(place: Overwriting) -> None:
    """H9: the first LIST is too old to restore from."""
    first = Process(place)
    once(place, "put", keys.LOG, lambda: first.save(b"just in time"))
    second = Process(place, attempt=2)
    assert second.restore() == (3, b"just in time")


def test_a_lower_attempt_is_refused_with_the_highest_known(place: Overwriting) -> None:
    Process(place, attempt=3)
    with pytest.raises(AttemptRefusedError, match="attempt 3 has taken the store over") as refused:
        Process(place, attempt=2)
    assert refused.value.highest_attempt == 3
    assert (2, "FENCE", 1) not in entries(place)


def test_the_same_attempt_starts_again_in_the_same_pod_only(place: Overwriting) -> None:
    first = Process(place, attempt=1, pod="a")
    first.save(b"one")
    with pytest.raises(AttemptRefusedError, match="started already, by another pod"):
        Process(place, attempt=1, pod="b", issued=IssuedFences())
    again = Process(place, attempt=1, pod="a", issued=IssuedFences())
    assert again.restore() == (3, b"one")
    with pytest.raises(FencedError):
        first.save(b"two")


@pytest.mark.parametrize("moment", ["list", "put"], ids=["before its second LIST", "before its BASE"])
def test_a_start_that_is_overtaken_is_refused(place: Overwriting, moment: str) -> None:
    def overtake() -> None:
        once(place, moment, keys.LOG, lambda: Process(place, attempt=3))

    once(place, "put", keys.LOG, overtake)
    with pytest.raises(AttemptRefusedError) as refused:
        Process(place, attempt=2)
    assert refused.value.highest_attempt == 3


def test_of_two_processes_of_one_attempt_that_start_at_once_at_most_one_gets_on(place: Overwriting) -> None:
    started: list[Process] = []
    once(place, "put", keys.LOG, lambda: started.append(Process(place, attempt=1, pod="a", world=World(name="x"))))
    with pytest.raises((AttemptRefusedError, FencedError)):
        for process in [Process(place, attempt=1, pod="a", world=World(name="y")), *started]:
            process.save(b"mine")
    assert len({scope for key in place.objects if (scope := placed(key))}) == len(entries(place))


def test_an_attempt_that_died_behind_its_fence_hands_on_what_was_there(place: Overwriting) -> None:
    """A FENCE alone holds off all who came before, and says nothing about what there is."""
    first = Process(place)
    first.save(b"one")
    place.plan("list", keys.LOG, lambda execute: None, *[refuse] * 1)
    with pytest.raises(StorageError):
        Process(place, attempt=2)
    assert entries(place)[-1] == (2, "FENCE", 1)
    assert read(place) == (3, b"one")
    with pytest.raises(FencedError):
        first.save(b"two")
    assert Process(place, attempt=3).restore() is not None


def test_a_completed_store_is_reported_and_left_alone(place: Overwriting) -> None:
    process = Process(place)
    process.save(b"last")
    process.complete()
    before = entries(place)
    with pytest.raises(CompletedError):
        Process(place, attempt=2)
    assert entries(place) == before
    with pytest.raises(CompletedError):
        process.save(b"more")


def test_a_complete_that_came_before_the_fence_is_found_behind_it(place: Overwriting) -> None:
    first = Process(place)
    once(place, "put", keys.LOG, first.complete)
    with pytest.raises(CompletedError):
        Process(place, attempt=2)
    with pytest.raises(CompletedError):
        Process(place, attempt=3)


def test_a_deleted_store_says_so(place: Overwriting) -> None:
    process = Process(place)
    scope = Scope(DELETED_ATTEMPT, 1, "0" * 32)
    fence = Fence(
        sequence=1,
        attempt=DELETED_ATTEMPT,
        fence=1,
        nonce=scope.nonce,
        time=World().seams().now(),
        live=NOTHING,
        pinned=NOTHING,
        pod=None,
        scopes=Scopes(((1, scope),)),
    )
    place.objects[scope.key(1)] = fence.encode()
    for act in (lambda: process.save(b"two"), lambda: Process(place, attempt=2), lambda: read(place)):
        with pytest.raises(StoreDeletedError):
            act()


# --- Reading ----------------------------------------------------------------------------------------------------------


def test_damage_falls_back_along_the_parents_through_other_scopes(place: Overwriting) -> None:
    Process(place).save(b"one")
    second = Process(place, attempt=2)
    second.restore()
    second.save(large(b"two"))
    [pack] = place.packs()
    place.corrupt(pack)
    third = Process(place, attempt=3)
    assert third.restore() == (3, b"one")
    assert third.save(b"three").parent == 3


def test_an_entry_that_can_not_be_read_is_passed_loudly(place: Overwriting, caplog: pytest.LogCaptureFixture) -> None:
    process = Process(place)
    process.save(b"one")
    process.save(b"two")
    [newest, *_] = sorted(key for key in place.objects if placed(key))
    place.corrupt(newest)
    second = Process(place, attempt=2)
    assert second.restore() == (3, b"one")
    assert second.log.fence == 5, "its number is taken, whatever it was"
    assert "whatever it recorded is lost" in caplog.text


def test_a_log_of_which_nothing_can_be_read_is_an_error(place: Overwriting) -> None:
    Process(place)
    for key in [key for key in place.objects if placed(key)]:
        place.objects[key] = b"{}"
    with pytest.raises(CorruptCheckpointError, match="no entry can be read"):
        Process(place, attempt=2)


def test_an_unreadable_entry_that_may_be_the_only_checkpoint_is_an_error(place: Overwriting) -> None:
    Process(place).save(b"one")
    newest = min(key for key in place.objects if placed(key) is not None)
    place.corrupt(newest)
    with pytest.raises(CorruptCheckpointError, match="can't be told"):
        Process(place, attempt=2)
    with pytest.raises(CorruptCheckpointError, match="can't be told"):
        read(place)
    assert entries_left(place) == 3, "nothing was appended"


def entries_left(place: Overwriting) -> int:
    return sum(placed(key) is not None for key in place.objects)


def test_an_entry_under_another_scopes_key_is_unreadable(place: Overwriting) -> None:
    process = Process(place)
    process.save(b"one")
    [newest, *_] = sorted(key for key in place.objects if placed(key))
    found = placed(newest)
    assert found is not None
    place.objects[Scope(7, 1, "f" * 32).key(3)] = place.objects[newest]
    assert read(place) == (3, b"one")


def test_other_peoples_keys_and_directory_markers_are_passed_over(place: Overwriting) -> None:
    place.objects["log/"] = b""
    for number in range(20):
        place.objects[f"log/0-{number}.txt"] = b"not an entry"
    Process(place).save(b"one")
    assert Process(place, attempt=2).restore() == (3, b"one")


def test_trouble_while_listing_is_an_error_and_not_an_empty_store(place: Overwriting) -> None:
    Process(place).save(b"one")

    def down(execute: Callable[[], None]) -> None:
        raise UnreachableError("503 Slow Down")

    place.plan("list", keys.LOG, *[down] * 50)
    with pytest.raises(StorageError, match="503 Slow Down"):
        read(place)


# --- Through the public class -----------------------------------------------------------------------------------------


def test_a_reader_that_was_there_before_the_store_finds_it_once_it_exists(place: Overwriting) -> None:
    del place.objects[keys.FORMAT_KEY]
    reader = Checkpoints(backend=place, attempt=None)
    assert reader.latest() is None
    with Checkpoints(backend=place, attempt=1) as writer:
        writer.save(b"one", step=1, wait=True)
        assert [info.step for info in reader.list()] == [1]
        assert reader.read_bytes() == b"one"
        writer.complete()
    assert reader.completed
    assert reader.highest_attempt == 1


def test_a_writer_goes_on_from_what_the_last_one_saved(place: Overwriting) -> None:
    with Checkpoints(backend=place, attempt=1) as first:
        saved = first.save(large(b"one"), step=1, wait=True).result()
    with Checkpoints(backend=place, attempt=2) as second:
        assert second.base is not None
        assert second.base.sequence == saved.sequence
        assert second.read_bytes() == large(b"one")
        assert second.save(b"two", step=2, wait=True).result().parent == saved.sequence
        assert second.read_bytes(saved.sequence) == large(b"one")


def test_what_killed_writers_left_is_removed_by_the_next(place: Overwriting) -> None:
    """Fences grow with scopes, so a name with a lower one that nothing live names belongs to nobody."""
    first = Process(place)
    first.save(large(b"one"))
    [kept] = place.packs()
    first.handle._uploads.upload(look(large(b"never named")))  # and dies before its entry
    assert len(place.packs()) == 2
    second = Process(place, attempt=2, retention=Retention(keep_last=2))
    second.save(large(b"two"))
    second.tidy()
    assert kept in place.packs()
    assert len(place.packs()) == 2
    assert second.restore() == (5, large(b"two"))
    assert read(place, 3, strict=True) == (3, large(b"one"))
