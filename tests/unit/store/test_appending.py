"""Rule 3: a writer appends at exactly the next number, and what stands there instead decides its fate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from tests.unit.store.stepped import Process, SteppedBackend, fail, large, lose_answer, refuse
from waypost.backends.protocol import ExistsError
from waypost.errors import CompletedError, FencedError, StorageError, StoreDeletedError
from waypost.store import keys
from waypost.store.entries import DELETED_ATTEMPT, Checkpoint, Complete, Entry, Fence, Pin, Prune, Unpin
from waypost.store.sequences import NOTHING, Sequences
from waypost.store.sources import look

LOG = keys.LOG


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def put_foreign(backend: SteppedBackend, kind: type[Entry], sequence: int, **members: object) -> None:
    """What another process, of whatever attempt, appends at `sequence`."""
    below = backend.entry(sequence - 1)
    common = {
        "sequence": sequence,
        "attempt": 0,
        "fence": 0,
        "nonce": f"foreign-{sequence}",
        "time": below.time,
        "live": below.live,
        "pinned": below.pinned,
    }
    backend.put_new(keys.log_key(sequence), kind(**{**common, **members}).encode())  # type: ignore[arg-type]


def test_a_confirmed_save_stands_in_the_log_with_its_content(backend: SteppedBackend) -> None:
    info = Process(backend).save(b"state", step=7)
    entry = backend.entry(info.sequence)
    assert isinstance(entry, Checkpoint)
    assert (entry.step, entry.data, entry.attempt, entry.fence) == (7, b"state", 1, 1)
    assert backend.log() == ["FENCE", "CHECKPOINT"]


def test_entries_are_numbered_without_a_gap(backend: SteppedBackend) -> None:
    """A number that is left free would be a zombie's to commit at, behind another attempt's FENCE."""
    first = Process(backend)
    second = Process(backend, attempt=2)
    assert [second.save(b"%d" % step).sequence for step in range(3)] == [3, 4, 5]
    second.complete()
    assert sorted(backend.objects)[1:] == ["log/" + str(10**20 - 1 - number) + ".json" for number in range(6, 0, -1)]
    with pytest.raises(FencedError):
        first.save(b"late")


def test_a_lost_reply_is_found_to_be_our_own_success(backend: SteppedBackend) -> None:
    process = Process(backend)
    backend.plan("put_new", LOG, lose_answer)
    assert process.save(b"state").sequence == 2
    assert backend.log() == ["FENCE", "CHECKPOINT"]


def succeed_and_repeat(execute: Callable[[], None]) -> None:
    execute()
    execute()


def test_a_412_for_our_own_success_is_found_to_be_success(backend: SteppedBackend) -> None:
    """Clients that retry by themselves report it so."""
    process = Process(backend)
    backend.plan("put_new", LOG, succeed_and_repeat)
    assert process.save(b"state").sequence == 2


def test_a_request_that_never_arrived_is_sent_again_with_the_same_nonce(backend: SteppedBackend) -> None:
    process = Process(backend)
    backend.plan("put_new", LOG, fail, fail)
    assert process.save(b"state").sequence == 2
    assert backend.log() == ["FENCE", "CHECKPOINT"]


def test_every_append_has_a_nonce_of_its_own(backend: SteppedBackend) -> None:
    process = Process(backend)
    process.save(b"one")
    process.save(b"two")
    assert len({backend.entry(number).nonce for number in (1, 2, 3)}) == 3


def test_an_outcome_that_stays_unknown_says_so(backend: SteppedBackend) -> None:
    process = Process(backend)
    backend.plan("put_new", LOG, *[backend.hang] * 50)
    with pytest.raises(StorageError, match=r"append CHECKPOINT as log entry 2.*timed out.*tried") as caught:
        process.save(b"state")
    assert caught.value.outcome == "unknown"


def test_a_save_whose_every_request_was_refused_is_not_saved(backend: SteppedBackend) -> None:
    process = Process(backend)
    backend.plan("put_new", LOG, refuse)
    with pytest.raises(StorageError, match="AccessDenied") as caught:
        process.save(b"state")
    assert caught.value.outcome == "not saved"


def test_a_refusal_after_a_lost_reply_leaves_the_outcome_unknown(backend: SteppedBackend) -> None:
    process = Process(backend)
    backend.plan("put_new", LOG, backend.hang, refuse)
    with pytest.raises(StorageError) as caught:
        process.save(b"state")
    assert caught.value.outcome == "unknown"


def test_a_pack_that_cannot_be_uploaded_is_not_saved(backend: SteppedBackend) -> None:
    process = Process(backend)
    backend.plan("put", keys.PACKS, refuse)
    with pytest.raises(StorageError, match="write a pack to") as caught:
        process.save(large(b"x"))
    assert caught.value.outcome == "not saved"
    assert backend.log() == ["FENCE"]


def test_an_earlier_save_that_landed_late_is_not_taken_for_this_one(backend: SteppedBackend) -> None:
    """H4: with a nonce per process the second save would be confirmed, and the log would hold the first."""
    process = Process(backend)
    backend.plan("put_new", LOG, *[backend.hang] * 50)
    with pytest.raises(StorageError):
        process.save(b"first", step=1)
    backend._plans.clear()

    def arrive(operation: str, key: str) -> None:
        if operation == "put_new":
            backend.deliver()

    backend.before = arrive
    second = process.save(b"second", step=2)
    first, last = backend.entry(2), backend.entry(3)
    assert isinstance(first, Checkpoint)
    assert isinstance(last, Checkpoint)
    assert (first.data, last.data) == (b"first", b"second")
    assert (second.sequence, second.parent) == (3, 2)


def test_an_earlier_save_that_never_lands_can_not_land_any_more(backend: SteppedBackend) -> None:
    process = Process(backend)
    backend.plan("put_new", LOG, *[backend.hang] * 50)
    with pytest.raises(StorageError):
        process.save(b"first")
    backend._plans.clear()
    assert process.save(b"second").sequence == 2
    assert all(answer is not None for answer in backend.deliver())
    assert process.restore() == (2, b"second")


def test_a_zombie_is_fenced_for_ever(backend: SteppedBackend) -> None:
    zombie = Process(backend, attempt=1)
    zombie.save(b"one")
    Process(backend, attempt=2)
    for _ in range(2):
        with pytest.raises(FencedError, match=r"attempt 1 .* overtaken: log entry 3 is a FENCE of attempt 2"):
            zombie.save(b"two")
    assert backend.log() == ["FENCE", "CHECKPOINT", "FENCE"]


def test_a_late_put_of_a_zombie_can_not_land_behind_the_fence(backend: SteppedBackend) -> None:
    zombie = Process(backend, attempt=1)
    backend.plan("put_new", LOG, *[backend.hang] * 50)
    with pytest.raises(StorageError):
        zombie.save(b"zombie")
    backend._plans.clear()
    successor = Process(backend, attempt=2)
    assert all(answer is not None for answer in backend.deliver())
    assert successor.restore() is None
    assert backend.log() == ["FENCE", "FENCE"]


def test_a_late_put_that_lands_before_the_fence_is_what_the_next_attempt_restores(backend: SteppedBackend) -> None:
    zombie = Process(backend, attempt=1)
    backend.plan("put_new", LOG, *[backend.hang] * 50)
    with pytest.raises(StorageError):
        zombie.save(b"late")
    backend._plans.clear()
    backend.deliver()
    assert Process(backend, attempt=2).restore() == (2, b"late")


def test_a_second_process_of_the_same_attempt_and_pod_fences_the_first(backend: SteppedBackend) -> None:
    """H3: ownership goes by fence and nonce, never by the attempt's number."""
    first = Process(backend, attempt=1, pod="pod-a")
    Process(backend, attempt=1, pod="pod-a")
    with pytest.raises(FencedError):
        first.save(b"state")


