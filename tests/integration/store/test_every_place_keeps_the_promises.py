"""The same promises on every kind of place, with conditional writes and without."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.store.conftest import CONDITIONAL
from waypost.backends.opening import open_backend
from waypost.backends.protocol import PIECE, AbsentError, Backend, ExistsError, TooLargeError
from waypost.checkpoints import Checkpoints
from waypost.errors import AttemptRefusedError, CompletedError, CorruptCheckpointError, FencedError
from waypost.store import keys
from waypost.store.calls import STARTING, Calls
from waypost.store.handle import WritingHandle
from waypost.store.saver import Job
from waypost.store.seams import Seams
from waypost.store.sources import look
from waypost.store.start import Writer

pytestmark = pytest.mark.integration


@pytest.fixture
def backend(uri: str) -> Iterator[Backend]:
    opened = open_backend(uri)
    yield opened
    opened.close()


def another_process(uri: str, attempt: int) -> WritingHandle:
    """A writer that this process's own handle knows nothing of, as another machine's would be."""
    calls = Calls(open_backend(uri), Seams())
    return WritingHandle(calls, Writer(attempt, f"pod-{attempt}"), lambda: None, lambda info, save: None, STARTING)


# --- What a backend promises -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", CONDITIONAL, indirect=True)
def test_a_key_is_created_once(backend: Backend) -> None:
    backend.put_new("log/a", b"first")
    with pytest.raises(ExistsError):
        backend.put_new("log/a", b"second")
    assert backend.get("log/a", 100) == b"first"


@pytest.mark.parametrize("place", CONDITIONAL, indirect=True)
def test_of_many_contenders_one_wins_and_its_content_stands(backend: Backend) -> None:
    for round_ in range(10):
        won: list[bytes] = []
        barrier = threading.Barrier(8)

        def contend(body: bytes, key: str = f"log/{round_}") -> None:
            barrier.wait(10)  # noqa: B023 - joined below
            try:
                backend.put_new(key, body)
            except ExistsError:
                return
            won.append(body)  # noqa: B023

        threads = [threading.Thread(target=contend, args=(b"%d" % number * 100,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(won) == 1
        assert backend.get(f"log/{round_}", 1000) == won[0]


def part(backend: Backend, key: str, start: int, length: int) -> bytes:
    """A range of an object, put together."""
    data = bytearray()
    backend.read_range(key, start, length, data.extend)
    return bytes(data)


def test_a_long_range_comes_whole_and_in_order(backend: Backend) -> None:
    content = os.urandom(3 * PIECE + 100)
    backend.put("packs/long", content)
    assert part(backend, "packs/long", 0, len(content)) == content
    assert part(backend, "packs/long", 99, 2 * PIECE + 1) == content[99 : 2 * PIECE + 100]


def test_trouble_of_who_takes_the_bytes_is_not_the_storages(backend: Backend) -> None:
    backend.put("packs/p", b"0123456789")

    def take(data: memoryview) -> None:
        raise OSError(errno.ENOSPC, "the local disk is full")

    with pytest.raises(OSError, match="the local disk is full"):
        backend.read_range("packs/p", 0, 10, take)


def test_reading_listing_and_deleting(backend: Backend) -> None:
    backend.put("packs/p", b"0123456789")
    backend.put("packs/p", memoryview(bytearray(b"9876543210")))
    assert backend.get("packs/p", 10) == b"9876543210"
    assert part(backend, "packs/p", 2, 3) == b"765"
    assert part(backend, "packs/p", 8, 100) == b"10"
    assert part(backend, "packs/p", 10, 5) == b""
    with pytest.raises(TooLargeError):
        backend.get("packs/p", 9)
    for name in ("c", "a", "b"):
        backend.put(f"log/{name}", b"x")
    assert backend.list("log/") == ["log/a", "log/b", "log/c"]
    assert backend.list("log/", start_after="log/a", limit=1) == ["log/b"]
    assert backend.list("nothing/") == []
    backend.delete("packs/p")
    backend.delete("packs/p")
    with pytest.raises(AbsentError):
        backend.get("packs/p", 10)
    with pytest.raises(AbsentError):
        part(backend, "packs/p", 0, 10)


def test_listing_goes_on_beyond_a_page(backend: Backend) -> None:
    for number in range(30):
        backend.put(f"log/{number:03}", b"x")
    assert backend.list("log/", start_after="log/004", limit=20) == [f"log/{number:03}" for number in range(5, 25)]


# --- What a store promises -------------------------------------------------------------------------------------------


def test_the_mode_is_found_out_and_written_down(uri: str, place: str) -> None:
    Checkpoints(uri, attempt=1).close()
    record = json.loads(open_backend(uri).get(keys.FORMAT_KEY, 1000))
    assert record["mode"] == ("conditional" if place in CONDITIONAL else "scoped")


def test_bytes_files_and_folders_come_back_in_the_next_attempt(uri: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "empty").mkdir(parents=True)
    (source / "large").write_bytes(os.urandom(40_000_000))
    (source / "small").write_text("x")
    (source / "latest").symlink_to("small")
    with Checkpoints(uri, attempt=1) as first:
        state = first.save(b"state", step=1, metrics={"loss": 0.5}, metadata={"note": "ä"}, wait=True).result()
        folder = first.save(source, step=2).result(60)
    with Checkpoints(uri, attempt=2) as second:
        info = second.restore(tmp_path / "restored")
        assert info is not None
        assert (info.step, info.attempt, info.sequence, info.parent) == (2, 1, folder.sequence, state.sequence)
        assert (tmp_path / "restored" / "large").read_bytes() == (source / "large").read_bytes()
        assert os.readlink(tmp_path / "restored" / "latest") == "small"
        assert (tmp_path / "restored" / "empty").is_dir()
        assert second.read_bytes(state.sequence) == b"state"
        assert [(info.step, info.metrics) for info in second.list()] == [(2, {}), (1, {"loss": 0.5})]


def test_a_zombie_is_fenced_whatever_it_tries(uri: str) -> None:
    zombie = another_process(uri, attempt=1)
    zombie._save(Job(look(b"before"), 1, {}, {}, keeps_turn=True))
    with Checkpoints(uri, attempt=2) as successor:
        assert successor.read_bytes() == b"before"
        for content in (b"tiny", b"large" * 50_000):
            with pytest.raises(FencedError):
                zombie._save(Job(look(content), 2, {}, {}, keeps_turn=True))
        successor.save(b"after", step=2, wait=True)
        assert [info.step for info in successor.list()] == [2, 1]
    zombie.saver.stop()


def test_of_racing_attempts_the_log_knows_one_history(uri: str) -> None:
    """Writers that start and save at once, each until it is fenced or refused: every confirmed save has its place."""
    Checkpoints(uri, attempt=1).close()
    confirmed: list[tuple[int, int]] = []
    barrier = threading.Barrier(4)

    def attempt(number: int) -> None:
        barrier.wait(30)
        try:
            writer = another_process(uri, number)
        except AttemptRefusedError:
            return
        try:
            for step in range(20):
                info = writer._save(Job(look(b"%d %d" % (number, step)), step, {}, {}, keeps_turn=True))
                confirmed.append((info.sequence, number))
        except FencedError:
            return
        finally:
            writer.saver.stop()

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with Checkpoints(uri) as reader:
        listed = {(info.sequence, info.attempt): reader.read_bytes(info.sequence) for info in reader.list()}
        assert set(confirmed) <= set(listed)
        attempts = [number for _, number in sorted(listed)]
        assert attempts == sorted(attempts), "no attempt saved behind a later one's fence"
        assert reader.highest_attempt == 5


def test_a_completed_store_says_so_for_ever(uri: str) -> None:
    with Checkpoints(uri, attempt=1) as store:
        store.save(b"last", wait=True)
        store.complete()
    for attempt in (1, 2):
        with pytest.raises(CompletedError):
            Checkpoints(uri, attempt=attempt)


def test_damage_falls_back_and_nothing_left_is_an_error(uri: str) -> None:
    with Checkpoints(uri, attempt=1) as store:
        for content in (b"one" * 50_000, b"two" * 50_000):
            store.save(content, wait=True)
    backend = open_backend(uri)
    [first, second] = sorted(backend.list(keys.PACKS), key=lambda key: int(key.split("-")[1]))
    backend.put(second, b"truncated")
    with Checkpoints(uri, attempt=2) as store:
        assert store.read_bytes() == b"one" * 50_000
        backend.delete(first)
        with pytest.raises(CorruptCheckpointError):
            store.read_bytes()


def test_the_probe_leaves_no_key(uri: str) -> None:
    Checkpoints(uri, attempt=1).close()
    assert open_backend(uri).list(keys.PROBE) == []
