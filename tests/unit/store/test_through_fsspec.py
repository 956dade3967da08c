"""Places that only fsspec knows: their clients know little of threads, of broken connections and of true listings."""

from __future__ import annotations

import itertools
import json
import threading
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.unit.store.stepped import BUDGET, World
from waypost.backends.opening import open_backend
from waypost.backends.protocol import UNFINISHED, UnreachableError, is_unfinished
from waypost.checkpoints import Checkpoints
from waypost.errors import StorageError
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.deleting import delete_store
from waypost.store.seams import Seams
from waypost.store.width import most_at

_numbers = itertools.count(1)


class OneConnection(MemoryFileSystem):  # type: ignore[misc]
    """Written through `open` alone, over one connection that doesn't come back by itself, with a memory for folders."""

    protocol = "oneconnection"
    pipe_file = fsspec.spec.AbstractFileSystem.pipe_file
    down: ClassVar[bool] = False
    connections: ClassVar[list[OneConnection]] = []

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if type(self).down:
            raise ConnectionRefusedError("connection refused")
        self.broken, self.busy = False, threading.Lock()
        self.remembered: dict[str, Any] = {}
        type(self).connections.append(self)

    def invalidate_cache(self, path: str | None = None) -> None:
        self.remembered.clear()

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        self.speak()
        if path not in self.remembered:
            self.remembered[path] = super().ls(path, detail=True, **options)
        return self.remembered[path]

    def _open(self, path: str, *arguments: Any, **options: Any) -> Any:
        self.speak()
        return super()._open(path, *arguments, **options)

    def speak(self) -> None:
        """What one connection does: one thing at a time, as long as it stands."""
        assert self.busy.acquire(blocking=False), "two threads speak over one connection"
        try:
            if self.broken:
                raise EOFError("the server closed the connection")
        finally:
            self.busy.release()


@pytest.fixture
def uri(monkeypatch: pytest.MonkeyPatch) -> str:
    fsspec.register_implementation("oneconnection", OneConnection, clobber=True)
    OneConnection.connections.clear()
    OneConnection.down = False
    return f"oneconnection://store{next(_numbers)}"


def test_a_file_system_that_can_not_create_by_itself_is_used_in_the_other_mode(uri: str) -> None:
    with Checkpoints(uri, attempt=1) as checkpoints:
        checkpoints.save(b"one", wait=True)
    with Checkpoints(uri, attempt=2) as checkpoints:
        assert checkpoints.read_bytes() == b"one"
        checkpoints.save(b"two", wait=True)
    assert json.loads(open_backend(uri).get(keys.FORMAT_KEY, 1000))["mode"] == "scoped"
    with Checkpoints(uri, attempt=3) as checkpoints:
        assert checkpoints.read_bytes() == b"two"


def test_a_connection_that_broke_while_the_program_computed_is_opened_anew(uri: str) -> None:
    with Checkpoints(uri, attempt=1, seams=World().seams()) as checkpoints:
        checkpoints.save(b"one", wait=True)
        for connection in OneConnection.connections:
            connection.broken = True
        checkpoints.save(b"two", wait=True)
        assert checkpoints.read_bytes() == b"two"


def test_a_place_that_is_down_from_the_first_is_a_storage_error(uri: str) -> None:
    OneConnection.down = True
    with pytest.raises(StorageError, match="connection refused"):
        Checkpoints(uri, attempt=1, seams=World().seams(), starting=BUDGET)
    backend = open_backend(uri)
    with pytest.raises(UnreachableError, match="connection refused"):
        backend.list("log/")
    OneConnection.down = False
    assert backend.list("log/") == []


def test_a_listing_is_never_a_remembered_one(uri: str) -> None:
    backend, other = open_backend(uri), open_backend(uri)
    backend.put("log/a", b"x")
    assert backend.list("log/") == ["log/a"]
    other.put("log/b", b"x")
    assert backend.list("log/") == ["log/a", "log/b"]


class Renaming(OneConnection):
    """Where a file is there, and grows, before its content is whole; what dies in between leaves half of it."""

    protocol = "renaming"
    dying: ClassVar[bool] = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        if self.dying:
            super().pipe_file(path, value[: len(value) // 2])
            raise SystemExit("killed")
        super().pipe_file(path, value)

    overwrites: ClassVar[bool] = True

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if path2 in self.store and not self.overwrites:
            raise OSError("rename failed")
        self.store[path2] = self.store.pop(path1)


def test_a_writer_killed_in_a_write_leaves_no_half_entry_where_files_can_be_renamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fsspec.register_implementation("renaming", Renaming, clobber=True)
    uri = f"renaming://store{next(_numbers)}"
    with Checkpoints(uri, attempt=1) as checkpoints:
        checkpoints.save(b"one", wait=True)
    backend = open_backend(uri)
    before = backend.list("log/")
    monkeypatch.setattr(Renaming, "dying", True)
    with pytest.raises(SystemExit):
        backend.put("log/" + "0" * 20 + ".json", b"half of it, and more")
    assert backend.list("log/") == before
    [unfinished] = backend.list(UNFINISHED)
    assert is_unfinished(unfinished)
    monkeypatch.setattr(Renaming, "dying", False)
    with Checkpoints(uri, attempt=2) as checkpoints:
        assert checkpoints.read_bytes() == b"one"
    assert delete_store(Calls(open_backend(uri), Seams(), BUDGET))
    assert backend.list(UNFINISHED) == []


def test_where_a_rename_does_not_overwrite_a_stub_takes_its_entrys_place_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fsspec.register_implementation("renaming", Renaming, clobber=True)
    monkeypatch.setattr(Renaming, "overwrites", False)
    backend = open_backend(f"renaming://store{next(_numbers)}")
    for content in (b"an entry", b"its stub"):
        backend.put("log/1.json", content)
        assert backend.get("log/1.json", 100) == content
        assert backend.list(UNFINISHED) == []


def test_a_file_system_that_is_not_made_for_threads_is_asked_one_thing_at_a_time() -> None:
    fsspec.register_implementation("renaming", Renaming, clobber=True)
    assert most_at(open_backend(f"renaming://store{next(_numbers)}")) == 1
