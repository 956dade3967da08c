"""Mode "scoped": a store whose place has no conditional writes. Put, then LIST before believing (rule 11, H9)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.store.stepped import (
    BUDGET,
    Overwriting,
    Process,
    World,
    format_file,
    large,
    lose_answer,
    read,
    refuse,
)
from waypost.backends.protocol import UnreachableError
from waypost.checkpoints import Checkpoints
from waypost.errors import (
    AttemptRefusedError,
    CheckpointPrunedError,
    CompletedError,
    ConfigurationError,
    CorruptCheckpointError,
    FencedError,
    StorageError,
    StoreDeletedError,
)
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.entries import DELETED_ATTEMPT, Base, Checkpoint, Entry, Fence, Prune, decode
from waypost.store.format import Mode
from waypost.store.retention import Retention
from waypost.store.scoped import ScopedJournal
from waypost.store.scopes import LONG_ROW, MAX_ROW, NO_SCOPES, Scope, Scopes, placed
from waypost.store.sequences import NOTHING, Sequences
from waypost.store.sources import look
from waypost.store.start import IssuedFences


@pytest.fixture
def place() -> Overwriting:
    made = Overwriting()
    made.objects[keys.FORMAT_KEY] = format_file(Mode.SCOPED)
    return made


def entries(place: Overwriting) -> list[tuple[int, str, int]]:
    """Attempt, type and number of everything in the log, oldest first."""
    found = []
    for key in sorted(place.objects, reverse=True):
        if (at := placed(key)) is not None:
            entry = decode(place.objects[key], at[1])
            found.append((entry.attempt, entry.type, entry.sequence))
    return found


def once(place: Overwriting, operation: str, prefix: str, act: Callable[[], object]) -> None:
    """Another process acts right before the next request of this kind."""

    def before(happening: str, key: str) -> None:
        if happening == operation and key.startswith(prefix):
            place.before = lambda operation, key: None
            act()

    place.before = before


# --- Starting --------------------------------------------------------------------------------------------------------


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


# --- Appending -------------------------------------------------------------------------------------------------------


def test_a_zombie_is_fenced_for_ever_and_nothing_of_it_is_restored(place: Overwriting) -> None:
    zombie = Process(place)
    zombie.save(b"one")
    successor = Process(place, attempt=2)
    for _ in range(2):
        with pytest.raises(FencedError, match=r"attempt 1 \(fence 2\) of .* was overtaken by attempt 2"):
            zombie.save(b"zombie's")
    assert read(place) == (3, b"one")
    assert successor.save(b"two").sequence == 5
    assert Process(place, attempt=3).restore() == (5, b"two")


def test_a_fence_that_arrives_with_the_save_fences(place: Overwriting) -> None:
    first = Process(place)
    once(place, "list", keys.LOG, lambda: Process(place, attempt=2))
    with pytest.raises(FencedError):
        first.save(b"too late")


def test_a_zombie_that_restores_ends_as_fenced_and_never_falls_back(place: Overwriting) -> None:
    first = Process(place)
    first.save(large(b"one"))
    zombie = Process(place, attempt=2)
    Process(place, attempt=3)
    for key in place.packs():
        place.delete(key)
    with pytest.raises(FencedError, match="while it was restoring"):
        zombie.restore()


def test_a_save_whose_listing_fails_is_unknown_and_its_number_is_spent(place: Overwriting) -> None:
    process = Process(place)
    place.plan("list", keys.LOG, refuse)
    with pytest.raises(StorageError) as failed:
        process.save(b"one")
    assert failed.value.outcome == "unknown"
    assert process.save(b"two").sequence == 4
    assert read(place) == (4, b"two")


def test_a_save_that_lands_after_it_was_given_up_is_not_live(place: Overwriting) -> None:
    process = Process(place)
    place.plan("put", keys.LOG, *[place.hang] * 50)
    with pytest.raises(StorageError) as failed:
        process.save(b"one")
    assert failed.value.outcome == "unknown"
    place._plans.clear()
    assert process.save(b"two").sequence == 4
    place.deliver()
    assert read(place) == (4, b"two")
    assert (1, "CHECKPOINT", 3) in entries(place)
    with pytest.raises(CheckpointPrunedError):
        read(place, 3, strict=True)


def test_a_save_refused_at_once_is_not_saved(place: Overwriting) -> None:
    process = Process(place)
    place.plan("put", keys.LOG, refuse)
    with pytest.raises(StorageError) as failed:
        process.save(b"one")
    assert failed.value.outcome == "not saved"
    place.plan("put", keys.LOG, lose_answer, refuse)
    with pytest.raises(StorageError) as failed:
        process.save(b"one")
    assert failed.value.outcome == "unknown"


def test_nothing_but_complete_follows_a_complete_of_unknown_outcome(place: Overwriting) -> None:
    process = Process(place)
    place.plan("list", keys.LOG, refuse)
    with pytest.raises(StorageError):
        process.complete()
    with pytest.raises(StorageError, match="whether that stands is unknown"):
        process.save(b"more")
    process.complete()
    with pytest.raises(CompletedError):
        Process(place, attempt=2)


class Lagging(Overwriting):
    """Listings show what was there one write ago."""

    def __init__(self) -> None:
        super().__init__()
        self.lags = False
        self._shown: list[str] = []

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        now = super().list(prefix, start_after, limit)
        shown, self._shown = self._shown, now
        return shown if self.lags else now


def test_listings_that_lag_are_noticed_before_anything_is_confirmed() -> None:
    place = Lagging()
    place.objects[keys.FORMAT_KEY] = format_file(Mode.SCOPED)
    process = Process(place)
    place.lags = True
    with pytest.raises(StorageError, match="a listing doesn't show an entry") as failed:
        process.save(b"one")
    assert failed.value.outcome == "unknown"
    with pytest.raises(StorageError, match="a listing doesn't show an entry"):
        Process(place, attempt=2)


def test_nobody_appends_without_a_scope(place: Overwriting) -> None:
    """A person's `prune` or `pin` has no fence, and nothing there would hold it off the running task."""
    Process(place).save(b"one")
    journal = ScopedJournal(Calls(place, World().seams(), BUDGET))
    state = journal.survey()
    entry = Prune(
        sequence=journal.free_number(state),
        attempt=0,
        fence=0,
        nonce="0",
        time=World().seams().now(),
        live=NOTHING,
        pinned=NOTHING,
        prunes=state.live,
    )
    with pytest.raises(ConfigurationError, match="only the running task itself may write"):
        journal.put(entry)