def test_an_entry_under_our_fence_that_we_did_not_write_fences_us(backend: SteppedBackend) -> None:
    """A forked child, or a restored snapshot of the machine: same fence, other nonces."""
    process = Process(backend)
    process.save(b"one")
    entry = backend.entry(2)
    twins = dataclasses.replace(entry, sequence=3, nonce="the twin's", live=Sequences.of([2, 3]))
    backend.put_new(keys.log_key(3), twins.encode())
    with pytest.raises(FencedError):
        process.save(b"two")


def test_a_foreign_prune_is_stepped_over_and_adopted(backend: SteppedBackend) -> None:
    """H12: anybody may prune without a fence, and the writer goes on."""
    process = Process(backend)
    for step in (1, 2, 3):
        process.save(b"%d" % step, step=step)
    put_foreign(backend, Prune, 5, prunes=Sequences.of([2]), live=Sequences.of([3, 4]))
    info = process.save(b"4", step=4)
    assert (info.sequence, info.parent) == (6, 4)
    assert backend.entry(6).live == Sequences.of([3, 4, 6])
    assert backend.log()[-2:] == ["PRUNE", "CHECKPOINT"]


@pytest.mark.parametrize(("kind", "pinned"), [(Pin, Sequences.of([2])), (Unpin, NOTHING)])
def test_a_foreign_pin_is_stepped_over_and_carried_on(
    backend: SteppedBackend, kind: type[Entry], pinned: Sequences
) -> None:
    process = Process(backend)
    process.save(b"1")
    put_foreign(backend, kind, 3, target=2, pinned=pinned)
    assert process.save(b"2").sequence == 4
    assert backend.entry(4).pinned == pinned


