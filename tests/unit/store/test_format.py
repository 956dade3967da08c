"""Rule 11: what a place can do is found out once, by trying, and is then a property of the store."""

from __future__ import annotations

import json
import threading

import pytest

from tests.unit.store.stepped import (
    BUDGET,
    Fault,
    Overwriting,
    Process,
    SteppedBackend,
    Unconditional,
    World,
    fail,
    format_file,
    lose_answer,
    refuse,
)
from waypost.errors import ConfigurationError, StorageError
from waypost.store import format as store_format
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.format import Mode
from waypost.store.seams import Seams


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def calls(backend: SteppedBackend) -> Calls:
    return Calls(backend, World().seams(), BUDGET)


def test_a_new_store_gets_its_format_file_before_its_first_entry(backend: SteppedBackend) -> None:
    Process(backend)
    created = [key for operation, key in backend.requests if operation == "put_new" and not key.startswith(keys.PROBE)]
    assert created == [keys.FORMAT_KEY, keys.log_key(1)]
    assert json.loads(backend.objects[keys.FORMAT_KEY]) == {
        "waypost": "checkpoint store",
        "format": 1,
        "mode": "conditional",
    }


def test_the_probe_leaves_nothing_behind(backend: SteppedBackend) -> None:
    store_format.prepare(calls(backend))
    assert sorted(backend.objects) == [keys.FORMAT_KEY]


def test_a_store_is_probed_once(backend: SteppedBackend) -> None:
    Process(backend)
    backend.requests.clear()
    Process(backend, attempt=2)
    assert not [key for _, key in backend.requests if key.startswith(keys.PROBE)]


@pytest.mark.parametrize("place", [Overwriting, Unconditional], ids=["ignores the condition", "says that it can't"])
def test_a_place_without_conditional_writes_gets_the_other_mode_and_a_warning(
    place: type[SteppedBackend], caplog: pytest.LogCaptureFixture
) -> None:
    backend = place()
    assert store_format.prepare(calls(backend)) is Mode.SCOPED
    assert json.loads(backend.objects[keys.FORMAT_KEY])["mode"] == "scoped"
    assert sorted(backend.objects) == [keys.FORMAT_KEY]
    assert "no reliable conditional writes" in caplog.text


def test_the_mode_is_the_stores_and_not_the_attempts(backend: SteppedBackend) -> None:
    """H8: an attempt that meets a server of another kind in front of the same store doesn't split it."""
    Process(backend).save(b"one")
    lax = Overwriting()
    lax.objects = backend.objects
    assert store_format.prepare(calls(lax)) is Mode.CONDITIONAL
    strict = SteppedBackend()
    scoped = Overwriting()
    Process(scoped).save(b"two")
    strict.objects = scoped.objects
    assert Process(strict, attempt=2).restore() == (3, b"two")


def test_probes_that_disagree_are_an_error(backend: SteppedBackend) -> None:
    """A place that honours conditions now and then: one attempt was lucky, this one wasn't."""
    lax = Overwriting()

    def other_is_first(operation: str, key: str) -> None:
        if operation == "delete":
            lax.objects.setdefault(keys.FORMAT_KEY, format_file())

    lax.before = other_is_first
    with pytest.raises(StorageError, match="another attempt found conditional writes there"):
        store_format.prepare(calls(lax))
    assert lax.objects[keys.FORMAT_KEY] == format_file()


def test_a_log_in_the_other_mode_is_an_error(backend: SteppedBackend) -> None:
    Process(backend).save(b"one")
    backend.objects[keys.FORMAT_KEY] = format_file(Mode.SCOPED)
    with pytest.raises(StorageError, match="an entry of a store in another mode"):
        Process(backend, attempt=2)
    scoped = Overwriting()
    Process(scoped).save(b"one")
    scoped.objects[keys.FORMAT_KEY] = format_file(Mode.CONDITIONAL)
    with pytest.raises(StorageError, match="an entry of a store in another mode"):
        Process(scoped, attempt=2)


def test_a_race_with_two_winners_is_no_conditional_write(backend: SteppedBackend) -> None:
    """A place that looks first and writes then passes the sequential test, and loses saves in the field."""
    barrier = threading.Barrier(8)
    put_new = backend.put_new

    def look_then_write(key: str, data: bytes) -> None:
        if "-1-" not in key:
            return put_new(key, data)
        absent = key not in backend.objects
        barrier.wait(10)
        if absent:
            backend.objects[key] = data
        return None

    backend.put_new = look_then_write  # type: ignore[method-assign]
    assert store_format.prepare(Calls(backend, Seams(), BUDGET)) is Mode.SCOPED