def test_no_two_writers_name_a_pack_alike(place: Overwriting) -> None:
    for attempt in (1, 2, 3):
        Process(place, attempt).save(large(b"the same"))
    names = [key.removeprefix(keys.PACKS).split("-") for key in place.packs()]
    assert len({(fence, ordinal) for fence, ordinal, _ in names}) == 3
    assert all(keys.is_object_name("-".join(name)) and int(name[1]) > 10**6 for name in names)


# --- Reading ---------------------------------------------------------------------------------------------------------


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


# --- The row of scopes -----------------------------------------------------------------------------------------------


def test_names_and_keys_are_read_as_they_are_written() -> None:
    scope = Scope(12, 3, "0123456789abcdef" * 2)
    assert scope.name == "99999999999999999987-99999999999999999996-0123456789abcdef0123456789abcdef"
    assert Scope.parse(scope.name) == scope
    assert placed(scope.key(7)) == (scope, 7)
    assert scope.key(7) == f"log/{scope.name}-99999999999999999992.json"
    for other in (Scope(13, 1, "f" * 32), Scope(12, 4, "f" * 32), Scope(12, 3, "0" * 32)):
        assert other.outranks(scope)
        assert other.key(1) < scope.key(10**6), "and so it stands before it in a LIST"
    for wrong in (
        "log/x.json",
        keys.log_key(5),
        scope.key(7) + "/",
        f"log/{'9' * 20}-{'9' * 20}-{'0' * 32}-{'9' * 20}.json",
    ):
        assert placed(wrong) is None


def test_numbers_are_found_by_the_row() -> None:
    first, second = Scope(1, 1, "0" * 32), Scope(2, 1, "0" * 32)
    row = NO_SCOPES.followed_by(2, first, NOTHING).followed_by(6, second, Sequences.of([3]))
    assert [row.holder(number) for number in (1, 2, 5, 6, 99)] == [None, first, first, second, second]
    assert row.own == second
    assert Scopes.from_json(row.to_json()) == row


def test_a_long_row_loses_its_oldest_scopes_unless_something_is_live_there() -> None:
    row, live = NO_SCOPES, Sequences.of([20])
    for number in range(2, LONG_ROW + 100):
        row = row.followed_by(number, Scope(number, 1, "0" * 32), live)
    assert row.row[0][0] == 20
    assert len(row.row) == LONG_ROW + 80
    assert len(row.followed_by(10**6, Scope(10**6, 1, "0" * 32), Sequences.of([10**6 - 1])).row) == LONG_ROW


@pytest.mark.parametrize(
    "value", [None, {}, [1], [[1]], [[True, "x"]], [[1, "x"]], [[2, Scope(1, 1, "0" * 32).name]] * 2, [[0, "x"]]]
)
def test_a_row_that_makes_no_sense_is_no_row(value: object) -> None:
    with pytest.raises(ValueError, match="scopes"):
        Scopes.from_json(value)


def test_too_many_scopes_with_something_live_are_a_clear_error(place: Overwriting) -> None:
    scopes = Scopes(tuple((number, Scope(number, 1, "0" * 32)) for number in range(2, MAX_ROW + 2)))
    last = scopes.own
    assert last is not None
    base: Entry = Base(
        sequence=MAX_ROW + 1,
        attempt=last.attempt,
        fence=MAX_ROW + 1,
        nonce="0",
        time=World().seams().now(),
        live=Sequences.of([2]),
        pinned=NOTHING,
        scopes=scopes,
    )
    place.objects[last.key(base.sequence)] = base.encode()
    with pytest.raises(ConfigurationError, match="of more than 4000 different starts"):
        Process(place, attempt=10**6)


def test_the_largest_entry_still_fits() -> None:
    scopes = Scopes(tuple((2**62 + number, Scope(2**62, number + 1, "0" * 32)) for number in range(MAX_ROW)))
    entry = Checkpoint(
        sequence=2**63 - 1,
        attempt=1,
        fence=1,
        nonce="0" * 32,
        time=World().seams().now(),
        live=NOTHING,
        pinned=NOTHING,
        scopes=scopes,
        step=1,
        metrics={},
        metadata={"x": "x" * keys.MAX_ANNOTATIONS},
        parent=None,
        size=0,
        manifest={"packs": "x" * keys.MAX_INLINE},
        data=b"x" * keys.MAX_INLINE,
    )
    assert len(entry.encode()) < keys.MAX_ENTRY


# --- Through the public class ----------------------------------------------------------------------------------------


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