def test_the_packs_are_checked_again_at_each_number(backend: SteppedBackend) -> None:
    """H11: a PRUNE met on the way may have condemned what the save was going to name."""
    process = Process(backend)
    process.save(b"1")
    put_foreign(backend, Prune, 3, prunes=NOTHING)
    checks: list[bool] = []
    may_name = process.handle._uploads.may_name

    def watched(uploaded: object) -> bool:
        checks.append(True)
        return may_name(uploaded)  # type: ignore[arg-type]

    process.handle._uploads.may_name = watched  # type: ignore[method-assign]
    process.save(large(b"x"))
    assert len(checks) == 2


def test_packs_that_may_not_be_named_any_more_are_uploaded_again_under_fresh_names(backend: SteppedBackend) -> None:
    process = Process(backend)
    process.save(b"1")
    put_foreign(backend, Prune, 3, prunes=NOTHING)
    uploads = process.handle._uploads

    def condemn(operation: str, key: str) -> None:
        if (operation, key) == ("get", keys.log_key(3)):
            uploads._unnamed.clear()

    backend.before = condemn
    info = process.save(large(b"x"))
    first, second = backend.packs()
    entry = backend.entry(info.sequence)
    assert isinstance(entry, Checkpoint)
    assert isinstance(entry.manifest, dict)
    assert [keys.PACKS + pack["name"] for pack in entry.manifest["packs"]] == [second]
    assert first.rpartition("-")[2] == second.rpartition("-")[2]


def test_a_name_of_a_pack_is_never_used_by_two_uploads(backend: SteppedBackend) -> None:
    process = Process(backend)
    process.save(large(b"same"))
    uploads = process.handle._uploads
    assert uploads.pack(look(large(b"same"))).packs == uploads.pack(look(large(b"same"))).packs, "it stands already"
    Process(backend, attempt=2).save(large(b"same"))
    assert len(backend.packs()) == 2


def test_nothing_can_be_saved_after_a_foreign_complete(backend: SteppedBackend) -> None:
    process = Process(backend)
    put_foreign(backend, Complete, 2, attempt=1, fence=1)
    for _ in range(2):
        with pytest.raises(CompletedError):
            process.save(b"state")


def test_nothing_can_be_saved_after_our_own_complete(backend: SteppedBackend) -> None:
    process = Process(backend)
    process.complete()
    with pytest.raises(CompletedError):
        process.save(b"state")
    assert backend.log() == ["FENCE", "COMPLETE"]


def test_a_complete_that_landed_late_counts_when_it_is_asked_for_again(backend: SteppedBackend) -> None:
    process = Process(backend)
    backend.plan("put_new", LOG, *[backend.hang] * 50)
    with pytest.raises(StorageError):
        process.complete()
    backend._plans.clear()
    backend.deliver()
    process.complete()
    assert backend.log() == ["FENCE", "COMPLETE"]


def test_a_save_that_finds_our_own_late_complete_is_refused(backend: SteppedBackend) -> None:
    process = Process(backend)
    backend.plan("put_new", LOG, *[backend.hang] * 50)
    with pytest.raises(StorageError):
        process.complete()
    backend._plans.clear()
    backend.deliver()
    with pytest.raises(CompletedError):
        process.save(b"state")


def test_complete_behind_a_fence_is_fenced(backend: SteppedBackend) -> None:
    zombie = Process(backend, attempt=1)
    Process(backend, attempt=2)
    with pytest.raises(FencedError):
        zombie.complete()


def test_an_unreadable_entry_fences_the_writer(backend: SteppedBackend) -> None:
    process = Process(backend)
    backend.objects[keys.log_key(2)] = b'{"type":"CHECKPO'
    for _ in range(2):
        with pytest.raises(FencedError, match="log entry 2 can't be read"):
            process.save(b"state")


def test_a_writer_that_meets_the_deletion_of_its_store_is_told_so(backend: SteppedBackend) -> None:
    process = Process(backend)
    put_foreign(backend, Fence, 2, attempt=DELETED_ATTEMPT, fence=2, pod=None)
    with pytest.raises(StoreDeletedError):
        process.save(b"state")


def test_a_server_that_says_exists_and_shows_nothing_is_an_error(backend: SteppedBackend) -> None:
    process = Process(backend)

    def sham(execute: object) -> None:
        raise ExistsError("412")

    backend.plan("put_new", LOG, *[sham] * 50)
    with pytest.raises(StorageError, match="says that the entry exists") as caught:
        process.save(b"state")
    assert caught.value.outcome == "unknown"


def test_an_own_save_given_up_as_unknown_becomes_the_parent_when_it_stands(backend: SteppedBackend) -> None:
    process = Process(backend)
    process.save(b"one")
    backend.plan("put_new", LOG, lose_answer)
    backend.plan("get", LOG, *[refuse])
    with pytest.raises(StorageError) as caught:
        process.save(b"two")
    assert caught.value.outcome == "unknown"
    assert process.save(b"three").parent == 3