@pytest.mark.parametrize("fault", [fail, refuse], ids=["unreachable", "refused"])
def test_trouble_during_the_probe_is_a_storage_error_and_settles_nothing(backend: SteppedBackend, fault: Fault) -> None:
    """H8: a mode that is chosen because of a passing trouble splits the store."""
    backend.plan("put_new", keys.PROBE, *[fault] * 50)
    with pytest.raises(StorageError, match="can't probe"):
        store_format.prepare(calls(backend))
    assert keys.FORMAT_KEY not in backend.objects


def test_a_lost_reply_during_the_probe_is_no_evidence_against_the_server(backend: SteppedBackend) -> None:
    backend.plan("put_new", keys.PROBE, lose_answer, lose_answer, lose_answer, lose_answer)
    store_format.prepare(calls(backend))
    assert keys.FORMAT_KEY in backend.objects


def test_a_log_without_a_format_file_is_a_storage_error(backend: SteppedBackend) -> None:
    Process(backend).save(b"one")
    del backend.objects[keys.FORMAT_KEY]
    with pytest.raises(StorageError, match="it is missing, though the store has a log"):
        Process(backend, attempt=2)


@pytest.mark.parametrize("record", [{"format": 2, "mode": "conditional"}, {"format": 1, "mode": "shared"}])
def test_another_format_or_mode_is_refused_and_left_alone(backend: SteppedBackend, record: dict[str, object]) -> None:
    backend.objects[keys.FORMAT_KEY] = json.dumps(record).encode()
    with pytest.raises(ConfigurationError, match="use a newer Waypost"):
        Process(backend)
    assert backend.log() == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"', b'{"format": 1}', b"\xff" * 100, b"[" * 100_000])
def test_a_format_file_that_makes_no_sense_is_a_storage_error(backend: SteppedBackend, raw: bytes) -> None:
    backend.objects[keys.FORMAT_KEY] = raw
    with pytest.raises(StorageError):
        Process(backend)


def test_two_attempts_that_prepare_at_once_agree(backend: SteppedBackend) -> None:
    def other_is_first(operation: str, key: str) -> None:
        if (operation, key) == ("put_new", keys.FORMAT_KEY):
            backend.before = lambda operation, key: None
            store_format.prepare(calls(backend))

    backend.before = other_is_first
    store_format.prepare(calls(backend))
    assert sorted(backend.objects) == [keys.FORMAT_KEY]


def test_a_place_where_nobody_may_delete_keeps_the_probes_keys(
    backend: SteppedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.plan("delete", keys.PROBE, refuse)
    store_format.prepare(calls(backend))
    assert "may be removed" in caplog.text
    assert keys.FORMAT_KEY in backend.objects


class GarblingBackend(SteppedBackend):
    """The next content that is read arrives with a wrong bit."""

    garble = ""

    def get(self, key: str, limit: int) -> bytes:
        data = super().get(key, limit)
        if self.garble and key.startswith(self.garble):
            self.garble = ""
            return data.replace(b"1", b"3").replace(b"first", b"fjrst")
        return data


def test_one_wrong_bit_neither_condemns_a_place_nor_a_store() -> None:
    backend = GarblingBackend()
    backend.garble = keys.PROBE
    store_format.prepare(calls(backend))
    assert not backend.garble
    backend.garble = keys.FORMAT_KEY
    assert store_format.known_mode(calls(backend)) is store_format.Mode.CONDITIONAL
    assert not backend.garble


class LaggingBackend(SteppedBackend):
    """A key is seen for a moment before its content is."""

    empty_looks = 3

    def get(self, key: str, limit: int) -> bytes:
        data = super().get(key, limit)
        if key == keys.FORMAT_KEY and self.empty_looks:
            self.empty_looks -= 1
            return b""
        return data


def test_a_place_that_shows_a_key_before_its_content_is_given_a_moment() -> None:
    """Seen with s3rver on a busy machine: the file that was just written read as empty, twice in a row."""
    backend = LaggingBackend()
    assert store_format.prepare(calls(backend)) is store_format.Mode.CONDITIONAL
    assert not backend.empty_looks
