"""A deleted store stays deleted, whatever was on its way, and its deletion may be interrupted anywhere."""

from __future__ import annotations

import itertools

import pytest

from tests.unit.store.stepped import Process, SteppedBackend, World, large, read
from waypost.checkpoints import Checkpoints
from waypost.errors import StorageError, StoreDeletedError
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.deleting import delete_store
from waypost.store.entries import DELETED_ATTEMPT, Fence

FOREIGN = (
    "packs/",
    "packs/..",
    "packs/readme.txt",
    f"packs/{'0' * 20}-1-{'a' * 64}.bak",
    "packs/../../victim",
    "manifests/mine",
    "probe/mine",
    "log/",
    "log/notes.txt",
    "log/../victim",
    "parts/mine",
    "other/file",
    "victim",
)


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def fill(backend: SteppedBackend) -> Process:
    Process(backend).save(large(b"a"))
    process = Process(backend, attempt=2)
    process.save(b"tiny")
    process.save(large(b"b"))
    backend.objects["parts/00000000000000000001-1-3.json"] = b"{}"
    backend.objects[keys.PROBE + keys.object_name(1, 4, "a" * 64)] = b"left by one who was killed"
    return process


def delete(backend: SteppedBackend) -> None:
    delete_store(Calls(backend, World().seams()))


def left(backend: SteppedBackend) -> list[str]:
    return sorted(key for key in backend.objects if key not in FOREIGN)


def test_nothing_is_left_but_its_last_fence_and_whoever_meets_it_is_told(backend: SteppedBackend) -> None:
    process = fill(backend)
    delete(backend)
    assert left(backend) == ["format.json", keys.log_key(6)]
    fence = backend.entry(6)
    assert isinstance(fence, Fence)
    assert fence.attempt == DELETED_ATTEMPT
    with pytest.raises(StoreDeletedError):
        process.save(b"more")
    with pytest.raises(StoreDeletedError):
        process.restore()
    with pytest.raises(StoreDeletedError):
        read(backend)
    with pytest.raises(StoreDeletedError):
        Process(backend, attempt=3)
    assert StoreDeletedError.exit_code == 65


def test_deleting_again_deletes_what_came_late_and_adds_no_second_fence(backend: SteppedBackend) -> None:
    fill(backend)
    delete(backend)
    late = keys.PACKS + keys.object_name(3, 9, "c" * 64)
    backend.objects[late] = b"late"
    delete(backend)
    assert left(backend) == ["format.json", keys.log_key(6)]


def test_a_zombies_late_entry_is_taken_for_a_checkpoint_by_nobody(backend: SteppedBackend) -> None:
    """H23: attempt 1 was cut off at number 3; its put comes when that number is free again."""
    zombie = Process(backend)
    zombie.save(b"1")
    second = Process(backend, attempt=2)
    second.save(b"2")
    delete(backend)
    zombie.save(b"late")  # the number of the fence that cut it off is gone: it can't know
    assert keys.log_key(3) in backend.objects
    with pytest.raises(StoreDeletedError):
        read(backend)
    with pytest.raises(StoreDeletedError):
        Process(backend, attempt=9)
    with pytest.raises(StoreDeletedError):
        Checkpoints(attempt=None, backend=backend).list()
    delete(backend)
    assert left(backend) == ["format.json", keys.log_key(5)]


def test_a_completed_store_can_be_deleted(backend: SteppedBackend) -> None:
    fill(backend).complete()
    delete(backend)
    assert left(backend) == ["format.json", keys.log_key(7)]


def test_a_store_whose_log_is_unreadable_can_be_deleted(backend: SteppedBackend) -> None:
    fill(backend)
    for sequence in range(1, 6):
        backend.corrupt(keys.log_key(sequence))
    delete(backend)
    assert left(backend) == ["format.json", keys.log_key(6)]


def test_where_there_is_no_store_nothing_is_written(backend: SteppedBackend) -> None:
    backend.objects["packs/readme.txt"] = b"mine"
    assert delete_store(Calls(backend, World().seams())) is None
    assert list(backend.objects) == ["packs/readme.txt"]


def test_only_keys_of_this_format_are_deleted(backend: SteppedBackend) -> None:
    fill(backend)
    for key in FOREIGN:
        backend.objects[key] = b"somebody's"
    delete(backend)
    assert set(FOREIGN) <= set(backend.objects)
    assert left(backend) == ["format.json", keys.log_key(6)]


def test_a_kill_at_any_request_leaves_what_another_run_finishes(backend: SteppedBackend) -> None:
    for at in itertools.count():
        town = SteppedBackend()
        fill(town)
        made = itertools.count()

        def kill(operation: str, key: str, made: itertools.count[int] = made, at: int = at) -> None:
            if next(made) == at:
                raise Killed

        town.before = kill
        killed = False
        try:
            delete(town)
        except Killed:
            killed = True
        town.before = lambda operation, key: None
        try:
            found = read(town)
        except StoreDeletedError:
            found = None
        assert found in (None, (5, large(b"b"))), "whole or deleted, never a part"
        delete(town)
        assert left(town) == ["format.json", keys.log_key(6)], f"killed at request {at}"
        if not killed:
            assert at > 10
            return


def test_the_oldest_entries_go_first_and_the_data_before_them(backend: SteppedBackend) -> None:
    fill(backend)
    gone: list[str] = []
    backend.before = lambda operation, key: gone.append(key) if operation == "delete" else None
    delete(backend)
    folders = [key.partition("/")[0] for key in gone]
    assert folders == ["packs", "packs", "probe", "parts"] + ["log"] * 5
    assert [keys.log_sequence(key) for key in gone[4:]] == [1, 2, 3, 4, 5]


def test_storage_trouble_is_an_error_and_another_run_goes_on(backend: SteppedBackend) -> None:
    from tests.unit.store.stepped import refuse

    fill(backend)
    backend.plan("delete", keys.PACKS, refuse)
    with pytest.raises(StorageError):
        delete(backend)
    delete(backend)
    assert left(backend) == ["format.json", keys.log_key(6)]
