"""Rules 7 and 8: the newest whole checkpoint, along the lineage, and never a guess."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from tests.unit.store.stepped import Process, SteppedBackend, fail, large, read
from tests.unit.store.test_appending import put_foreign
from waypost.errors import (
    CheckpointPrunedError,
    CorruptCheckpointError,
    FencedError,
    StorageError,
)
from waypost.store import keys
from waypost.store.entries import Checkpoint, Prune
from waypost.store.sequences import Sequences

A, B, C = large(b"a"), large(b"b"), large(b"c")


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def pack_of(backend: SteppedBackend, sequence: int) -> str:
    entry = backend.entry(sequence)
    assert isinstance(entry, Checkpoint)
    assert isinstance(entry.manifest, dict)
    name: str = entry.manifest["packs"][0]["name"]
    return keys.PACKS + name


def prune(backend: SteppedBackend, sequence: int, *gone: int) -> None:
    """What `waypost checkpoints prune` leaves behind: the entry, no packs, and stubs."""
    live = backend.entry(sequence - 1).live.without(Sequences.of(gone))
    put_foreign(backend, Prune, sequence, prunes=Sequences.of(gone), live=live)
    for number in gone:
        entry = backend.entry(number)
        if isinstance(entry, Checkpoint) and entry.data is None:
            backend.objects.pop(pack_of(backend, number))
        backend.rewrite(number, manifest=None, data=None)


def test_a_truncated_pack_falls_back_along_the_parent_loudly(
    backend: SteppedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    first = Process(backend)
    first.save(A)
    first.save(B)
    backend.objects[pack_of(backend, 3)] = B[:100]
    second = Process(backend, attempt=2)
    with caplog.at_level(logging.ERROR, "waypost"):
        assert second.restore() == (2, A)
    assert "checkpoint 3" in caplog.text
    assert "truncated" in caplog.text


@pytest.mark.parametrize("damage", ["missing", "wrong"])
def test_a_missing_or_wrong_pack_falls_back_along_the_parent(backend: SteppedBackend, damage: str) -> None:
    first = Process(backend)
    first.save(A)
    first.save(B)
    if damage == "missing":
        del backend.objects[pack_of(backend, 3)]
    else:
        backend.corrupt(pack_of(backend, 3))
    assert Process(backend, attempt=2).restore() == (2, A)
    assert read(backend) == (2, A)


class GarblingBackend(SteppedBackend):
    """Parts of objects arrive with a wrong bit, or cut, as often as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.garble: list[str] = []

    def part(self, key: str, start: int, length: int) -> bytes:
        data = super().part(key, start, length)
        match self.garble.pop(0) if self.garble else "":
            case "wrong":
                return data[:-1] + bytes([data[-1] ^ 1])
            case "cut":
                return data[: len(data) // 2]
        return data


def test_a_pack_that_arrives_wrong_is_read_again_alone() -> None:
    backend = GarblingBackend()
    first = Process(backend)
    first.save(A)
    first.save(B)
    backend.requests.clear()
    backend.garble = ["wrong", "cut"]
    assert read(backend) == (3, B)
    assert not backend.garble
    assert [key for operation, key in backend.requests if operation == "read_range"] == [pack_of(backend, 3)] * 3
    assert len([key for operation, key in backend.requests if key == keys.log_key(3)]) == 2, "the survey's, and one"


def test_an_unreadable_checkpoint_entry_falls_back(backend: SteppedBackend) -> None:
    first = Process(backend)
    first.save(A)
    first.save(B)
    first.save(C)
    backend.corrupt(keys.log_key(3))
    backend.corrupt(keys.log_key(4))
    Process(backend, attempt=1)
    assert Process(backend, attempt=2).restore() == (2, A)


def test_falling_back_leaves_abandoned_branches_aside(backend: SteppedBackend) -> None:
    """H17: 3 was damaged for a moment, so 4 goes on from 2; when 4 is damaged, 3 is another branch."""
    first = Process(backend)
    first.save(A)
    first.save(B)
    pack = pack_of(backend, 3)
    hidden = backend.objects.pop(pack)
    second = Process(backend, attempt=2)
    assert second.restore() == (2, A)
    assert second.save(C).parent == 2
    backend.objects[pack] = hidden
    backend.corrupt(pack_of(backend, 5))
    assert Process(backend, attempt=3).restore() == (2, A)


def test_nothing_left_is_corrupt_and_names_every_damage(backend: SteppedBackend) -> None:
    first = Process(backend)
    first.save(A)
    first.save(B)
    for sequence in (2, 3):
        backend.corrupt(pack_of(backend, sequence))
    with pytest.raises(CorruptCheckpointError, match=r"3: .*; 2: "):
        Process(backend, attempt=2).restore()
    with pytest.raises(CorruptCheckpointError):
        read(backend)


def test_a_storage_error_is_neither_damage_nor_nothing(backend: SteppedBackend) -> None:
    first = Process(backend)
    first.save(A)
    first.save(B)
    second = Process(backend, attempt=2)
    backend.plan("read_range", keys.PACKS, *[fail] * 50)
    with pytest.raises(StorageError, match="read a pack of"):
        second.restore()


def test_a_transfer_that_went_wrong_once_is_repeated(backend: SteppedBackend) -> None:
    first = Process(backend)
    first.save(A)
    whole = backend.objects[pack_of(backend, 2)]
    backend.objects[pack_of(backend, 2)] = whole[:50]

    def heal(operation: str, key: str) -> None:
        if operation == "get" and key == keys.log_key(4):
            backend.objects[pack_of(backend, 2)] = whole

    second = Process(backend, attempt=2)
    backend.before = heal
    assert second.restore() == (2, A)


def test_a_restoring_attempt_that_was_overtaken_is_fenced_and_never_falls_back(backend: SteppedBackend) -> None:
    """H13, found by the explorer: the successor pruned what the zombie was reading."""
    first = Process(backend)
    first.save(A)
    first.save(B)
    zombie = Process(backend, attempt=2)
    Process(backend, attempt=3).save(C)
    prune(backend, 7, 2, 3)
    with pytest.raises(FencedError, match="overtaken by attempt 3"):
        zombie.restore()


def test_it_is_fenced_too_when_the_successor_s_fence_can_t_be_read(backend: SteppedBackend) -> None:
    """Found by the simulator: the zombie went on from its successor's checkpoint."""
    first = Process(backend)
    first.save(A)
    first.save(B)
    zombie = Process(backend, attempt=2)
    Process(backend, attempt=3).save(C)
    backend.corrupt(keys.log_key(5))
    backend.corrupt(keys.log_key(3))
    with pytest.raises(FencedError, match="overtaken by attempt 3"):
        zombie.restore()


def test_a_reader_that_meets_a_prune_starts_over_with_the_newest(backend: SteppedBackend) -> None:
    """H13: never Corrupt, and never something older, while the newest is whole."""
    writer = Process(backend)
    writer.save(A)
    writer.save(B)

    def prune_meanwhile(operation: str, key: str) -> None:
        if operation == "read_range":
            backend.before = lambda operation, key: None
            writer.save(C)
            prune(backend, 5, 2, 3)

    backend.before = prune_meanwhile
    assert read(backend) == (4, C)


def test_a_checkpoint_named_by_number_that_is_pruned_meanwhile_says_so(backend: SteppedBackend) -> None:
    writer = Process(backend)
    writer.save(A)
    writer.save(B)

    def prune_meanwhile(operation: str, key: str) -> None:
        if operation == "read_range":
            backend.before = lambda operation, key: None
            prune(backend, 4, 2)

    backend.before = prune_meanwhile
    with pytest.raises(CheckpointPrunedError):
        read(backend, 2, strict=True)


def test_a_checkpoint_named_by_number_never_falls_back(backend: SteppedBackend) -> None:
    writer = Process(backend)
    writer.save(A)
    writer.save(B)
    backend.corrupt(pack_of(backend, 3))
    with pytest.raises(CorruptCheckpointError, match="checkpoint 3"):
        read(backend, 3, strict=True)
    assert read(backend, 2, strict=True) == (2, A)


def test_a_number_that_is_no_live_checkpoint_is_refused(backend: SteppedBackend) -> None:
    Process(backend).save(A)
    for number in (1, 9):
        with pytest.raises(CheckpointPrunedError):
            read(backend, number, strict=True)


def test_falling_back_passes_pruned_parents(backend: SteppedBackend) -> None:
    writer = Process(backend)
    for content in (A, B, C):
        writer.save(content)
    prune(backend, 5, 3)
    backend.corrupt(pack_of(backend, 4))
    assert read(backend) == (2, A)


def test_a_stub_is_read_as_pruned(backend: SteppedBackend) -> None:
    writer = Process(backend)
    writer.save(b"tiny")
    writer.save(b"newer")
    prune(backend, 4, 2)
    entry = backend.entry(2)
    assert isinstance(entry, Checkpoint)
    assert (entry.manifest, entry.data) == (None, None)
    assert read(backend) == (3, b"newer")
    assert Process(backend, attempt=2).restore() == (3, b"newer")


def test_a_manifest_that_promises_other_sizes_than_its_entry_is_damage(backend: SteppedBackend) -> None:
    writer = Process(backend)
    writer.save(A)
    writer.save(B)
    backend.rewrite(3, size=len(B) + 1)
    assert read(backend) == (2, A)


def test_inline_data_are_verified_too(backend: SteppedBackend) -> None:
    writer = Process(backend)
    writer.save(b"one")
    writer.save(b"two")
    entry = backend.entry(3)
    assert isinstance(entry, Checkpoint)
    backend.objects[keys.log_key(3)] = dataclasses.replace(entry, data=b"twO").encode()
    assert read(backend) == (2, b"one")


def test_after_a_fall_back_the_next_save_names_the_restored_one_as_parent(backend: SteppedBackend) -> None:
    first = Process(backend)
    first.save(A)
    first.save(B)
    backend.corrupt(pack_of(backend, 3))
    second = Process(backend, attempt=2)
    assert second.restore() == (2, A)
    assert second.save(C).parent == 2
