"""One writer per process and store; readers write nothing; a forked child's handle is dead."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.store.stepped import SteppedBackend
from waypost import contract
from waypost.checkpoints import BASE, Checkpoints, preflight
from waypost.errors import AttemptRefusedError, CompletedError, ConfigurationError, StorageError
from waypost.store.start import IssuedFences


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


def test_two_handles_of_one_process_share_one_fence(uri: str) -> None:
    with Checkpoints(uri, attempt=1) as first, Checkpoints(uri + "/", attempt=1) as second:
        first.save(b"one", wait=True)
        assert second.save(b"two", wait=True).result().parent == 2
        first.save(b"three", wait=True)
    with Checkpoints(uri) as reader:
        assert [info.sequence for info in reader.list()] == [4, 3, 2]


def test_the_last_handle_closes_the_store(uri: str) -> None:
    first, second = Checkpoints(uri, attempt=1), Checkpoints(uri, attempt=1)
    first.close()
    first.close()
    second.save(b"still open", wait=True)
    with pytest.raises(ConfigurationError, match="has been closed"):
        first.save(b"closed")
    second.close()
    with Checkpoints(uri, attempt=2) as third:
        assert third.read_bytes() == b"still open"


def test_a_second_attempt_in_one_process_is_refused_while_the_first_is_open(uri: str) -> None:
    with Checkpoints(uri, attempt=1), pytest.raises(ConfigurationError, match="open as attempt 1, so"):
        Checkpoints(uri, attempt=2)


def test_a_process_may_open_its_attempt_again(uri: str) -> None:
    Checkpoints(uri, attempt=1).close()
    Checkpoints(uri, attempt=1).close()


def test_another_process_outside_a_pod_may_not(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Checkpoints(uri, attempt=1).close()
    monkeypatch.setattr("waypost.store.handle._issued", IssuedFences())
    with pytest.raises(AttemptRefusedError):
        Checkpoints(uri, attempt=1)


def test_any_uri_without_an_attempt_is_read_only(uri: str) -> None:
    with Checkpoints(uri, attempt=1) as writer:
        writer.save(b"state", wait=True)
        before = sorted(Path(uri.removeprefix("file://")).rglob("*"))
        with Checkpoints(uri) as reader:
            assert reader.attempt is None
            assert reader.read_bytes() == b"state"
            assert reader.base == reader.latest()
            for forbidden in (lambda: reader.save(b"x"), reader.complete):
                with pytest.raises(ConfigurationError, match="opened read-only"):
                    forbidden()
        assert sorted(Path(uri.removeprefix("file://")).rglob("*")) == before
        writer.save(b"the writer goes on", wait=True)


def test_reading_a_store_that_does_not_exist_yet_creates_nothing(uri: str) -> None:
    with Checkpoints(uri) as reader:
        assert reader.latest() is None
        assert reader.list() == []
        assert reader.restore("nowhere") is None
        assert (reader.completed, reader.highest_attempt) == (False, 0)
    assert not Path(uri.removeprefix("file://")).exists()


def test_a_reader_sees_what_the_log_says(uri: str) -> None:
    with Checkpoints(uri, attempt=3) as writer:
        writer.save(b"state", wait=True)
        writer.complete()
    with Checkpoints(uri) as reader:
        assert (reader.completed, reader.highest_attempt) == (True, 3)
    with pytest.raises(CompletedError):
        Checkpoints(uri, attempt=4)


def test_the_base_stays_what_the_attempt_resumed_from(uri: str, tmp_path: Path) -> None:
    with Checkpoints(uri, attempt=1) as first:
        assert first.base is None
        first.save(b"one", wait=True)
        assert first.base is None
        assert first.read_bytes(BASE) is None
    with Checkpoints(uri, attempt=2) as second:
        second.save(b"two", wait=True)
        assert second.base is not None
        assert second.base.sequence == 2
        assert second.read_bytes(BASE) == b"one"
        assert second.read_bytes() == b"two"
        assert second.save(b"three", wait=True).result().parent == 4


def in_child(action: Callable[[], object]) -> int:
    """The exit code of a forked child: 0 if `action` raised ConfigurationError, as it should."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except ConfigurationError:
            os._exit(0)
        except BaseException:  # noqa: BLE001
            os._exit(2)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_childs_handle_is_dead_and_harms_nobody(uri: str) -> None:
    with Checkpoints(uri, attempt=1) as store:
        store.save(b"one", wait=True)
        assert in_child(lambda: store.save(b"child")) == 0
        assert in_child(store.flush) == 0
        assert in_child(lambda: store.restore("x")) == 0
        assert in_child(lambda: Checkpoints(uri, attempt=1)) == 0
        store.save(b"two", wait=True)


def test_only_rank_0_may_write_alone(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigurationError, match=r"as rank 3 alone: .*group='launched'"):
        Checkpoints(uri, attempt=1)
    monkeypatch.setenv("RANK", "0")
    with Checkpoints(uri, attempt=1) as alone:
        assert alone.save(b"alone", wait=True).result().sequence == 2


def test_a_group_is_a_group_or_none(uri: str) -> None:
    with pytest.raises(ConfigurationError, match=r"a group is a waypost\.Group"):
        Checkpoints(uri, attempt=1, group=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("attempt", [0, -1, 2**63 - 1, True, "1", 1.0])
def test_an_attempt_that_is_none_is_refused(uri: str, attempt: object) -> None:
    with pytest.raises(ConfigurationError, match="an attempt is a whole number"):
        Checkpoints(uri, attempt=attempt)  # type: ignore[arg-type]


def test_without_uri_and_contract_it_says_what_is_missing() -> None:
    with pytest.raises(ConfigurationError, match=contract.ENV_CHECKPOINT_DST):
        Checkpoints()


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("", "empty"),
        ("foo://bucket/x", r"nobody here knows the scheme 'foo'\. Known are .*file.*s3"),
        ("file://host/x", "absolute path"),
        ("s3://", "no bucket"),
        ("s3://bucket/x?y=1", "has no place"),
        ("s3://bucket/x#1", "has no place"),
        ("s3://bucket/a//x", "another place"),
        ("s3://bucket/a/../x", "another place"),
        ("gs://bucket/./x", "another place"),
        ("simplecache::s3://bucket/x", "neither a URI nor a plain path"),
        ("s3://key:secret@bucket/x", "credentials"),
    ],
)
def test_a_uri_that_can_not_be_meant_is_refused_clearly(uri: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        Checkpoints(uri, attempt=1)
    assert "secret" not in str(caught.value).partition("credentials")[0]
    assert caught.value.exit_code == contract.EXIT_CORRUPT


def test_the_preflight_proves_that_a_new_store_can_be_written_and_takes_nothing_over(uri: str) -> None:
    preflight(uri)
    with Checkpoints(uri) as reader:
        assert (reader.latest(), reader.highest_attempt) == (None, 0)
    preflight(uri)
    Checkpoints(uri, attempt=1).close()


def test_the_preflight_names_uri_and_operation(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=f"can't .* file://{tmp_path}/file/store: ") as caught:
        preflight(f"file://{tmp_path}/file/store")
    assert caught.value.exit_code == contract.EXIT_STORAGE


def test_a_start_that_failed_can_be_repeated() -> None:
    from tests.unit.store.stepped import BUDGET, World, refuse
    from waypost.store import keys

    backend = SteppedBackend()
    backend.plan("put_new", keys.LOG, refuse)
    with pytest.raises(StorageError):
        Checkpoints(attempt=1, backend=backend, seams=World().seams(), starting=BUDGET)
    Checkpoints(attempt=1, backend=backend).close()
