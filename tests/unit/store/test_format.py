"""Rule 11: what a place can do is found out once, by trying, and is then a property of the store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import fsspec
import fsspec.implementations.memory
import pytest

from tests.unit.store.stepped import BUDGET, Fault, Process, SteppedBackend, World, fail, lose_answer, refuse
from waypost.backends.protocol import UnsupportedError
from waypost.checkpoints import Checkpoints
from waypost.errors import ConfigurationError, StorageError
from waypost.store import format as store_format
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.seams import Seams


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def calls(backend: SteppedBackend) -> Calls:
    return Calls(backend, World().seams(), BUDGET)


class Overwriting(SteppedBackend):
    """A server that ignores the condition."""

    def put_new(self, key: str, data: bytes) -> None:
        self.put(key, data)


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


def test_a_server_that_ignores_the_condition_is_refused_clearly() -> None:
    backend = Overwriting()
    with pytest.raises(ConfigurationError, match=r"no reliable conditional writes.*later version"):
        store_format.prepare(calls(backend))
    assert keys.FORMAT_KEY not in backend.objects


def test_a_server_that_does_not_know_the_condition_is_refused_clearly(backend: SteppedBackend) -> None:
    def say_so(execute: Callable[[], None]) -> None:
        raise UnsupportedError("501 Not Implemented, NotImplemented")

    backend.plan("put_new", keys.PROBE, say_so)
    with pytest.raises(ConfigurationError, match="501 Not Implemented"):
        store_format.prepare(calls(backend))


def test_a_race_with_two_winners_is_refused_clearly(backend: SteppedBackend) -> None:
    """A place that looks first and writes then passes the sequential test, and loses saves in the field."""
    barrier = threading.Barrier(8)
    put_new = backend.put_new

    def look_then_write(key: str, data: bytes) -> None:
        if not key.endswith("-1"):
            return put_new(key, data)
        absent = key not in backend.objects
        barrier.wait(10)
        if absent:
            backend.objects[key] = data
        return None

    backend.put_new = look_then_write  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match="8 of 8 writers"):
        store_format.prepare(Calls(backend, Seams(), BUDGET))


class LooksFirstWritesThen(fsspec.implementations.memory.MemoryFileSystem):  # type: ignore[misc]
    """A file system that leaves put-if-absent to fsspec's default, which two writers pass together."""

    protocol = "looksfirst"
    pipe_file = fsspec.spec.AbstractFileSystem.pipe_file


def test_a_file_system_of_fsspec_that_can_not_create_by_itself_is_refused_clearly() -> None:
    fsspec.register_implementation("looksfirst", LooksFirstWritesThen, clobber=True)
    with pytest.raises(ConfigurationError, match="LooksFirstWritesThen of fsspec can't create a file only if"):
        Checkpoints("looksfirst://store", attempt=1)


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


@pytest.mark.parametrize("record", [{"format": 2, "mode": "conditional"}, {"format": 1, "mode": "scoped"}])
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
