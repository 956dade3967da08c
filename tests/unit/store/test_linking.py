"""A snapshot by hard links: what is replaced stays as it was, and what is written to in place is noticed."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.stepped import SteppedBackend
from waypost.checkpoints import Checkpoints
from waypost.store import keys, sources
from waypost.store.linking import linked

SIZE = 200_000


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


@pytest.fixture
def store(backend: SteppedBackend) -> Iterator[Checkpoints]:
    with Checkpoints(attempt=1, backend=backend) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run" / "state"
    (made / "deep").mkdir(parents=True)
    (made / "a").write_bytes(b"a" * SIZE)
    (made / "deep" / "b").write_bytes(b"b" * SIZE)
    (made / "link").symlink_to("deep/b")
    return made


class Gate:
    """Holds the saver back before it reads anything: behind a save that is on its way."""

    def __init__(self, backend: SteppedBackend, store: Checkpoints) -> None:
        self.open, reached = threading.Event(), threading.Event()

        def pass_through(operation: str, key: str) -> None:
            if operation == "put_new" and key.startswith(keys.LOG):
                reached.set()
                assert self.open.wait(20)

        backend.before = pass_through
        store.save(b"first")
        assert reached.wait(10)


def leftovers(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder.parent) if name.startswith(".waypost-snapshot-")]


def test_files_may_be_replaced_and_removed_as_soon_as_save_returns(
    backend: SteppedBackend, store: Checkpoints, folder: Path, tmp_path: Path
) -> None:
    gate = Gate(backend, store)
    handle = store.save(folder, immutable=True)
    assert len(leftovers(folder)) == 1, "no copy was made"
    (folder / "new").write_bytes(b"n" * SIZE)
    (folder / "new").rename(folder / "a")
    (folder / "deep" / "b").unlink()
    gate.open.set()
    handle.result(20)
    store.restore(tmp_path / "restored")
    assert (tmp_path / "restored" / "a").read_bytes() == b"a" * SIZE
    assert (tmp_path / "restored" / "link").read_bytes() == b"b" * SIZE
    assert leftovers(folder) == []


def test_a_file_that_is_written_to_in_place_fails_the_save(
    backend: SteppedBackend, store: Checkpoints, folder: Path
) -> None:
    gate = Gate(backend, store)
    handle = store.save(folder, immutable=True)
    with open(folder / "deep" / "b", "r+b") as file:
        file.write(b"changed")
    gate.open.set()
    with pytest.raises(OSError, match="changed while it was being saved") as caught:
        handle.result(20)
    assert caught.value.errno == errno.EBUSY
    assert leftovers(folder) == []
    newest = store.latest()
    assert newest is not None
    assert newest.size_bytes == len(b"first")


def test_without_the_promise_files_are_copied(backend: SteppedBackend, store: Checkpoints, folder: Path) -> None:
    gate = Gate(backend, store)
    handle = store.save(folder)
    made = leftovers(folder)
    (folder / "a").write_bytes(b"changed in place")
    gate.open.set()
    handle.result(20)
    assert made == []


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_where_no_links_can_be_made_files_are_copied(
    error: int, store: Checkpoints, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", refuse)
    store.save(folder, immutable=True).result(20)
    store.restore(tmp_path / "restored")
    assert (tmp_path / "restored" / "a").read_bytes() == b"a" * SIZE
    assert leftovers(folder) == []


def test_what_a_killed_program_left_is_removed_and_what_is_in_use_is_not(folder: Path) -> None:
    (folder.parent / ".waypost-snapshot-dead").mkdir()
    (folder.parent / ".waypost-snapshot-dead" / "0").write_bytes(b"x")
    (folder.parent / ".waypost-snapshot-dead" / ".waypost-private").touch()
    first = linked(sources.look(folder), folder)
    second = linked(sources.look(folder / "a"), folder / "a")
    assert first is not None
    assert second is not None
    third = linked(sources.look(folder), folder)
    assert third is not None
    assert len(leftovers(folder)) == 2
    assert third.nodes == first.nodes, "the links of a save under way are no content"
    index = [node.path for node in first.nodes].index(b"a")
    (piece,) = first.pieces(index)
    assert piece == b"a" * SIZE
    for content in (first, second, third):
        content.close()
    assert leftovers(folder) == []


def test_a_file_that_has_gone_is_pythons_own_error(folder: Path) -> None:
    content = sources.look(folder)
    (folder / "a").unlink()
    with pytest.raises(FileNotFoundError):
        linked(content, folder)
    assert leftovers(folder) == []


def test_a_folder_that_another_snapshot_took_for_a_dead_ones_is_made_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = tempfile.mkdtemp, list[str]()

    def made_and_gone(**named: Any) -> Any:
        made.append(make(**named))
        if len(made) == 1:
            os.rmdir(made[0])
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", made_and_gone)
    content = linked(sources.look(folder), folder)
    assert content is not None
    assert len(made) == 2
    content.close()
