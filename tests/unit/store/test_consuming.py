"""A source that the program gives up: it costs a rename, and is never lost because its save fails."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.stepped import BUDGET, SteppedBackend, World, refuse
from tests.unit.store.test_linking import SIZE, Gate
from waypost.checkpoints import Checkpoints
from waypost.errors import ConfigurationError, StorageError, SupersededError
from waypost.store import keys, saver, sources
from waypost.store.consuming import consumed


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


@pytest.fixture
def store(backend: SteppedBackend) -> Iterator[Checkpoints]:
    with Checkpoints(attempt=1, backend=backend, seams=World().seams(), saving=BUDGET) as opened:
        yield opened


def made(place: Path, content: bytes = b"a") -> Path:
    (place / "deep").mkdir(parents=True)
    (place / "a").write_bytes(content * SIZE)
    (place / "deep" / "b").write_bytes(b"b" * SIZE)
    (place / "link").symlink_to("deep/b")
    return place


def given(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.name.startswith(".waypost-given-")]


def test_a_folder_is_gone_when_save_returns_and_comes_back(
    backend: SteppedBackend, store: Checkpoints, tmp_path: Path
) -> None:
    gate, folder = Gate(backend, store), made(tmp_path / "run" / "state")
    inode = os.stat(folder / "a").st_ino
    handle = store.save(folder, consume=True)
    assert not folder.exists()
    (waiting,) = given(folder.parent)
    assert os.stat(waiting / "state" / "a").st_ino == inode, "it was copied"
    assert os.stat(waiting).st_mode & 0o777 == 0o700
    made(folder, b"n")  # the next one, of the same name
    gate.open.set()
    handle.result(20)
    store.restore(tmp_path / "restored")
    assert (tmp_path / "restored" / "a").read_bytes() == b"a" * SIZE
    assert (tmp_path / "restored" / "link").read_bytes() == b"b" * SIZE
    assert os.listdir(folder.parent) == ["state"]


@pytest.mark.parametrize("wait", [True, False])
def test_a_file_can_be_given_up_too(store: Checkpoints, tmp_path: Path, wait: bool) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").write_bytes(b"x" * SIZE)
    store.save(tmp_path / "run" / "file", consume=True, wait=wait).result(20)
    assert os.listdir(tmp_path / "run") == []
    assert store.read_bytes() == b"x" * SIZE


def test_when_the_save_fails_it_stays_and_the_error_says_where(
    backend: SteppedBackend, store: Checkpoints, tmp_path: Path
) -> None:
    gate, folder = Gate(backend, store), made(tmp_path / "run" / "state")
    backend.plan("put", keys.PACKS, refuse)
    handle = store.save(folder, consume=True)
    gate.open.set()
    with pytest.raises(StorageError) as caught:
        handle.result(20)
    (kept,) = given(folder.parent)
    assert (kept / "state" / "a").read_bytes() == b"a" * SIZE
    assert any(str(kept / "state") in note for note in caught.value.__notes__)
    assert not folder.exists(), "a program that makes the next one would find the two mixed"
    store.save(made(folder, b"n"), consume=True).result(20)
    assert os.listdir(folder.parent) == [], "a newer one stands"


def test_when_a_save_fails_that_is_waited_for_it_is_put_back(
    backend: SteppedBackend, store: Checkpoints, tmp_path: Path
) -> None:
    folder = made(tmp_path / "run" / "state")
    backend.plan("put", keys.PACKS, refuse)
    with pytest.raises(StorageError) as caught:
        store.save(folder, consume=True, wait=True)
    assert any(str(folder) in note for note in caught.value.__notes__)
    assert (folder / "a").read_bytes() == b"a" * SIZE
    assert os.listdir(folder.parent) == ["state"]


def test_when_save_is_interrupted_before_it_is_queued_it_is_put_back(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path / "run" / "state")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(saver.Saver, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.save(folder, consume=True)
    assert os.listdir(folder.parent) == ["state"]
    assert (folder / "a").exists()


def test_what_a_newer_one_superseded_is_removed(backend: SteppedBackend, store: Checkpoints, tmp_path: Path) -> None:
    gate, folder = Gate(backend, store), tmp_path / "run" / "state"
    older = store.save(made(folder), consume=True)
    newer = store.save(made(folder, b"n"), consume=True)
    gate.open.set()
    newer.result(20)
    with pytest.raises(SupersededError):
        older.result(20)
    assert os.listdir(folder.parent) == []


def test_what_a_killed_program_had_given_up_stays_until_a_newer_one_stands(store: Checkpoints, tmp_path: Path) -> None:
    folder = made(tmp_path / "run" / "state")
    program = (
        "import os, sys; from waypost.store import sources; from waypost.store.consuming import consumed; "
        "kept = consumed(sources.look(sys.argv[1]), sys.argv[1], sys.argv[2]); os._exit(9)"
    )
    for owner in (f"{store.uri}#0", "another store#0"):
        made(folder) if not folder.exists() else None
        subprocess.run([sys.executable, "-c", program, folder, owner], check=False)
        assert not folder.exists()
    assert len(given(folder.parent)) == 2
    store.save(made(folder, b"n"), consume=True, wait=True)
    (others,) = given(folder.parent)
    assert (others / "state" / "a").exists(), "no newer one of that store stands"


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EBUSY, errno.EACCES, errno.EROFS])
def test_what_cannot_be_moved_is_saved_all_the_same_and_stays(
    error: int, store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = made(tmp_path / "run" / "state")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(error, os.strerror(error))

    with caplog.at_level(logging.WARNING, "waypost"), monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        handle = store.save(folder, consume=True)
    handle.result(20)
    assert "stays there" in caplog.text
    assert os.listdir(folder.parent) == ["state"]
    newest = store.latest()
    assert newest is not None
    assert newest.size_bytes == 2 * SIZE


def test_links_and_bytes_cannot_be_given_up(store: Checkpoints, tmp_path: Path) -> None:
    folder = made(tmp_path / "run" / "state")
    (tmp_path / "latest").symlink_to(folder)
    with pytest.raises(ConfigurationError, match="give the path that it leads to"):
        store.save(tmp_path / "latest", consume=True)
    with pytest.raises(ConfigurationError, match="path of a file or folder"):
        store.save(b"bytes", consume=True)
    assert (folder / "a").exists()


def test_a_file_that_is_written_to_after_all_fails_the_save(tmp_path: Path) -> None:
    """Through a descriptor that the program has kept."""
    folder = made(tmp_path / "run" / "state")
    with open(folder / "a", "r+b") as file:
        content = consumed(sources.look(folder), folder, "store#0")
        assert content is not None
        file.write(b"changed")
        file.flush()
        with pytest.raises(OSError, match="changed while it was being saved"):
            list(content.pieces([node.path for node in content.nodes].index(b"a")))
    content.close()
